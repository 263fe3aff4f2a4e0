// The system's pgbouncer in front of one test database.
import { accessSync, constants } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { TestDatabase } from "./database.ts";
import { whenFileEnds } from "./ending.ts";
import { daemonFolder, freePort, startDaemon } from "./keeper.ts";

export interface Pgbouncer {
  /** To the same database, through the pooler, as the superuser. */
  url: string;
}

export interface PgbouncerOptions {
  poolMode?: "transaction" | "session" | "statement";
  /** Server connections for each user. */
  poolSize?: number;
  /** Users who may connect besides the superuser: name to password. */
  users?: Record<string, string>;
}

const binary = find("pgbouncer");

/** False only where pgbouncer isn't installed and nobody relies on it: in CI its absence fails the tests. */
export const pgbouncerAvailable = binary !== undefined || process.env.CI !== undefined;

/** For names: `describe.skipIf(!pgbouncerAvailable)(`behind pgbouncer${pgbouncerNote}`, …)`. */
export const pgbouncerNote = pgbouncerAvailable ? "" : " (skipped: pgbouncer is not installed)";

/** Starts pgbouncer, in transaction mode unless told otherwise; stopped when the test file ends. */
export async function startPgbouncer(database: TestDatabase, options: PgbouncerOptions = {}): Promise<Pgbouncer> {
  if (binary === undefined) throw new Error("pgbouncer is not installed");
  const server = new URL(database.url);
  const url = new URL(database.url);
  url.port = String(await freePort());

  const folder = await daemonFolder("tenantctl-pgbouncer");
  const users = Object.entries({ [server.username]: server.password, ...options.users });
  await writeFile(join(folder, "users.txt"), users.map(([name, password]) => `"${name}" "${password}"\n`).join(""));
  await writeFile(join(folder, "pgbouncer.ini"), configuration(server, url.port, folder, options));
  const daemon = await startDaemon(script, [binary, folder]);
  whenFileEnds(() => daemon.stop());

  await untilItAnswers(url.href, join(folder, "log"));
  return { url: url.href };
}

const script = `
"$1" -q "$2/pgbouncer.ini" >/dev/null 2>&1 & pid=$!
echo ready; read word
kill "$pid"; wait "$pid"
rm -rf "$2"
`;

// A plain password in auth_file serves both ways: to check the client's, and to log in to the server with SCRAM.
function configuration(server: URL, port: string, folder: string, options: PgbouncerOptions): string {
  return `[databases]
${server.pathname.slice(1)} = host=${server.hostname} port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${folder}/users.txt
logfile = ${folder}/log
pool_mode = ${options.poolMode ?? "transaction"}
default_pool_size = ${options.poolSize ?? 20}
`;
}

async function untilItAnswers(url: string, log: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      await client.query("select 1");
      return;
    } catch (cause) {
      if (attempt === 100) throw new Error(`pgbouncer does not answer:\n${await readFile(log, "utf8")}`, { cause });
      await sleep(50);
    } finally {
      await client.end();
    }
  }
}

function find(program: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
