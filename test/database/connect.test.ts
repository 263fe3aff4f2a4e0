// What keeps us from the database is told in one line, and never with the password.
import { once } from "node:events";
import { createConnection, createServer, type Socket, type Server as TcpServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { TenantctlError } from "../../src/errors.js";
import { createDatabase, newest, servers } from "../support/database.ts";
import { freePort } from "../support/keeper.ts";
import { openUrl } from "./settings.ts";

const secret = "hunter2-%40!";

async function refusal(url: string): Promise<TenantctlError> {
  const error = await openUrl(url).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof TenantctlError)) throw new Error(`no TenantctlError but ${inspect(error)}`);
  const shown = [error.message, error.hint, error.stack, JSON.stringify(error), inspect(error, { depth: 9 })].join(
    "\n",
  );
  for (const password of [secret, decodeURIComponent(secret)]) expect(shown).not.toContain(password);
  return error;
}

/** A port where somebody listens and does this with each connection. */
async function listen(onConnection: (...from: Parameters<NonNullable<Parameters<typeof createServer>[1]>>) => void) {
  const server: TcpServer = createServer(onConnection).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

test("a port where nobody listens", async () => {
  const port = await freePort();
  const error = await refusal(`postgres://me:${secret}@127.0.0.1:${port}/polls`);
  expect(error.code).toBe("DATABASE_UNREACHABLE");
  expect(error.message).toBe(
    `can't reach the database: connection refused (me@127.0.0.1:${port}/polls, from tenants.config.json)`,
  );
  expect(error.hint).toContain("host and port");
});

test("a name with two addresses where nobody listens", async () => {
  const error = await refusal(`postgres://me:${secret}@localhost:${await freePort()}/polls`);
  expect(error.message).toContain("connection refused");
});

test("a host that does not exist", async () => {
  const error = await refusal(`postgres://me:${secret}@nowhere.invalid/polls`);
  expect(error).toMatchObject({ code: "DATABASE_UNREACHABLE", hint: "check the host in the URL" });
  expect(error.message).toContain("host name not found");
});

test("a socket that is not there", async () => {
  const error = await refusal(`postgres://me:${secret}@/polls?host=/nonexistent`);
  expect(error).toMatchObject({ code: "DATABASE_UNREACHABLE" });
  expect(error.message).toContain("no server listens on that socket");
});

test.each(["disable", "prefer", "require"])(
  "a port that never answers, with sslmode=%s, gives up in time",
  async (mode) => {
    const port = await listen((socket) => socket.on("error", () => {}));
    const startedAt = Date.now();
    const error = await refusal(`postgres://me:${secret}@127.0.0.1:${port}/polls?connect_timeout=1&sslmode=${mode}`);
    expect(error.code).toBe("DATABASE_UNREACHABLE");
    expect(error.message).toContain("no answer in time");
    expect(Date.now() - startedAt).toBeLessThan(4_000);
  },
);

test("a port that hangs up at once", async () => {
  const port = await listen((socket) => socket.destroy());
  expect(await refusal(`postgres://me:${secret}@127.0.0.1:${port}/polls`)).toMatchObject({
    code: "DATABASE_UNREACHABLE",
  });
});

test("a port where something else than PostgreSQL talks", async () => {
  const port = await listen((socket) => socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  expect(await refusal(`postgres://me:${secret}@127.0.0.1:${port}/polls?connect_timeout=2`)).toMatchObject({
    code: "DATABASE_UNREACHABLE",
  });
});

describe.each(servers())("PostgreSQL $major refuses", (server) => {
  const url = (change: (url: URL) => void) => {
    const made = new URL(server.url);
    change(made);
    return made.href;
  };

  test("a wrong password", async () => {
    const error = await refusal(url((to) => (to.password = secret)));
    expect(error.code).toBe("DATABASE_REFUSED");
    expect(error.message).toContain("refuses the user name or password");
    expect(error.hint).toContain("PGPASSWORD");
  });

  test("no password", async () => {
    const error = await refusal(url((to) => (to.password = "")));
    expect(error.code).toBe("DATABASE_REFUSED");
    expect(error.message).toContain("none was given");
  });

  test("no password, and its connection is closed: the server would wait for one, and drop no database meanwhile", async () => {
    const sockets: Socket[] = [];
    const port = await listen((socket) => {
      sockets.push(socket);
      const { hostname, port } = new URL(server.url);
      const inner = createConnection(Number(port), hostname);
      for (const end of [socket, inner]) end.on("error", () => {});
      socket.pipe(inner).pipe(socket);
    });
    await refusal(url((to) => Object.assign(to, { password: "", port: String(port) })));
    expect(sockets).not.toEqual([]);
    for (const socket of sockets) await expect.poll(() => socket.closed).toBe(true);
  });

  test("a database that does not exist", async () => {
    const error = await refusal(url((to) => (to.pathname = "/nowhere")));
    expect(error).toMatchObject({ code: "DATABASE_REFUSED", hint: expect.stringContaining("createdb") });
    expect(error.message).toMatch(/^database "nowhere" does not exist \(postgres@/);
  });

  test("a role that may not log in", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole("nologin");
    const error = await refusal(role.url);
    expect(error.code).toBe("DATABASE_REFUSED");
    expect(error.message).toContain("not permitted to log in");
  });

  test("a role that has no connection left", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole("login connection limit 0");
    expect(await refusal(role.url)).toMatchObject({
      code: "DATABASE_REFUSED",
      hint: expect.stringContaining("--concurrency"),
    });
  });
});

test("waiting for a connection of the pool has no limit: whoever has it is at work", async () => {
  const database = await openUrl(`${newest().url}?connect_timeout=1`, { maxConnections: 1 });
  const [, second] = await Promise.all([
    database.withClient((client) => client.query("select pg_sleep(1.5)")),
    database.withClient((client) => client.query("select 1 as n")),
  ]);
  expect(second.rows).toEqual([{ n: 1 }]);
});

test("a connection whose work failed is closed, one whose work went well is used again", async () => {
  const database = await openUrl(newest().url, { maxConnections: 1 });
  const pid = async () =>
    (await database.withClient((client) => client.query("select pg_backend_pid() as pid"))).rows[0].pid;
  const first = await pid();
  expect(await pid()).toBe(first);
  await expect(database.withClient(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await pid()).not.toBe(first);
});

test("a connection that dies while nobody uses it is replaced without a word", async () => {
  const test = await createDatabase();
  const database = await openUrl(test.url, { maxConnections: 1 });
  const { rows } = await database.withClient((client) => client.query("select pg_backend_pid() as pid"));
  await test.query("select pg_terminate_backend($1)", [rows[0].pid]);
  await expect.poll(() => test.query("select 1 from pg_stat_activity where pid = $1", [rows[0].pid])).toEqual([]);
  await sleep(200); // until we hear of it
  const next = await database.withClient((client) => client.query("select 1 as n"));
  expect(next.rows).toEqual([{ n: 1 }]);
});
