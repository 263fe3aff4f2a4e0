// Runs the binary as a user would: its own process, a clean environment, exit code and both streams.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { whenFileEnds } from "./ending.ts";

export interface RunOptions {
  cwd?: string;
  /** Added to an environment of PATH and a HOME without config files; nothing else is inherited. */
  env?: Record<string, string>;
  /** What stdin holds; without it stdin is empty. */
  input?: string;
  /** After this the process is killed and the call throws. Default: 30 s. */
  timeoutMs?: number;
}

export interface RunResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** What stdout says, as JSON. */
  json<T = unknown>(): T;
}

export interface RunningTenantctl {
  pid: number;
  /** What came so far. */
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  /** Resolves once the pattern is found in stdout and stderr together; throws if the process ends without it. */
  waitFor(pattern: RegExp): Promise<void>;
  ended: Promise<RunResult>;
}

const binary = fileURLToPath(new URL("../../bin/tenantctl.js", import.meta.url));

/** Runs to the end. A code other than 0 doesn't throw: tests look at it. */
export function tenantctl(args: string[], options: RunOptions = {}): Promise<RunResult> {
  return startTenantctl(args, options).ended;
}

/** Starts, and returns at once: for runs that are signalled or killed half way. */
export function startTenantctl(args: string[], options: RunOptions = {}): RunningTenantctl {
  return startProgram(process.execPath, [binary, ...args], options);
}

/** Any other program, in the same way. */
export function startProgram(file: string, args: string[], options: RunOptions = {}): RunningTenantctl {
  const { cwd = tmpdir(), env = {}, input = "", timeoutMs = 30_000 } = options;
  const child = spawn(file, args, { cwd, env: { ...cleanEnvironment(), ...env } });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  child.stdin.on("error", () => {}); // it need not read its input
  child.stdin.end(input);
  whenFileEnds(async () => child.kill("SIGKILL"));

  const ended = untilEnded(child, output, [basename(file), ...args].join(" "), timeoutMs);
  ended.catch(() => {}); // reported to whoever awaits it
  return {
    pid: child.pid ?? 0,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    kill: (signal) => child.kill(signal),
    waitFor: (pattern) => untilFound(child, output, pattern),
    ended,
  };
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    TMPDIR: tmpdir(),
    HOME: fileURLToPath(new URL(".", import.meta.url)),
    LANG: "C.UTF-8",
  };
}

interface Output {
  stdout: string;
  stderr: string;
}

async function untilEnded(child: ChildProcess, output: Output, what: string, timeoutMs: number): Promise<RunResult> {
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  await once(child, "close").finally(() => clearTimeout(timer));
  const streams = `stdout:\n${output.stdout}\nstderr:\n${output.stderr}`;
  if (timedOut) throw new Error(`${what}: not done after ${timeoutMs} ms\n${streams}`);
  return {
    code: child.exitCode,
    signal: child.signalCode,
    ...output,
    json<T>() {
      try {
        return JSON.parse(output.stdout) as T;
      } catch (cause) {
        throw new Error(`${what}: stdout isn't one JSON document\n${streams}`, { cause });
      }
    },
  };
}

function untilFound(child: ChildProcess, output: Output, pattern: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (pattern.test(output.stdout + output.stderr)) resolve();
    };
    child.stdout?.on("data", look);
    child.stderr?.on("data", look);
    child.once("close", () => {
      look();
      reject(new Error(`ended without ${pattern}\nstdout:\n${output.stdout}\nstderr:\n${output.stderr}`));
    });
    look();
  });
}
