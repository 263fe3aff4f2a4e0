// Database tests: a server with settings of its own, made with the newest server's binaries.
import pg from "pg";
import { newest } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { daemonFolder, freePort, startDaemon } from "../support/keeper.ts";

const script = `
bin=$1 folder=$2 options=$3
echo open-sesame >"$folder/password"
"$bin/initdb" -D "$folder/data" --username=postgres --pwfile="$folder/password" --no-sync \\
  --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C >"$folder/log" 2>&1 &&
sh -c "$4" && "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -o "$options" -w start >>"$folder/log" 2>&1 &&
echo ready && read word || cat "$folder/log" >&2
"$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1
rm -rf "$folder"
`;

export interface OwnServer {
  port: number;
  folder: string;
  /** As the superuser. */
  url(host?: string, parameters?: Record<string, string>): string;
}

/**
 * Starts a server with these settings; stopped when the test file ends. `prepare` is a shell command that runs in its
 * folder, before it starts.
 */
export async function startOwnServer(settings: string[], prepare = "true"): Promise<OwnServer> {
  const folder = await daemonFolder("tenantctl-own");
  const port = await freePort();
  const all = ["listen_addresses=127.0.0.1,::1", "fsync=off", ...settings].map((setting) => `-c ${setting}`);
  const options = [`-p ${port}`, `-k ${folder}`, ...all].join(" ");
  const daemon = await startDaemon(script, [await binaries(), folder, options, `cd ${folder} && ${prepare}`]);
  whenFileEnds(() => daemon.stop());
  return {
    port,
    folder,
    url(host = "127.0.0.1", parameters = {}) {
      const query = new URLSearchParams(parameters);
      return `postgres://postgres:open-sesame@${host}:${port}/postgres?${query}`;
    },
  };
}

async function binaries(): Promise<string> {
  const client = new pg.Client({ connectionString: newest().url });
  await client.connect();
  const { rows } = await client.query<{ folder: string }>(
    "select setting as folder from pg_config where name = 'BINDIR'",
  );
  await client.end();
  return rows[0]?.folder ?? "";
}
