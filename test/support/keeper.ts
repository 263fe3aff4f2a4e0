// Daemons for tests that never outlive the run: a shell watches a pipe that closes when this process ends, however it ends.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Daemon {
  /** Lets the script go on past its `read`, and waits for its end. */
  stop(word?: "stop" | "keep"): Promise<void>;
}

// Without SIGPIPE ignored, an `echo` to a dead parent would end the script before its last lines.
const prelude = "trap '' PIPE\n";

/**
 * Runs a POSIX shell script that starts a daemon, prints `ready`, waits in `read word`, and ends the daemon.
 * In a session of its own, so that Ctrl-C reaches the script only through the closed pipe.
 */
export async function startDaemon(script: string, args: string[]): Promise<Daemon> {
  const shell = spawn("sh", ["-c", prelude + script, "sh", ...args], {
    ...unprivileged(),
    cwd: tmpdir(),
    detached: true,
    env: { PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  shell.stdin.on("error", () => {}); // a script that ended early
  const ended = once(shell, "close");
  await untilReady(shell, ended);
  return {
    async stop(word = "stop") {
      shell.stdin.end(`${word}\n`);
      await ended;
    },
  };
}

async function untilReady(shell: ChildProcess, ended: Promise<unknown>): Promise<void> {
  let complaint = "";
  shell.stderr?.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  const ready = new Promise<true>((resolve) => {
    shell.stdout?.on("data", (chunk: Buffer) => {
      if (chunk.toString().includes("ready")) resolve(true);
    });
  });
  if ((await Promise.race([ready, ended])) !== true) throw new Error(`a test daemon did not start:\n${complaint}`);
}

/** Neither postgres nor pgbouncer runs as root: as root, they run as `nobody`. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

/** A new temp folder that the daemon may write to. Short, since a socket's path may have 103 bytes at most. */
export async function daemonFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `${name}-`));
  const { uid, gid } = unprivileged();
  if (uid !== undefined && gid !== undefined) await chown(folder, uid, gid);
  return folder;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
