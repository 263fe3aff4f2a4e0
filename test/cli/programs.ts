// Command tests: programs of the system's that some tests need, and processes that must be gone.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const inCi = process.env.CI !== undefined;

function found(program: string, args: string[]): string | undefined {
  const { status, stdout } = spawnSync(program, args, { encoding: "utf8" });
  return status === 0 ? stdout : undefined;
}

/** A program that a test needs; in CI its absence fails the test. */
export interface Needed {
  missing: boolean;
  /** For the test's name. */
  note: string;
}

function needed(isThere: boolean, what: string): Needed {
  const missing = !isThere && !inCi;
  return { missing, note: missing ? ` (skipped: ${what})` : "" };
}

export const psql = needed(found("psql", ["--version"]) !== undefined, "psql is not installed");

/** pg_dump refuses servers that are newer than itself. */
export function pgDumpFor(major: number): Needed {
  const own = Number(/(\d+)/.exec(found("pg_dump", ["--version"]) ?? "")?.[1] ?? 0);
  return { ...needed(own >= major, `pg_dump ${own} can't dump PostgreSQL ${major}`), missing: own < major };
}

const drivers = ["psycopg2", "psycopg"];
const has = (python: string, module: string) => found(python, ["-c", `import ${module}`]) !== undefined;
const [python] = ["/usr/bin/python3", "python3"]
  .map((command) => ({
    command,
    modules: drivers.filter((module) => has(command, module)),
  }))
  .sort((a, b) => b.modules.length - a.modules.length);
const lacking = drivers.filter((module) => !python?.modules.includes(module));

/** A Python, and which of its drivers it has. */
export const psycopg = {
  python: python?.command ?? "python3",
  modules: inCi ? drivers : (python?.modules ?? []),
  ...needed(lacking.length < drivers.length, ""),
  ...(lacking.length > 0 && !inCi
    ? { note: ` (skipped: Python's ${lacking.join(" and ")} not installed)` }
    : { note: "" }),
};

/** Waits until a process is gone; one that ended and that nobody has buried is. */
export async function untilGone(pid: number): Promise<void> {
  while (isAlive(pid)) await sleep(20);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  if (process.platform !== "linux") return true;
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
