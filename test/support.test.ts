// The test support itself: what it promises to the other tests.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { createDatabase, newest, oldest, servers } from "./support/database.ts";
import { whenFileEnds } from "./support/ending.ts";
import { daemonFolder } from "./support/keeper.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "./support/pgbouncer.ts";
import { createProject } from "./support/project.ts";

describe.each(servers())("PostgreSQL $major", (server) => {
  test("is of the major that was asked for", async () => {
    const database = await createDatabase(server);
    const [row] = await database.query<{ version: string }>("select current_setting('server_version_num') as version");
    expect(Math.floor(Number(row?.version) / 10_000)).toBe(server.major);
  });

  test("refuses a wrong password", async () => {
    const url = new URL(server.url);
    url.password = "wrong";
    const client = new pg.Client({ connectionString: url.href });
    await expect(client.connect()).rejects.toMatchObject({ code: "28P01" });
  });

  test("lets a role of the test's own in", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole();
    const client = new pg.Client({ connectionString: role.url });
    await client.connect();
    expect((await client.query("select current_user as role")).rows).toEqual([{ role: role.name }]);
    await client.end();
  });

  describe.skipIf(!pgbouncerAvailable)(`behind pgbouncer${pgbouncerNote}`, () => {
    test("a client reaches the database, two at once share a server connection", async () => {
      const database = await createDatabase(server);
      const pooler = await startPgbouncer(database, { poolSize: 1 });
      const clients = [0, 1].map(() => new pg.Client({ connectionString: pooler.url }));
      await Promise.all(clients.map((client) => client.connect()));
      const pids = await Promise.all(clients.map((client) => client.query("select pg_backend_pid() as pid")));
      expect(pids[0]?.rows).toEqual(pids[1]?.rows);
      await Promise.all(clients.map((client) => client.end()));
    });
  });
});

test("the oldest server comes first", () => {
  expect(oldest().major).toBeLessThanOrEqual(newest().major);
});

describe("a test file that goes wrong", () => {
  function runFixture(name: string) {
    const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));
    const config = fileURLToPath(new URL("support/fixtures/vitest.config.ts", import.meta.url));
    const env = { ...process.env, TENANTCTL_TEST_PG: newest().url, NO_COLOR: "1" };
    return spawnSync(process.execPath, [vitest, "run", "--config", config, name], { encoding: "utf8", env });
  }

  async function databaseOf(output: string): Promise<string | undefined> {
    const name = /kept the database \S+\/(\w+)/.exec(output)?.[1];
    const client = new pg.Client({ connectionString: newest().url });
    await client.connect();
    const { rows } = await client.query("select datname from pg_database where datname = $1", [name]);
    await client.end();
    return rows[0]?.datname;
  }

  test("fails when it leaves a connection open", () => {
    const { status, stderr, stdout } = runFixture("leak");
    expect(status).toBe(1);
    expect(stdout).toContain("1 passed");
    expect(stderr).toMatch(/connections left open to leak_\w+:\npid \d+, application 'the leak', idle/);
  });

  test("keeps its database, and says where it is", async () => {
    const { status, stderr } = runFixture("failing");
    expect(status).toBe(1);
    expect(await databaseOf(stderr)).toMatch(/^failing_/);
  });
});

test("a daemon ends with a run that was killed", async () => {
  const folder = await daemonFolder("tenantctl-witness");
  whenFileEnds(() => rm(folder, { recursive: true }));
  const witness = join(folder, "ended");
  const keeper = fileURLToPath(new URL("support/keeper.ts", import.meta.url));
  const program = `
    import { createJiti } from "jiti";
    const { startDaemon } = await createJiti(process.cwd()).import(${JSON.stringify(keeper)});
    await startDaemon('echo ready; read word; : >"$1"', [${JSON.stringify(witness)}]);
    process.kill(process.pid, "SIGKILL");`;
  const { signal } = spawnSync(process.execPath, ["--input-type=module", "--eval", program]);
  expect(signal).toBe("SIGKILL");
  await expect.poll(() => existsSync(witness)).toBe(true);
});

test("a project is a config file and its migrations", async () => {
  const project = await createProject({
    database: "postgres://localhost/polls",
    tenants: { thor: {} },
    migrations: { "20260101000000_polls.sql": "create table polls ();" },
    config: { sharedSchemas: ["public"] },
  });
  expect(JSON.parse(await project.read("tenants.config.json"))).toEqual({
    database: "postgres://localhost/polls",
    migrations: { tenant: "migrations/tenant" },
    tenants: { thor: {} },
    sharedSchemas: ["public"],
  });
  expect(await project.read("migrations/tenant/20260101000000_polls.sql")).toBe("create table polls ();");
});
