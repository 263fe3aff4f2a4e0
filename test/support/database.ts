// A new database for each test file, on a real server; it notices connections that the code under test left open.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, inject } from "vitest";
import { whenFileEnds } from "./ending.ts";
import type { Server } from "./servers.ts";

export type { Server };

export interface TestDatabase {
  name: string;
  /** As the superuser. */
  url: string;
  server: Server;
  /** Rows of one statement, over a connection that the test file shares. */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>;
  /** A connection of the test's own; closed when the file ends, if not before. */
  connect(): Promise<pg.Client>;
  /** The same as somebody else, whose URL it is. */
  connectAs(url: string): Promise<pg.Client>;
  /** A login role with a random name, gone with the database. Its `url` leads here. */
  createRole(options?: string): Promise<{ name: string; password: string; url: string }>;
}

/** The servers under test, oldest first. */
export function servers(): Server[] {
  return inject("servers");
}

/** For what hardly depends on the version: the newest alone, unless somebody says which servers are wanted. */
export function newestAtLeast(): Server[] {
  return process.env.TENANTCTL_TEST_PG === undefined ? [newest()] : servers();
}

export function oldest(): Server {
  return atLeastOne(servers()[0]);
}

export function newest(): Server {
  return atLeastOne(servers().at(-1));
}

function atLeastOne(server: Server | undefined): Server {
  if (server === undefined) throw new Error("no server under test");
  return server;
}

/** Dropped when the file passes, kept with its URL printed when it fails. */
export async function createDatabase(server: Server = newest()): Promise<TestDatabase> {
  const name = randomName();
  const url = urlOf(server, { database: name });
  const clients: pg.Client[] = [];
  const roles: string[] = [];
  let shared: Promise<pg.Client> | undefined;

  const connectAs = async (as: string) => {
    const client = new pg.Client({ connectionString: as, application_name: "test" });
    client.on("error", () => {}); // a test may well end its own backend
    clients.push(client);
    await client.connect();
    return client;
  };
  const connect = () => connectAs(url);

  // from 15 on the default writes a database into the WAL, page by page
  const strategy = server.major >= 15 ? " strategy file_copy" : "";
  await onServer(server, (client) => client.query(`create database ${pg.escapeIdentifier(name)}${strategy}`));
  whenFileEnds(async (failed) => {
    await Promise.all(clients.map((client) => client.end()));
    const leaks = await leakedConnections(server, name);
    if (failed || leaks.length > 0) console.error(`kept the database ${url} (as long as its server lasts)`);
    else await drop(server, name, roles);
    if (leaks.length > 0) throw new Error(`connections left open to ${name}:\n${leaks.join("\n")}`);
  });

  return {
    name,
    url,
    server,
    connect,
    connectAs,
    async query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]) {
      shared ??= connect();
      return (await (await shared).query<Row>(sql, values)).rows;
    },
    async createRole(options = "login") {
      const role = randomName();
      const password = randomBytes(6).toString("hex");
      await onServer(server, (client) => client.query(`create role ${role} ${options} password '${password}'`));
      roles.push(role);
      return { name: role, password, url: urlOf(server, { database: name, user: role, password }) };
    },
  };
}

// One for all files of a worker: opening one takes about as long as what it is for.
const superusers = new Map<string, Promise<pg.Client>>();

async function onServer<T>({ url }: Server, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = superusers.get(url) ?? openSuperuser(url);
  superusers.set(url, client);
  return await use(await client);
}

async function openSuperuser(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: "tests" });
  client.on("error", () => superusers.delete(url));
  await client.connect();
  (client as unknown as { connection: { stream: Socket } }).connection.stream.unref();
  return client;
}

function urlOf(server: Server, to: { database: string; user?: string; password?: string }): string {
  const url = new URL(server.url);
  url.pathname = `/${to.database}`;
  if (to.user !== undefined) url.username = to.user;
  if (to.password !== undefined) url.password = to.password;
  return url.href;
}

/** Says which test file it belongs to: apply_3fa9c1d2. */
function randomName(): string {
  const file = basename(expect.getState().testPath ?? "test").replace(/\..*/, "");
  return `${file.replace(/\W/g, "_").toLowerCase().slice(0, 40)}_${randomBytes(4).toString("hex")}`;
}

// A backend needs a moment to see that its client went away.
const patienceMs = 2000;

async function leakedConnections(server: Server, database: string): Promise<string[]> {
  return onServer(server, async (client) => {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const { rows } = await client.query<{ leak: string }>(
        `select format('pid %s, application %L, %s, last statement: %s', pid, application_name, state, query) as leak
           from pg_stat_activity where datname = $1 and backend_type = 'client backend'`,
        [database],
      );
      if (rows.length === 0 || Date.now() > deadline) return rows.map((row) => row.leak);
      await sleep(20);
    }
  });
}

async function drop(server: Server, database: string, roles: string[]): Promise<void> {
  await onServer(server, async (client) => {
    await client.query(`drop database ${pg.escapeIdentifier(database)} with (force)`);
    const { rows } = await client.query<{ name: string }>(
      "select rolname as name from pg_roles where rolname ~ '^(login|tenants?)_' and strpos(rolname, $1) > 0",
      [database],
    );
    for (const role of [...rows.map(({ name }) => name), ...roles])
      await client.query(`drop role ${pg.escapeIdentifier(role)}`);
  });
}
