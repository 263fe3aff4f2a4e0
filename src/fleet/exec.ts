// The fleet room: exec, any program in a tenant's context, for one tenant or for many.

import { setMaxListeners } from "node:events";
import { childEnvironment } from "../config/child.js";
import type { ServerSettings } from "../config/connection.js";
import type { Client, Database } from "../database/database.js";
import { searchPath } from "../database/quote.js";
import { lockKey } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import type { Failure } from "../events.js";
import type { Tenant } from "../registry/registry.js";
import { type Fleet, schemasOf } from "./fleet.js";
import { roleOf } from "./isolation.js";
import { type Ended, type Limits, requireProgram, runProgram } from "./program.js";
import { schemaChecker } from "./schemas.js";
import { type Selection, selectTenants } from "./select.js";
import { findTenant } from "./tenants.js";
import { eachOf, failureOf } from "./workers.js";

/** What came of one tenant's program. */
export interface ProgramResult {
  name: string;
  schema: string;
  outcome: "done" | "failed" | "skipped";
  /** Null: it was ended by a signal, or never started. */
  code: number | null;
  signal: string | null;
  durationMs: number;
  /** Why it was skipped: the same job was under way, or the run was stopped. */
  reason?: "overlap" | "stopped";
  /** What it printed, where that was asked for. */
  stdout?: string;
  stderr?: string;
  /** It printed more than is kept. */
  truncated?: true;
  error?: Failure;
}

/** What came of a program in many tenants. */
export interface ExecResult {
  ok: boolean;
  stopped: "signal" | null;
  summary: { tenants: number; done: number; failed: number; skipped: number; durationMs: number };
  tenants: ProgramResult[];
}

export interface ExecOptions extends Limits {
  /** The program and its arguments. */
  command: readonly string[];
  /** As the role that we connect as, which owns the schemas, in place of the tenant's. It is so anyway where tenants have no roles. */
  asOwner?: boolean | undefined;
  /** The job's name: a tenant where a job of that name is still running is skipped. */
  noOverlap?: string | undefined;
}

export interface ExecManyOptions extends ExecOptions {
  /** How many tenants at once. Default 1. */
  concurrency?: number | undefined;
  /** Keep what the programs print in the results, in place of handing it to `output`. */
  capture?: boolean;
  /** Takes whole lines of what a program prints, with their ends; the last one may lack it. Holds the program back while it waits. */
  output?: (tenant: string, stream: "stdout" | "stderr", lines: Buffer) => Promise<void> | undefined;
  /** Called with each result as soon as there is one. */
  onResult?: (result: ProgramResult) => void;
}

/**
 * Runs a program for each of the selected tenants. A tenant whose program fails stops nobody else: it is in the result.
 * @throws TenantctlError before anything runs: TENANT_UNKNOWN, PROGRAM_UNKNOWN, PROGRAM_NOT_EXECUTABLE, NEEDS_SERVER on the embedded
 * database, NEEDS_SESSION behind a transaction pooler without `directDatabase`, and what opening the database throws.
 */
export async function exec(fleet: Fleet, selection: Selection, options: ExecManyOptions): Promise<ExecResult> {
  const startedAt = Date.now();
  const tenants = await selectTenants(await fleet.registry.tenants(), selection);
  const context = await openContext(fleet, tenants, options);
  const results = new Map<Tenant, ProgramResult>();
  const finish = (tenant: Tenant, result: Omit<ProgramResult, "name" | "schema">) => {
    const whole = { name: tenant.name, schema: tenant.schema, ...result };
    results.set(tenant, whole);
    options.onResult?.(whole);
    tell(fleet, whole, options);
  };
  const left = await eachOf(tenants, options.concurrency ?? 1, options.stop, async (tenant) => {
    const output = options.capture ? captured() : prefixed(tenant.name, options.output);
    finish(tenant, { ...(await context.run(tenant, { output: output.take, ownGroup: true })), ...output.end() });
  });
  for (const tenant of left) finish(tenant, skipped("stopped"));
  const all = tenants.flatMap((tenant) => results.get(tenant) ?? []);
  const count = (outcome: string) => all.filter((result) => result.outcome === outcome).length;
  const stopped = options.stop?.aborted && all.some((one) => one.reason === "stopped" || one.outcome === "failed");
  return {
    ok: count("failed") === 0 && left.length === 0,
    stopped: stopped ? "signal" : null,
    summary: {
      tenants: all.length,
      done: count("done"),
      failed: count("failed"),
      skipped: count("skipped"),
      durationMs: Date.now() - startedAt,
    },
    tenants: all,
  };
}

function tell(
  fleet: Fleet,
  { name, outcome, durationMs, error, reason }: ProgramResult,
  { noOverlap }: ExecOptions,
): void {
  if (error !== undefined) fleet.report({ type: "tenant-failed", name, error });
  else if (reason === "overlap") fleet.report({ type: "tenant-overlaps", name, job: noOverlap ?? "" });
  else if (outcome === "done") fleet.report({ type: "tenant-done", name, durationMs });
}

/**
 * Runs a program for one tenant, on our own stdin, stdout and stderr. `ownGroup` is for where that is no terminal.
 * @throws TenantctlError as `exec` does, and SCHEMA_MISSING.
 */
export async function execOne(
  fleet: Fleet,
  name: string,
  options: ExecOptions & { ownGroup: boolean; hint?: string },
): Promise<ProgramResult> {
  const tenant = await findTenant(fleet, name);
  const context = await openContext(fleet, [tenant], options);
  context.requireSchema(tenant);
  const result = { name, schema: tenant.schema, ...(await context.run(tenant, { ownGroup: options.ownGroup })) };
  // Whoever ends with an exit code has said why; success is silent.
  if (result.outcome !== "done" && result.error?.code !== "PROGRAM_FAILED") tell(fleet, result, options);
  return result;
}

type Outcome = Omit<ProgramResult, "name" | "schema">;

interface Context {
  requireSchema(tenant: Tenant): void;
  run(tenant: Tenant, how: { output?: Output["take"]; ownGroup: boolean }): Promise<Outcome>;
}

// Everything that can be wrong for all of them is looked at before the first one.
async function openContext(
  fleet: Fleet,
  tenants: readonly Tenant[],
  options: ExecOptions & { hint?: string },
): Promise<Context> {
  const { environment } = fleet.config;
  const settings = serverOf(fleet);
  requireProgram(options.command[0] ?? "", environment, options.hint);
  const database = await fleet.database();
  if (!(await database.hasSession())) {
    throw new TenantctlError(
      "NEEDS_SESSION",
      `a program's search_path needs a session of its own, and ${database.display} is a transaction pooler`,
      {
        hint: 'set "directDatabase" in the config to the server\'s own address',
      },
    );
  }
  const requireSchema = await schemaChecker(database, tenants);
  if (options.noOverlap === undefined) await fleet.close(); // programs may run for hours: their connections are their own
  for (const signal of [options.stop, options.force]) if (signal) setMaxListeners(0, signal);
  return {
    requireSchema,
    async run(tenant, how) {
      const startedAt = Date.now();
      const perform = async (): Promise<Outcome> => {
        const role = options.asOwner ? undefined : roleOf(fleet, database, tenant);
        const context = { ...tenant, searchPath: searchPath(schemasOf(fleet, tenant)), role };
        const env = childEnvironment(settings, context, environment);
        const ended = await runProgram(options.command, { ...options, ...how, env });
        return { ...outcomeOf(ended, options), durationMs: Date.now() - startedAt };
      };
      try {
        requireSchema(tenant);
        if (options.noOverlap === undefined) return await perform();
        return await unlessRunning(fleet, database, options.noOverlap, tenant, perform);
      } catch (error) {
        if (!(error instanceof TenantctlError)) throw error;
        return {
          outcome: "failed",
          code: null,
          signal: null,
          durationMs: Date.now() - startedAt,
          error: failureOf(error),
        };
      }
    },
  };
}

function serverOf(fleet: Fleet): ServerSettings {
  const settings = fleet.config.database();
  const direct = settings.kind === "embedded" ? undefined : fleet.config.directDatabase();
  const used = direct ?? settings;
  if (used.kind === "server") return used;
  throw new TenantctlError(
    "NEEDS_SERVER",
    `the embedded database ${used.display} lives in this process, and no other program can connect to it`,
    { hint: "tenantctl sql runs SQL in it; for programs give a server: --database <url>" },
  );
}

// The lock is the session's, and lasts as long as the connection: if we die, the next one may start.
async function unlessRunning(
  fleet: Fleet,
  database: Database,
  job: string,
  tenant: Tenant,
  perform: () => Promise<Outcome>,
): Promise<Outcome> {
  const key = lockKey(["", "exec", job, tenant.schema].join("\0")); // no schema's name has a NUL: nobody else's lock
  return await database.withSession(async (client) => {
    await client.query("set idle_session_timeout = 0");
    const { rows } = await client.query<{ locked: boolean }>(`select pg_try_advisory_lock(${key}) as locked`);
    if (!rows[0]?.locked) return skipped("overlap");
    const stopWatching = watch(fleet, client, job, tenant);
    try {
      return await perform();
    } finally {
      stopWatching();
      // Closing the connection unlocks too, but only some time later; where it is lost, that is all there is.
      await client.query(`select pg_advisory_unlock(${key})`).catch(() => {});
    }
  });
}

function watch(fleet: Fleet, client: Client, job: string, tenant: Tenant): () => void {
  const onEnd = () =>
    fleet.report({
      type: "warning",
      message: `${tenant.name}: the connection that holds the lock of job ${JSON.stringify(job)} was lost; another one may start meanwhile`,
    });
  client.once("end", onEnd);
  return () => client.off("end", onEnd);
}

function skipped(reason: "overlap" | "stopped"): Outcome {
  return { outcome: "skipped", code: null, signal: null, durationMs: 0, reason };
}

function outcomeOf({ code, signal, timedOut, error }: Ended, { timeoutMs = 0 }: Limits): Omit<Outcome, "durationMs"> {
  if (code === 0 && !timedOut) return { outcome: "done", code, signal };
  const failure: Failure = timedOut
    ? { code: "PROGRAM_TIMEOUT", message: `not done after ${timeoutMs / 1_000} s, and was ended` }
    : {
        code: error?.code === "ENOENT" ? "PROGRAM_UNKNOWN" : error ? "PROGRAM_NOT_EXECUTABLE" : "PROGRAM_FAILED",
        message: error
          ? `can't be started: ${error.message}`
          : signal === null
            ? `exit code ${code}`
            : `ended by ${signal}`,
      };
  return { outcome: "failed", code, signal, error: failure };
}

interface Output {
  take(stream: "stdout" | "stderr", chunk: Buffer): Promise<void> | undefined;
  /** At its end: what was kept, if it was. */
  end(): Pick<ProgramResult, "stdout" | "stderr" | "truncated">;
}

// A fleet's results are held one at a time for each worker, and none may fill the memory.
const keptBytes = 10_000_000;

function captured(): Output {
  const kept = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const sizes = { stdout: 0, stderr: 0 };
  let truncated = false;
  return {
    take(stream, chunk) {
      const room = keptBytes - sizes[stream];
      if (chunk.length > room) truncated = true;
      if (room > 0) kept[stream].push(chunk.subarray(0, room));
      sizes[stream] += chunk.length;
      return undefined;
    },
    end: () => ({
      stdout: Buffer.concat(kept.stdout).toString(),
      stderr: Buffer.concat(kept.stderr).toString(),
      ...(truncated ? { truncated } : {}),
    }),
  };
}

// Whole lines only, so that none is mixed with another tenant's; one longer than this comes in pieces.
const longestLine = 1_000_000;
const newline = 10;

function prefixed(tenant: string, output: ExecManyOptions["output"]): Output {
  const rest = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  return {
    take(stream, chunk) {
      const whole = Buffer.concat([rest[stream], chunk]);
      const end = whole.length > longestLine ? whole.length : whole.lastIndexOf(newline) + 1;
      rest[stream] = whole.subarray(end);
      return end === 0 ? undefined : output?.(tenant, stream, whole.subarray(0, end));
    },
    end() {
      for (const stream of ["stdout", "stderr"] as const)
        if (rest[stream].length > 0) output?.(tenant, stream, rest[stream]);
      return {};
    },
  };
}
