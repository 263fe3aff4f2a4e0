// A pgbouncer in transaction mode, in front of a database that is measured; gone with this process.
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withClient } from "./fleet.js";
import { freePort, giveToDaemon, startDaemon } from "./server.js";

// Debian puts it where only root looks.
const env = { ...process.env, PATH: [process.env.PATH, "/usr/sbin", "/usr/local/sbin"].join(delimiter) };
const [, version] =
  /PgBouncer (\S+)/.exec(spawnSync("pgbouncer", ["--version"], { env, encoding: "utf8" }).stdout) ?? [];

/** Undefined where it is not installed. */
export const pgbouncerVersion = version;

const script = `
trap '' PIPE
PATH=$PATH:/usr/sbin:/usr/local/sbin folder=$1
pgbouncer -q "$folder/pgbouncer.ini" >/dev/null 2>&1 & pid=$!
echo ready; read word
kill "$pid"; wait "$pid"
rm -rf "$folder"
`;

/**
 * @param {string} database its URL, with a password @param {number} poolSize
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>}
 */
export async function startPgbouncer(database, poolSize) {
  const { pathname, hostname, port, username, password } = new URL(database);
  const url = new URL(database);
  url.port = String(await freePort());
  const folder = mkdtempSync(join(tmpdir(), "tenantctl-bench-pgbouncer-"));
  giveToDaemon(folder);
  writeFileSync(join(folder, "users.txt"), `"${username}" "${password}"\n`);
  writeFileSync(
    join(folder, "pgbouncer.ini"),
    `[databases]
${pathname.slice(1)} = host=${hostname} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${url.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${folder}/users.txt
pool_mode = transaction
default_pool_size = ${poolSize}
`,
  );
  const stop = await startDaemon("pgbouncer", script, [folder]);
  for (let attempt = 1; ; attempt++) {
    try {
      await withClient(url.href, (client) => client.query("select 1"));
      return { url: url.href, stop };
    } catch (error) {
      if (attempt === 100) throw error;
      await sleep(50);
    }
  }
}
