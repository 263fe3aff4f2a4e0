// The cli room: options that several commands share, and how their words become values.

import { type Command, InvalidArgumentError, type OptionValues } from "@commander-js/extra-typings";
import { TenantctlError } from "../errors.js";

/** The command line itself, to which commands are added. */
export type Program = Command<[], OptionValues>;

const units = { ms: 1, s: 1_000, m: 60_000 } as const;

/** `500ms`, `3s`, `2m`, in milliseconds; 0 needs no unit. */
export function duration(text: string): number {
  const match = /^(\d{1,9})(ms|s|m)$/.exec(text);
  if (text === "0") return 0;
  if (!match) throw new InvalidArgumentError("a duration is 500ms, 3s or 2m.");
  return Number(match[1]) * units[match[2] as keyof typeof units];
}

export function count(text: string): number {
  return wholeNumber(text, 1);
}

function countFromZero(text: string): number {
  return wholeNumber(text, 0);
}

function wholeNumber(text: string, from: number): number {
  if (/^(0|[1-9]\d{0,6})$/.test(text) && Number(text) >= from) return Number(text);
  throw new InvalidArgumentError(`it must be a whole number from ${from}.`);
}

/** Gathers an option that may be given several times. */
export function gather(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/** The selection of a fleet command, from its arguments and options. */
export function selectionOf(
  tenants: string[],
  { except, label, state, shard }: { except?: string[]; label?: string[]; state?: TenantState[]; shard?: string },
) {
  return { tenants, except, labels: label, states: state, shard };
}

type TenantState = "active" | "suspended" | "archived" | "all";

/** One of the states that a tenant may be in. */
export function tenantState(text: string): "active" | "suspended" | "archived" {
  const state = (["active", "suspended", "archived"] as const).find((one) => one === text);
  if (state === undefined) throw new InvalidArgumentError("a state is active, suspended or archived.");
  return state;
}

/** Gathers states; `all` is one of them. */
export function gatherState(text: string, before: readonly TenantState[] | undefined): TenantState[] {
  const state = (["active", "suspended", "archived", "all"] as const).find((one) => one === text);
  if (state === undefined) throw new InvalidArgumentError("a state is active, suspended, archived or all.");
  return [...(before ?? []), state];
}

/** Whether a word is one tenant's name, not a glob. */
export function isName(word: string): boolean {
  return !/[*?[\]{}!()]/.test(word);
}

/**
 * The tenants of a command that does not take none for all.
 * @throws TenantctlError USAGE.
 */
export function whose(tenants: string[], all: true | undefined): string[] {
  if (all && tenants.length > 0) {
    throw new TenantctlError("USAGE", `both --all and ${tenants.join(", ")}`, { hint: "name tenants, or say --all" });
  }
  if (!all && tenants.length === 0) {
    throw new TenantctlError("USAGE", "for which tenants?", { hint: "name them, or say --all" });
  }
  return tenants;
}

/** The error for words that a command has no use for. */
export function unexpectedWords(words: readonly string[]): TenantctlError {
  return new TenantctlError("USAGE", `what is ${JSON.stringify(words.join(" "))}?`, {
    hint: "words with spaces are quoted; a program's arguments come after --",
  });
}

type RolloutOptions = { canary?: string; waves?: string; gate?: string; maxFailures?: string };

/** How a run goes through the fleet, from a command's options. */
export function rolloutOf({ canary, waves, gate, maxFailures }: RolloutOptions) {
  return { canary, waves, gate, maxFailures };
}

export function reporter(text: string): "github" {
  if (text !== "github") throw new InvalidArgumentError("there is github; without it, it suits the terminal.");
  return text;
}

export const stateHelp = [
  "--state <state>",
  "only active, suspended or archived tenants, or all (default: archived only if named)",
] as const;

/** A command over the fleet: which tenants. */
export function fleetCommand(program: Program, name: string, summary: string) {
  return program
    .command(name)
    .summary(summary)
    .description(summary)
    .argument("[tenants...]", "names or globs; none means all")
    .option("--except <glob>", "leave out these tenants; may be repeated", gather)
    .option("--label <key=value>", "only tenants with this label; may be repeated", gather)
    .option(...stateHelp, gatherState)
    .option("--shard <i/n>", "only the i-th of n parts of the fleet, by a hash of the name");
}

export const asOwnerHelp = [
  "--as-owner",
  "as the role that owns the schemas, not as the tenant's own; the same where tenants have no roles",
] as const;

/** What a run that writes may be told about time. */
type LimitOptions = {
  concurrency?: number;
  lockTimeout?: number;
  statementTimeout?: number;
  lockWait?: number;
  retries?: number;
  wait?: number;
};

export const limitHelp = {
  lockTimeout: ["--lock-timeout <duration>", "how long each single lock is waited for (default: 5s)"],
  statementTimeout: [
    "--statement-timeout <duration>",
    "how long one statement may take (default: the server's setting)",
  ],
  lockWait: ["--lock-wait <duration>", "how long to wait for a tenant that another run works on (default: 60s)"],
  retries: ["--retries <n>", "how often to try lock timeouts, deadlocks and lost connections again (default: 3)"],
  wait: [
    "--wait <duration>",
    "how long to wait for a database that can't be reached (default: 10s in a run, 0 before it)",
  ],
  concurrency: ["--concurrency <n>", "how many tenants at once (default: 4)"],
} as const;

/** A command with the limits of a run that writes to many tenants. */
export function withLimits<Args extends unknown[], Options extends OptionValues>(command: Command<Args, Options>) {
  command
    .option(...limitHelp.concurrency, count)
    .option(...limitHelp.lockTimeout, duration)
    .option(...limitHelp.lockWait, duration)
    .option(...limitHelp.retries, countFromZero)
    .option(...limitHelp.wait, duration);
  return command as Command<Args, Options & LimitOptions>; // what they add, said here: the compiler takes minutes to find it out
}

/** A command with these, and with how migrations are rolled out. */
export function withRollout<Args extends unknown[], Options extends OptionValues>(command: Command<Args, Options>) {
  const limited = withLimits(command);
  limited
    .option(...limitHelp.statementTimeout, duration)
    .option("--canary <names|n>", "these tenants first, or n of them; stop if one fails")
    .option("--waves <ends>", "then in waves that end here, for example 1%,10%,100%")
    .option(
      "--gate <command>",
      "run between waves, with the wave's result as JSON on stdin; unless it exits with 0, stop",
    )
    .option("--max-failures <n|n%>", "stop when more tenants than this failed")
    .option("--reporter <name>", "github: annotations at the failed migrations' lines, and a job summary", reporter);
  return limited as Command<Args, Options & LimitOptions & RolloutOptions>;
}

export function limitsOf(options: LimitOptions, stop: AbortSignal) {
  return {
    ...(options.lockTimeout === undefined ? {} : { lockTimeoutMs: options.lockTimeout }),
    ...(options.statementTimeout === undefined ? {} : { statementTimeoutMs: options.statementTimeout }),
    ...(options.lockWait === undefined ? {} : { lockWaitMs: options.lockWait }),
    ...(options.retries === undefined ? {} : { retries: options.retries }),
    ...(options.wait === undefined ? {} : { waitMs: options.wait }),
    stop,
  };
}
