// Command tests: the binary on a pseudo-terminal, which util-linux's `script` makes.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const binary = fileURLToPath(new URL("../../bin/tenantctl.js", import.meta.url));

const found = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;

/** False only where there is no `script` and nobody relies on it: in CI its absence fails the tests. */
export const terminalAvailable = found || process.env.CI !== undefined;
export const terminalNote = terminalAvailable ? "" : " (skipped: util-linux's script is not installed)";

export interface TerminalOptions {
  cwd: string;
  typing?: Typing;
  env?: Record<string, string>;
  /** Default: 100. 0 is what a terminal has that was never told. */
  columns?: number;
}

export interface Typing {
  /** What to type once this was printed. */
  after: RegExp;
  text: string;
}

/** Runs the command with stdin, stdout and stderr on one terminal; resolves to its exit code and all that it printed. */
export async function onTerminal(
  args: string[],
  options: TerminalOptions,
): Promise<{ code: number | null; output: string }> {
  const words = [process.execPath, binary, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  const size = `stty columns ${options.columns ?? 100} rows ${options.columns === 0 ? 0 : 30}`;
  const child = spawn("script", ["--quiet", "--return", "--command", `${size}; exec ${words}`, "/dev/null"], {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, TERM: "xterm-256color", SHELL: "/bin/sh", HOME: options.cwd, ...options.env },
  });
  let output = "";
  let typed = options.typing === undefined;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (typed || !options.typing?.after.test(output)) return;
    typed = true;
    child.stdin.write(options.typing.text);
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}
