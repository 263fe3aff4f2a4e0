// The embedded database: one process at a time, and each client meets a fresh session.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Database, openDatabase } from "../../src/database/database.js";
import { StatementError, send } from "../../src/database/message.js";
import { withTransaction } from "../../src/database/transaction.js";
import { openUrl, settingsOf } from "./settings.ts";

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "tenantctl-embedded-"));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

// Making one takes seconds, opening it again does not.
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tenantctl-embedded-"));
  await (await openDatabase(settingsOf(`pglite:${root}/deep/er`), { maxConnections: 1 })).close();
}, 180_000);
afterAll(() => rm(root, { recursive: true, force: true }));

test("no other user can read its folder, nor its files once it is closed", async () => {
  expect((await stat(join(root, "deep/er"))).mode & 0o777).toBe(0o700);
  const entries = await readdir(join(root, "deep/er"), { recursive: true, withFileTypes: true });
  const modes = entries.map(async (entry) => ({
    kind: entry.isDirectory() ? "folder" : "file",
    mode: ((await stat(join(entry.parentPath, entry.name))).mode & 0o777).toString(8),
  }));
  const kinds = new Set((await Promise.all(modes)).map(({ kind, mode }) => `${kind} ${mode}`));
  expect([...kinds].sort()).toEqual(["file 600", "folder 700"]);
});

describe("a session", () => {
  let database: Database;

  beforeAll(async () => {
    await chmod(join(root, "deep/er"), 0o777);
    database = await openDatabase(settingsOf(`pglite:${root}/deep/er`), { maxConnections: 4 });
  });
  afterAll(() => database.close());

  test("its folder, which was open to others, is closed to them", async () => {
    expect((await stat(join(root, "deep/er"))).mode & 0o777).toBe(0o700);
  });

  test("there is one connection, and it is a session", async () => {
    expect(database.capabilities.connections).toBe(1);
    expect(await database.hasSession()).toBe(true);
    expect(database.display).toMatch(/^pglite:/);
  });

  test("clients wait for one another", async () => {
    const order: string[] = [];
    await Promise.all(
      ["a", "b"].map((name) =>
        database.withClient(async (client) => {
          order.push(`${name} in`);
          await client.query("select 1");
          await sleep(10);
          order.push(`${name} out`);
        }),
      ),
    );
    expect(order).toEqual(["a in", "a out", "b in", "b out"]);
  });

  test("what a client left behind is gone for the next: settings, locks, temporary tables, an open transaction", async () => {
    const ended = database.withClient(async (client) => {
      await client.query("set search_path to nowhere; set lock_timeout = 7");
      await client.query("select pg_advisory_lock(1)");
      await client.query("create temp table left_over (n int)");
      await client.query("begin; create table public.uncommitted (n int)");
      throw new Error("closes the connection");
    });
    await expect(ended).rejects.toThrow("closes the connection");
    const { rows } = await database.withClient((client) =>
      client.query(`select current_setting('search_path') as path, current_setting('lock_timeout') as timeout,
        (select count(*)::int from pg_locks where locktype = 'advisory') as locks,
        to_regclass('left_over') as temporary, to_regclass('uncommitted') as uncommitted, now() = statement_timestamp() as fresh`),
    );
    expect(rows).toEqual([{ path: "public", timeout: "0", locks: 0, temporary: null, uncommitted: null, fresh: true }]);
  });

  test("a session of its own leaves nothing behind either", async () => {
    await database.withSession((client) => client.query("set search_path to nowhere"));
    const { rows } = await database.withClient((client) => client.query("show search_path"));
    expect(rows).toEqual([{ search_path: "public" }]);
  });

  test("several statements travel in one message, and a failure has its place", async () => {
    await database.withClient(async (client) => {
      expect(await send(client, [{ text: "select 1 as a" }, { text: "select 2 as b" }], true)).toEqual([
        [{ a: 1 }],
        [{ b: 2 }],
      ]);
      const failure = send(client, [{ text: "select 'ü🦊'" }, { text: "select nowhere", origin: 1 }], true);
      await expect(failure).rejects.toMatchObject({ statement: { origin: 1 }, offset: 7 });
      await expect(failure).rejects.toBeInstanceOf(StatementError);
    });
  });

  test("a transaction of ours is all or nothing", async () => {
    const broken = withTransaction(database, async (client) => {
      await client.query("create table public.half (n int)");
      await client.query("select nowhere");
    });
    await expect(broken).rejects.toMatchObject({ code: "DATABASE_REFUSED", cause: { code: "42703" } });
    await withTransaction(database, (client) => client.query("create table public.half (n int)"));
  });

  test("megabytes go in and come out", async () => {
    const big = "é".repeat(3_000_000);
    const { rows } = await database.withClient((client) => client.query("select $1::text as big", [big]));
    expect(rows[0].big === big).toBe(true);
  });
});

describe("its folder", () => {
  const open = () => openDatabase(settingsOf(`pglite:${root}/deep/er`), { maxConnections: 1 });
  const lock = () => join(root, "deep/er/tenantctl.lock");

  test("keeps what was committed", async () => {
    const first = await open();
    await first.withClient((client) => client.query("create table kept as select 42 as n"));
    await first.close();
    const second = await open();
    expect((await second.withClient((client) => client.query("select n from kept"))).rows).toEqual([{ n: 42 }]);
    await second.close();
  });

  test("is refused while this process has it open, and free afterwards", async () => {
    const first = await open();
    await expect(open()).rejects.toMatchObject({
      code: "DATABASE_LOCKED",
      message: expect.stringContaining(`process ${process.pid}`),
    });
    await first.close();
    expect(await readdir(join(root, "deep/er"))).toEqual(["data"]);
  });

  test("is refused while another process has it", async () => {
    const made = await folder();
    const other = spawn("sleep", ["60"]);
    await writeFile(join(made, "tenantctl.lock"), JSON.stringify({ pid: other.pid, host: hostname() }));
    await expect(openUrl(`pglite:${made}`)).rejects.toMatchObject({
      code: "DATABASE_LOCKED",
      message: expect.stringContaining(String(other.pid)),
    });
    other.kill();
    await once(other, "exit");
    expect(await readdir(made)).toEqual(["tenantctl.lock"]);
  });

  test("is refused while a process on another machine may have it", async () => {
    const made = await folder();
    await writeFile(join(made, "tenantctl.lock"), JSON.stringify({ pid: 1, host: "elsewhere" }));
    await expect(openUrl(`pglite:${made}`)).rejects.toMatchObject({
      code: "DATABASE_LOCKED",
      message: expect.stringContaining("elsewhere"),
    });
  });

  test("is taken over from a process that died, also when it had the number that we have now, as in a container", async () => {
    const { pid } = spawnSync("true");
    for (const left of [
      JSON.stringify({ pid, host: hostname() }),
      JSON.stringify({ pid: process.pid, host: hostname() }),
    ]) {
      await writeFile(lock(), left);
      const database = await open();
      expect(JSON.parse(await readFile(lock(), "utf8"))).toEqual({ pid: process.pid, host: hostname() });
      await database.close();
    }
  });

  test("that holds no database is an error that leaves no lock", async () => {
    const made = await folder();
    await mkdir(join(made, "data"));
    await writeFile(join(made, "data/PG_VERSION"), "9\n");
    await expect(openUrl(`pglite:${made}`)).rejects.toMatchObject({ code: "DATABASE_UNREACHABLE" });
    expect(await readdir(made)).toEqual(["data"]);
  });

  test("that can't be made is an error", async () => {
    const made = await folder();
    await writeFile(join(made, "file"), "");
    await expect(openUrl(`pglite:${made}/file/db`)).rejects.toMatchObject({
      code: "DATABASE_UNREACHABLE",
      message: expect.stringContaining("can't make the folder"),
    });
  });
});
