// The fleet room: one program of somebody else's: found, started, watched, and ended with all that it started.

import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { TenantctlError } from "../errors.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** How a program came to its end. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** It had not ended when its time was over. */
  timedOut: boolean;
  /** It could not be started. */
  error?: NodeJS.ErrnoException;
}

export interface Limits {
  /** How long it may take, in milliseconds; without it, as long as it likes. */
  timeoutMs?: number | undefined;
  /** How long it may take to end after a signal, before it is killed. Default 10 s. */
  killAfterMs?: number | undefined;
  /** Passes its reason, a signal's name, on to the program. */
  stop?: AbortSignal | undefined;
  /** Kills it at once. */
  force?: AbortSignal | undefined;
}

export interface ProgramOptions extends Limits {
  env: Environment;
  /** Takes what it prints; without it, it has our own stdin, stdout and stderr. Holds the program back until the promise is settled. */
  output?: (stream: "stdout" | "stderr", chunk: Buffer) => Promise<void> | undefined;
  /** It leads a process group of its own, so that all it starts is reached; not on a terminal, which belongs to one group. */
  ownGroup: boolean;
}

const defaultKillAfterMs = 10_000;

/**
 * Makes sure that a program is there before any is started, looked up as the shell does.
 * @throws TenantctlError PROGRAM_UNKNOWN, PROGRAM_NOT_EXECUTABLE.
 */
export function requireProgram(program: string, env: Environment, hint?: string): void {
  const places = program.includes("/")
    ? [program]
    : (env.PATH ?? "").split(delimiter).map((folder) => join(folder || ".", program));
  const files = places.filter(isFile);
  if (files.some(isExecutable) || process.platform === "win32") return;
  const [found] = files;
  if (found !== undefined) {
    throw new TenantctlError("PROGRAM_NOT_EXECUTABLE", `not executable: ${found}`, {
      hint: hint ?? `chmod +x ${found}`,
    });
  }
  throw new TenantctlError("PROGRAM_UNKNOWN", `program not found: ${program}`, {
    hint: hint ?? "is it installed, and on the PATH? For the shell's own words: sh -c '…'",
  });
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs a program to its end. Never throws. */
export async function runProgram([program = "", ...args]: readonly string[], options: ProgramOptions): Promise<Ended> {
  const { env, output, ownGroup } = options;
  const child = spawn(program, args, {
    env: { ...env },
    detached: ownGroup && process.platform !== "win32",
    stdio: output === undefined ? "inherit" : ["ignore", "pipe", "pipe"],
  });
  if (output !== undefined) {
    listen(child, "stdout", output);
    listen(child, "stderr", output);
  }
  const leash = hold(child, options);
  const ended = await new Promise<Omit<Ended, "timedOut">>((resolve) => {
    child.on("error", (error) => resolve({ code: null, signal: null, error }));
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  return { ...ended, timedOut: leash.release() };
}

function listen(child: ChildProcess, name: "stdout" | "stderr", output: NonNullable<ProgramOptions["output"]>): void {
  const stream = child[name];
  stream?.on("data", (chunk: Buffer) => {
    const wait = output(name, chunk);
    if (wait === undefined) return;
    stream.pause();
    wait.then(() => stream.resume());
  });
}

// Signals reach the program and, where it leads a group, all that it started; who does not heed them is killed a while later.
function hold(child: ChildProcess, options: ProgramOptions): { release(): boolean } {
  let timedOut = false;
  let signalled = false;
  let killing: NodeJS.Timeout | undefined;
  const end = (signal: NodeJS.Signals) => {
    signalled = true;
    send(child, signal, options.ownGroup);
    killing ??= setTimeout(kill, options.killAfterMs ?? defaultKillAfterMs);
  };
  const kill = () => send(child, "SIGKILL", options.ownGroup);
  const onStop = () => end((options.stop?.reason as NodeJS.Signals | undefined) ?? "SIGTERM");
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          end("SIGTERM");
        }, options.timeoutMs);
  options.stop?.addEventListener("abort", onStop);
  options.force?.addEventListener("abort", kill);
  if (options.stop?.aborted) onStop();
  return {
    release() {
      clearTimeout(timer);
      clearTimeout(killing);
      options.stop?.removeEventListener("abort", onStop);
      options.force?.removeEventListener("abort", kill);
      // The program has ended; what it started and left behind need not have.
      if (signalled && options.ownGroup) kill();
      return timedOut;
    },
  };
}

function send(child: ChildProcess, signal: NodeJS.Signals, ownGroup: boolean): void {
  if (child.pid === undefined) return;
  if (!ownGroup || process.platform === "win32") {
    child.kill(signal);
    return;
  }
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // nobody is left
  }
}
