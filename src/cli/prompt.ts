// The cli room: one question on a terminal.

import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

/** Asks on stderr and resolves to the line typed, an empty one where the question was left; undefined without a terminal to ask on. A secret is not shown. */
export async function ask(question: string, { secret = false } = {}): Promise<string | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  const output = secret ? new Writable({ write: (_chunk, _encoding, written) => written() }) : process.stderr;
  const lines = createInterface({ input: process.stdin, output, ...(secret ? { terminal: true } : {}) });
  // Only now: until the terminal no longer shows what is typed, whoever is quick would be seen.
  if (secret) process.stderr.write(question);
  try {
    return await new Promise<string>((resolve) => {
      const leave = () => {
        process.stderr.write("\n");
        resolve("");
      };
      lines.on("close", leave);
      lines.question(question).then((line) => {
        lines.off("close", leave);
        if (secret) process.stderr.write("\n");
        resolve(line);
      }, leave);
    });
  } finally {
    lines.close();
  }
}
