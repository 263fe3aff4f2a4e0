// The cli room: programs in tenants' contexts: their words on the command line, their output, their exit codes.

import { constants } from "node:os";
import type { Command, OptionValues } from "@commander-js/extra-typings";
import type { ExecManyOptions, ExecResult, ProgramResult, Selection } from "../fleet/index.js";
import { exitCodeOf, exitCodes } from "./exit.js";
import type { Session } from "./session.js";
import { openDocument, writeTo } from "./streams.js";
import { countOf, milliseconds } from "./words.js";

/** The words before `--`, and those after it, which commander hands over as one list. */
export function splitWords(
  command: Command<unknown[], OptionValues>,
  words: readonly string[],
): { before: string[]; after: string[] } {
  let root: { parent: unknown; rawArgs?: string[] } = command as never;
  while (root.parent) root = root.parent as typeof root;
  const raw = root.rawArgs ?? [];
  const after = raw.includes("--") ? raw.slice(raw.indexOf("--") + 1) : [];
  return { before: words.slice(0, words.length - after.length), after };
}

/** Whether somebody may be typing at the program, who then has the terminal's signals for it. */
export function onTerminal(): boolean {
  return [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
}

/** One tenant's exit code: its program's, or what env, timeout and the shell say where it has none. After a signal, the signal's. */
export function programCode({ code, signal, error }: ProgramResult, stop: AbortSignal): number {
  if (stop.aborted) return exitCodes.failed; // however well the program took it
  if (error === undefined) return exitCodes.done;
  if (error.code !== "PROGRAM_FAILED") return exitCodeOf(error.code);
  return code ?? 128 + (constants.signals[signal as NodeJS.Signals] ?? 0);
}

/** Runs a program in many tenants: their lines as they come, or with --json one document, with --quiet only what failed. */
export async function execMany(session: Session, selection: Selection, options: ExecManyOptions): Promise<ExecResult> {
  const { core, options: common, style } = session;
  const document = common.json ? openDocument("tenants") : undefined;
  const result = await core.exec(await session.fleet(), selection, {
    ...options,
    capture: document !== undefined || common.quiet === true,
    output: (tenant, stream, lines) => writeTo(process[stream], prefixed(tenant, lines)),
    onResult(one) {
      if (document) document.add([JSON.stringify(one)]);
      else if (common.quiet && one.outcome === "failed") printKept(one);
    },
  });
  const { tenants, ...rest } = result;
  document?.end(rest);
  if (!document && !(common.quiet && result.ok)) {
    for (const line of summaryLines(result)) process.stderr.write(`${result.ok ? style.good(line) : line}\n`);
  }
  return result;
}

function printKept({ name, stdout = "", stderr = "" }: ProgramResult): void {
  if (stdout !== "") writeTo(process.stdout, prefixed(name, Buffer.from(stdout)));
  if (stderr !== "") writeTo(process.stderr, prefixed(name, Buffer.from(stderr)));
}

// Bytes, not text: a program may print what is no UTF-8.
function prefixed(tenant: string, lines: Buffer): Buffer {
  const prefix = Buffer.from(`${tenant} | `);
  const parts: Buffer[] = [];
  for (let at = 0; at < lines.length; ) {
    const newline = lines.indexOf(10, at);
    const end = newline === -1 ? lines.length : newline + 1;
    parts.push(prefix, lines.subarray(at, end));
    at = end;
  }
  if (lines.at(-1) !== 10) parts.push(Buffer.from("\n"));
  return Buffer.concat(parts);
}

const namesShown = 20;

function summaryLines({ summary, stopped, tenants }: ExecResult): string[] {
  const parts = [
    `${summary.done} done`,
    ...(summary.failed > 0 ? [`${summary.failed} failed`] : []),
    ...(summary.skipped > 0 ? [`${summary.skipped} skipped`] : []),
  ];
  const line = `${countOf(summary.tenants, "tenant")}: ${parts.join(", ")} (${milliseconds(summary.durationMs)})`;
  if (stopped === null) return [line];
  return [
    line,
    leftLine(tenants.filter((one) => one.outcome !== "done" && one.reason !== "overlap").map((one) => one.name)),
  ];
}

/** What a stopped run leaves to be done. */
export function leftLine(names: readonly string[]): string {
  const more = names.length > namesShown ? ", …" : "";
  return `${countOf(names.length, "tenant")} left: ${names.slice(0, namesShown).join(", ")}${more}`;
}
