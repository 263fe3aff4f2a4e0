// The cli room: words in, an exit code out.

import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { Argument, CommanderError } from "@commander-js/extra-typings";
import { exitCodes } from "./exit.js";
import type { Program } from "./options.js";
import { createProgram } from "./program.js";
import { oneLine } from "./words.js";

const shells = ["bash", "zsh", "fish", "powershell"];

// pg looks at navigator to learn where it runs, and at fetch's Response where there is none: that takes Node 20 as long to load as all of pg.
// Node 21 and later have it, and say this.
if (!("navigator" in globalThis))
  Object.assign(globalThis, { navigator: { userAgent: `Node.js/${process.versions.node.split(".")[0]}` } });

// V8 compiles all of the parser's WebAssembly, and then optimises it in the background, which a command's exit waits for: it has no time to pay that back.
// Node 20 and 24 take either flag alone for none. In the application these would be the application's, so only here.
for (const flag of ["--wasm-lazy-compilation", "--no-wasm-tier-up", "--no-wasm-dynamic-tiering"])
  setFlagsFromString(flag);

/**
 * Runs the command that these arguments name.
 * @param argv as in process.argv: node, the script, the arguments.
 * @returns the exit code.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const end = argv.indexOf("--");
  const json = argv.slice(0, end === -1 ? undefined : end).includes("--json"); // what comes after is another program's
  process.stdout.on("error", leave);
  process.stderr.on("error", () => {}); // a log that is full, or closed, is no reason to break off a run
  const program = createProgram(version());
  if (argv[2] === "complete" && ["--", ...shells].includes(argv[3] ?? "")) {
    const { addCompletion } = await import("./completion.js");
    await addCompletion(program, argv[3] === "--");
  } else {
    program
      .command("complete")
      .addArgument(new Argument("<shell>", "the shell").choices(shells))
      .summary("print a completion script for bash, zsh, fish or powershell");
  }
  for (const command of [program, ...program.commands]) speakPlainly(command as Program, json);
  try {
    await program.parseAsync(argv as string[]);
    return Number(process.exitCode ?? exitCodes.done);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? exitCodes.done : exitCodes.refused;
  }
}

// Who reads us may have had enough: `tenantctl list | head`.
function leave(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit();
  process.stderr.write(`error: can't write to stdout: ${error.code ?? error.message}\n`);
  process.stderr.write("hint: what was done before stays; tenantctl status and runs tell of it\n");
  process.exit(exitCodes.failed);
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

// Commander's own errors, in the form that all of ours have: what, then a hint.
function speakPlainly(command: Program, json: boolean): void {
  command.exitOverride().showSuggestionAfterError(true);
  command.configureOutput({
    outputError(text, write) {
      const [first = "", suggestion] = text.trim().split(/\n(?=\(Did you mean)/);
      const message = oneLine(first.replace(/^error: /, ""));
      const hint = suggestion
        ? `did you mean ${suggestion.replace(/^\(Did you mean (one of )?|\?\)$/g, "")}?`
        : `tenantctl ${command.parent ? `${command.name()} ` : ""}--help`;
      if (json) process.stdout.write(`${JSON.stringify({ error: { code: "USAGE", message, hint } }, null, 2)}\n`);
      else write(`error: ${message}\nhint: ${hint}\n`);
    },
  });
}
