// The cli room: the one wrapper around every command: config, connections, drawing, signals, errors into exit codes.

import type { Command, OptionValues } from "@commander-js/extra-typings";
import { colourUnwanted, githubSummaryFile } from "../config/terminal.js";
import { ProblemsError, TenantctlError } from "../errors.js";
import type { Fleet } from "../fleet/index.js";
import { exitCodeOf, exitCodes } from "./exit.js";
import { type Drawing, githubDrawing, liveDrawing, plainDrawing, quietDrawing } from "./report.js";
import { type Style, styleFor } from "./style.js";
import { oneLine, placeOf } from "./words.js";

/** The options that every command has. */
export interface CommonOptions {
  config?: string;
  database?: string;
  json?: true;
  quiet?: true;
  verbose?: true;
  color: boolean;
  concurrency?: number;
  wait?: number;
  reporter?: "github";
}

export type Core = typeof import("../fleet/index.js");

/** What a command's body gets. */
export interface Session {
  /** The core, loaded when a command runs, so that `--help` loads none of it. */
  core: Core;
  options: CommonOptions;
  /** The fleet, opened when first asked for. */
  fleet(): Promise<Fleet>;
  /** Aborted by the first SIGINT or SIGTERM, which is its reason: start no more, finish what is under way. */
  stop: AbortSignal;
  /** Aborted when it all must end at once: what was started here must not outlive us. */
  force: AbortSignal;
  style: Style;
  drawing: Drawing;
  /** Prints a result: the value as JSON with --json, else the lines, which --quiet drops. */
  print(value: object, lines: () => readonly string[]): void;
}

/**
 * What signals are for: tenants under way are finished; programs get them passed on; on a terminal the program has them
 * from there, as SIGINT reaches everybody in front of it.
 */
export type SignalsFor = "tenants" | "programs" | "terminal";

/** Runs a command's body and leaves its exit code to the process. */
export async function runCommand(
  command: Command<unknown[], OptionValues>,
  body: (session: Session) => Promise<number>,
  signalsFor: SignalsFor = "tenants",
): Promise<void> {
  const options = command.optsWithGlobals() as unknown as CommonOptions;
  const colour = options.color && !colourUnwanted();
  const style = await styleFor(process.stderr, colour);
  const drawing = await drawingFor(options, style);
  let fleet: Fleet | undefined;
  const signals = listen(drawing, signalsFor, () => fleet?.interrupt() ?? false);
  let opened: Promise<Fleet> | undefined;
  try {
    const core = await import("../fleet/index.js");
    const open = async () => {
      fleet = await core.openFleet({
        config: options.config,
        database: options.database,
        concurrency: options.concurrency,
        report: drawing.report,
        waitMs: options.wait,
        stop: signals.stop,
      });
      return fleet;
    };
    const outStyle = await styleFor(process.stdout, colour);
    const code = await body({
      core,
      options,
      fleet: () => (opened ??= open()),
      stop: signals.stop,
      force: signals.force,
      style: outStyle,
      drawing,
      print(value, lines) {
        drawing.clear();
        if (options.json) process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
        else if (!options.quiet) for (const line of lines()) process.stdout.write(`${line}\n`);
      },
    });
    // A signal that came when all was done stopped nothing.
    process.exitCode = code === exitCodes.done ? code : (signals.exitCode() ?? code);
  } catch (error) {
    drawing.clear();
    process.exitCode = signals.exitCode() ?? tellError(error, options, style);
  } finally {
    await opened
      ?.then((fleet) => fleet.close())
      .catch((error: unknown) => (options.verbose ? process.stderr.write(`${String(error)}\n`) : undefined));
    signals.ignore();
  }
}

async function drawingFor(options: CommonOptions, style: Style): Promise<Drawing> {
  if (options.quiet) return quietDrawing(style);
  if (options.reporter === "github") return githubDrawing(style, githubSummaryFile());
  // A terminal that was never told its size has 0 columns, and ora would clear lines for ever.
  return process.stderr.isTTY && process.stderr.columns > 0 ? await liveDrawing(style) : plainDrawing(style);
}

const signalCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type Signal = keyof typeof signalCodes;

const signalWords = {
  tenants: "finishing the tenants under way; again to roll them back",
  programs: "passed on to the programs under way; again to kill them",
  terminal: "passed on to the program; again to kill it",
} as const;

// How long the server may take to roll back before we leave it alone with that: it notices within 2 s that we are gone.
const rollbackMs = 5_000;

/** @param interrupt rolls back what is under way; false where nothing is, or can be. */
function listen(drawing: Drawing, signalsFor: SignalsFor, interrupt: () => boolean) {
  const controller = new AbortController();
  const force = new AbortController();
  let code: number | undefined;
  let interrupted = false;
  const onSignal = (signal: Signal) => {
    if (signal === "SIGINT" && signalsFor === "terminal") return;
    drawing.clear();
    if (code !== undefined) {
      if (interrupted || signalsFor !== "tenants" || !interrupt()) process.exit(code);
      interrupted = true;
      setTimeout(() => process.exit(code), rollbackMs).unref();
      process.stderr.write(`${signal}: rolling back the tenants under way; again to end at once\n`);
      return;
    }
    code = signalCodes[signal];
    process.stderr.write(`${signal}: ${signalWords[signalsFor]}\n`);
    controller.abort(signal);
  };
  // However we end, nothing of ours goes on; a process that handles SIGHUP would not end with its terminal.
  const onExit = () => force.abort();
  const heard: Signal[] = signalsFor === "tenants" ? ["SIGINT", "SIGTERM"] : ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of heard) process.on(signal, onSignal);
  process.on("exit", onExit);
  return {
    stop: controller.signal,
    force: force.signal,
    exitCode: () => code,
    ignore() {
      for (const signal of heard) process.off(signal, onSignal);
      process.off("exit", onExit);
    },
  };
}

/** Prints an error at the edge, once, and returns its exit code. */
function tellError(error: unknown, options: Partial<CommonOptions>, style: Style): number {
  const known = error instanceof TenantctlError ? error : undefined;
  const message = oneLine(error instanceof Error ? error.message : String(error));
  const place = known ? placeOf({ code: known.code, message, ...placeFields(known) }) : "";
  const code = known?.code ?? "INTERNAL";
  const hint = known ? known.hint : "this is a fault of tenantctl; --verbose shows where";
  if (options.json) {
    const problems = known instanceof ProblemsError ? { problems: known.problems } : {};
    const body = {
      code,
      message,
      ...(hint === undefined ? {} : { hint: oneLine(hint) }),
      ...placeFields(known),
      ...problems,
    };
    process.stdout.write(`${JSON.stringify({ error: body }, null, 2)}\n`);
  } else {
    const lines =
      known instanceof ProblemsError ? known.problems.map(oneLine) : [`${message}${place === "" ? "" : ` (${place})`}`];
    for (const line of lines) process.stderr.write(`${style.bad("error:")} ${line}\n`);
    if (hint !== undefined) process.stderr.write(`${style.dim("hint:")} ${oneLine(hint)}\n`);
  }
  if (options.verbose && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return known ? exitCodeOf(known.code) : exitCodes.failed;
}

// A migration's failure carries its place; other errors have it in their message.
function placeFields(error: TenantctlError | undefined) {
  const { sqlState, place } = (error ?? {}) as {
    sqlState?: string;
    place?: { migration: string; file: string; line?: number; column?: number };
  };
  return { ...(sqlState === undefined ? {} : { sqlState }), ...(place ?? {}) };
}
