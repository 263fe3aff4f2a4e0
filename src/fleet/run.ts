// The fleet room: what every run over many tenants shares: its options, its plan's limits, its summary.

import type { Database } from "../database/database.js";
import { TenantctlError } from "../errors.js";
import type { Failure, Reporter } from "../events.js";
import type { Migration } from "../migrations/files.js";
import { createPreparer, type Direction } from "../migrations/prepare.js";
import type { TenantWork } from "../migrations/tenant.js";
import type { Target } from "../migrations/transaction.js";
import type { Tenant } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";
import { isolationOf } from "./isolation.js";
import { defaultWaitMs } from "./outage.js";
import { concurrencyFor, lockTableConcern } from "./preflight.js";
import { reachOf } from "./reach.js";
import { askGate, failureBudget, planWaves, type Rollout, type Wave } from "./rollout.js";
import { logRun, newRunId } from "./runs.js";
import type { Surveyed } from "./survey.js";
import { failureOf, type Job, type TenantResult, tenantJson, workThrough } from "./workers.js";

/** Limits of a run, in milliseconds where they are times. */
export interface RunLimits {
  /** How long one lock is waited for; it holds for each lock, not for their sum. Default 5 s. */
  lockTimeoutMs?: number;
  /** How long one statement may take. Default: the server's own setting. */
  statementTimeoutMs?: number;
  /** How long a tenant at which another run works is waited for. Default 60 s. */
  lockWaitMs?: number;
  /** How often lock timeouts, deadlocks and lost connections are tried again. Default 3. */
  retries?: number;
  /**
   * How long a server that no longer answers is waited for, before the run stops. Default 10 s; with `retries` 0 it is not waited for.
   */
  waitMs?: number;
  /** Aborting it starts no more tenants. */
  stop?: AbortSignal;
}

export const defaultLimits = { lockTimeoutMs: 5_000, statementTimeoutMs: 0, lockWaitMs: 60_000, retries: 3 };

export type Stopped = "shared" | "preflight" | "canary" | "gate" | "max-failures" | "signal" | "database";

/** What came of a run. Tenants that were current from the start are counted, and not listed. */
export interface RunResult {
  run: string;
  ok: boolean;
  stopped: Stopped | null;
  /** Why it stopped, where that is no tenant's failure. */
  error?: Failure;
  summary: { tenants: number; changed: number; current: number; failed: number; skipped: number; durationMs: number };
  shared: { applied: string[]; error?: Failure } | null;
  tenants: TenantResult[];
}

/** Everything that is known before the first tenant is touched. */
export interface RunPlan {
  command: string;
  startedAt: number;
  direction: Direction;
  tenants: readonly Tenant[];
  jobs: Job[];
  /** Tenants that are refused, with why. */
  refused: TenantResult[];
  shared: { applied: string[]; error?: Failure } | null;
  run: string;
}

/** The plan of a run that starts now, without tenants yet. */
export function newPlan(command: string, direction: Direction = "up"): RunPlan {
  return {
    command,
    direction,
    startedAt: Date.now(),
    run: newRunId(),
    tenants: [],
    jobs: [],
    refused: [],
    shared: null,
  };
}

/**
 * Does a plan's jobs, wave after wave, remembers the run, and sums up. A plan without anything to do leaves no trace.
 * @throws TenantctlError USAGE, TENANT_UNKNOWN for a rollout that makes no sense; nothing was touched.
 */
export async function carryOut(
  fleet: Fleet,
  database: Database,
  plan: RunPlan,
  options: RunLimits & Rollout,
): Promise<RunResult> {
  const waves = planWaves(plan.jobs, options, new Set(plan.tenants.map((tenant) => tenant.name)));
  const brake = createBrake(options, plan, fleet.report);
  const concurrency = await beforeFirst(fleet, database, plan, brake);
  fleet.report({
    type: "run-planned",
    run: plan.run,
    command: plan.command,
    tenants: plan.tenants.length,
    toDo: plan.jobs.length,
    concurrency,
  });
  const log = plan.jobs.length + plan.refused.length === 0 ? undefined : await logRun(database, plan.run, plan.command);
  for (const result of plan.refused) {
    report(fleet, result, 0, plan.jobs.length);
    await remember(fleet, () => log?.result(result));
  }
  const worked: TenantResult[] = [];
  for (const [index, wave] of waves.entries()) {
    const results = await workThrough(wave.jobs, {
      ...defaultLimits,
      ...options,
      concurrency,
      waitMs: options.waitMs ?? (options.retries === 0 ? 0 : defaultWaitMs),
      stop: brake.signal,
      isInterrupted: fleet.isInterrupted,
      outcome: plan.direction === "up" ? "migrated" : "reverted",
      onStart: (name) => fleet.report({ type: "tenant-started", name }),
      onGone: (failure) => brake.pull("database", failure),
      onWait: (name, failure) => fleet.report({ type: "tenant-waiting", name, failure }),
      async onResult(result) {
        worked.push(result);
        brake.count(result);
        report(fleet, result, worked.length, plan.jobs.length);
        await remember(fleet, () => log?.result(result));
      },
    });
    await afterWave(fleet, plan, options, brake, { number: index + 1, of: waves.length, wave, results });
  }
  await remember(fleet, () => log?.finish());
  return sumUp(plan, worked, brake.why(), brake.failure());
}

function report(fleet: Fleet, result: TenantResult, done: number, toDo: number): void {
  const { name, outcome, migrations, durationMs, error } = result;
  fleet.report({
    type: "tenant-finished",
    name,
    outcome,
    migrations,
    durationMs,
    ...(error ? { error } : {}),
    done,
    toDo,
  });
}

// Pre-flight: what is wrong is said, and stops the run before the first tenant.
async function beforeFirst(fleet: Fleet, database: Database, plan: RunPlan, brake: Brake): Promise<number> {
  if (plan.jobs.length === 0) return 1;
  try {
    const concurrency = await concurrencyFor(fleet, database, plan.jobs.length);
    const concern = await lockTableConcern(database, concurrency);
    if (concern) fleet.report({ type: "warning", ...concern });
    return concurrency;
  } catch (error) {
    if (!(error instanceof TenantctlError && error.code === "PREFLIGHT")) throw error;
    brake.pull("preflight", failureOf(error));
    return 1;
  }
}

async function afterWave(
  fleet: Fleet,
  plan: RunPlan,
  options: Rollout,
  brake: Brake,
  { number, of, wave, results }: { number: number; of: number; wave: Wave; results: TenantResult[] },
): Promise<void> {
  if (brake.signal.aborted || number === of) return;
  const summary = countResults(results);
  fleet.report({ type: "wave-finished", wave: number, waves: of, canary: wave.canary, ...summary });
  if (wave.canary && summary.failed > 0) {
    brake.pull("canary", { code: "CANARY", message: `${summary.failed} of ${results.length} canaries failed` });
    return;
  }
  if (options.gate === undefined) return;
  const direction = plan.direction === "up" ? "migrated" : "reverted";
  const { changed, ...counts } = summary;
  const refusal = await askGate(options.gate, {
    run: plan.run,
    wave: number,
    waves: of,
    canary: wave.canary,
    summary: { tenants: results.length, [direction]: changed, ...counts },
    tenants: results.map((result) => tenantJson(result, direction)),
  });
  if (refusal) brake.pull("gate", refusal);
}

/** What stops a run, and why. */
interface Brake {
  signal: AbortSignal;
  pull(why: Stopped, failure: Failure): void;
  count(result: TenantResult): void;
  why(): Stopped | null;
  failure(): Failure | undefined;
}

function createBrake(options: RunLimits & Rollout, plan: RunPlan, report: Reporter): Brake {
  const budget = failureBudget(options, plan.tenants.length);
  const controller = new AbortController();
  const signal = options.stop === undefined ? controller.signal : AbortSignal.any([controller.signal, options.stop]);
  let pulled: { why: Stopped; failure: Failure } | undefined;
  let failed = 0;
  const brake: Brake = {
    signal,
    pull(why, failure) {
      if (pulled) return;
      pulled = { why, failure };
      report({ type: "run-stopped", why, failure });
      controller.abort();
    },
    count(result) {
      if (result.outcome === "failed") failed++;
      if (failed > budget)
        brake.pull("max-failures", { code: "MAX_FAILURES", message: `more than ${budget} tenants failed` });
    },
    why: () => pulled?.why ?? (options.stop?.aborted ? "signal" : null),
    failure: () => pulled?.failure,
  };
  for (const result of plan.refused) brake.count(result);
  return brake;
}

// What can't be written down must not stop the run that it is about.
async function remember(fleet: Fleet, write: () => Promise<void> | undefined): Promise<void> {
  try {
    await write();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    fleet.report({ type: "warning", message: `this run is not wholly remembered: ${message}` });
  }
}

/** The result of a plan whose jobs came out like this. */
export function sumUp(
  plan: RunPlan,
  worked: readonly TenantResult[],
  stopped: Stopped | null,
  error?: Failure,
): RunResult {
  const byName = new Map([...plan.refused, ...worked].map((result) => [result.name, result]));
  const results = plan.tenants.flatMap((tenant) => byName.get(tenant.name) ?? []);
  const counts = countResults(results);
  // A signal that came when all was done stopped nothing.
  const stop = stopped === "signal" && counts.skipped === 0 ? null : stopped;
  return {
    run: plan.run,
    ok: counts.failed === 0 && counts.skipped === 0 && stop === null,
    stopped: stop,
    ...(error === undefined ? {} : { error }),
    summary: {
      tenants: plan.tenants.length,
      ...counts,
      current: plan.tenants.length - results.length + counts.current,
      durationMs: Date.now() - plan.startedAt,
    },
    shared: plan.shared,
    tenants: results.filter((result) => result.outcome !== "current"),
  };
}

function countResults(results: readonly TenantResult[]) {
  const count = (...outcomes: string[]) => results.filter((result) => outcomes.includes(result.outcome)).length;
  return {
    changed: count("migrated", "reverted"),
    current: count("current"),
    failed: count("failed"),
    skipped: count("skipped"),
  };
}

/** What the operations on one tenant need, for the tenants of this fleet. */
export type Workshop = (tenant: { name: string; schema: string }, done: string[]) => TenantWork;

export function openWorkshop(
  fleet: Fleet,
  database: Database,
  migrations: readonly Migration[],
  run: string,
  limits: RunLimits,
): Workshop {
  const prepare = createPreparer(migrations);
  const target = targetOf(fleet, database, run, limits);
  return (tenant, done) => ({ ...target(tenant), migrations, prepare, onCommitted: (names) => done.push(...names) });
}

/** The role that gets rights: the config's appRole. Default privileges for oneself would be stored nowhere, and be missed for ever. */
function granteeOf(fleet: Fleet, database: Database): string | undefined {
  const { appRole } = fleet.config;
  return appRole === database.capabilities.user ? undefined : appRole;
}

/** Who gets which rights in the tenants' schemas. */
export function rightsOf(fleet: Fleet, database: Database) {
  return { appRole: granteeOf(fleet, database), isolation: isolationOf(fleet, database) };
}

function targetOf(fleet: Fleet, database: Database, run: string, limits: RunLimits) {
  const { sharedSchemas } = fleet.config;
  const { lockTimeoutMs, statementTimeoutMs } = { ...defaultLimits, ...limits };
  const reach = reachOf(fleet);
  return (tenant: { name: string; schema: string }): Target => ({
    database,
    tenant: { name: tenant.name, schema: tenant.schema },
    sharedSchemas: sharedSchemas.filter((schema) => schema !== tenant.schema),
    reach,
    ...rightsOf(fleet, database),
    run,
    report: fleet.report,
    timeouts: { lockTimeoutMs, statementTimeoutMs },
  });
}

/** The files' names that these tenants lack or have, each once, in order. */
export function namesOf(surveyed: readonly Surveyed[], pick: (one: Surveyed) => readonly string[]): string[] {
  const names = new Set<string>();
  let last: readonly string[] | undefined;
  for (const one of surveyed) {
    const picked = pick(one);
    if (picked === last) continue; // standings are shared by the tenants that are alike
    last = picked;
    for (const name of picked) names.add(name);
  }
  return [...names].sort();
}
