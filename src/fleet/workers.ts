// The fleet room: workers that take tenants from one queue; what one of them meets never stops the others.

import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, TenantctlError } from "../errors.js";
import type { Failure } from "../events.js";
import { MigrationFailure } from "../migrations/failure.js";
import { askAgainMs, isRefusedConnection, Outage } from "./outage.js";

/** What came of one tenant. */
export interface TenantResult {
  name: string;
  schema: string;
  outcome: "migrated" | "reverted" | "current" | "failed" | "skipped";
  /** The migrations that were applied or reverted, and stay so. */
  migrations: string[];
  durationMs: number;
  error?: Failure;
}

/** A tenant's result in the JSON shape that is documented: `applied` where tenants were migrated, else `reverted`. */
export function tenantJson(
  { migrations, durationMs, error, ...rest }: TenantResult,
  direction: "migrated" | "reverted",
): object {
  const done = direction === "migrated" ? "applied" : "reverted";
  return { ...rest, [done]: migrations, durationMs, ...(error === undefined ? {} : { error }) };
}

/** The result of a tenant that fails before anything is done to it. */
export function refused({ name, schema }: { name: string; schema: string }, why: unknown): TenantResult {
  return { name, schema, outcome: "failed", migrations: [], durationMs: 0, error: failureOf(why) };
}

export interface Job {
  tenant: { name: string; schema: string };
  /** Works on the tenant; adds to `done` what was committed, as soon as it was. True if it changed anything else. */
  perform(done: string[]): Promise<boolean>;
}

export interface WorkOptions {
  concurrency: number;
  /** How long a tenant at which somebody else works is waited for, in milliseconds. */
  lockWaitMs: number;
  /** How often what may pass (lock timeouts, deadlocks, lost connections) is tried again. */
  retries: number;
  /** How long a server that no longer answers anybody is waited for, in milliseconds. */
  waitMs: number;
  /** When it says so, no more tenants are started, and those left are skipped. */
  stop?: AbortSignal | undefined;
  /** Whether what is under way was cancelled by us: a tenant that was rolled back for it is skipped, and has not failed. */
  isInterrupted(): boolean;
  outcome: "migrated" | "reverted";
  onStart(name: string): void;
  /** Called once the server has been gone for too long; it is to see to it that `stop` says so. */
  onGone(failure: Failure): void;
  /** Called when a tenant goes back to the end of the queue. */
  onWait(name: string, failure: Failure): void;
  /** Called with each result as soon as there is one. */
  onResult(result: TenantResult): Promise<void>;
}

interface Waiting {
  job: Job;
  done: string[];
  attempts: number;
  startedAt: number | undefined;
  readyAt: number;
  /** Its connection was lost: it is at its old version or at the new one, until somebody looks. */
  lost?: Failure;
}

/** Works through the jobs. Resolves to one result for each, in their order; throws only what is nobody's failure but ours. */
export async function workThrough(jobs: readonly Job[], options: WorkOptions): Promise<TenantResult[]> {
  const results = new Map<Job, TenantResult>();
  const queue: Waiting[] = jobs.map((job) => ({ job, done: [], attempts: 0, startedAt: undefined, readyAt: 0 }));
  const outage = new Outage(options.waitMs);
  let pausedUntil = 0;
  async function finish(waiting: Waiting, outcome: TenantResult["outcome"], error?: Failure) {
    const { name, schema } = waiting.job.tenant;
    const durationMs = waiting.startedAt === undefined ? 0 : Date.now() - waiting.startedAt;
    const result: TenantResult = {
      name,
      schema,
      outcome,
      migrations: waiting.done,
      durationMs,
      ...(error ? { error } : {}),
    };
    results.set(waiting.job, result);
    await options.onResult(result);
  }
  async function worker() {
    for (let waiting = takeReady(queue); waiting !== undefined; waiting = takeReady(queue)) {
      if (options.stop?.aborted) {
        await leave(waiting);
        continue;
      }
      const readyAt = Math.max(waiting.readyAt, pausedUntil);
      if (readyAt > Date.now()) await sleep(readyAt - Date.now());
      await attempt(waiting);
    }
  }
  // What was not begun, or was rolled back, is skipped.
  async function leave(waiting: Waiting) {
    if (waiting.lost !== undefined) await finish(waiting, "failed", waiting.lost);
    else await finish(waiting, waiting.done.length > 0 ? options.outcome : "skipped");
  }
  function putOff(waiting: Waiting, ms: number) {
    waiting.readyAt = Date.now() + ms;
    queue.push(waiting);
  }
  async function attempt(waiting: Waiting) {
    if (waiting.startedAt === undefined) options.onStart(waiting.job.tenant.name);
    waiting.startedAt ??= Date.now();
    try {
      const changed = await waiting.job.perform(waiting.done);
      outage.answered();
      await finish(waiting, changed || waiting.done.length > 0 ? options.outcome : "current");
    } catch (error) {
      const failure = failureOf(error);
      if (isRefusedConnection(failure)) return await wait(waiting, failure);
      if (failure.code === "CONNECTION_LOST") waiting.lost = failure;
      else {
        outage.answered();
        delete waiting.lost;
      }
      if (options.isInterrupted() && wasCancelled(error)) return await leave(waiting);
      if (!mayPass(failure, waiting, options)) return await finish(waiting, "failed", failure);
      waiting.attempts++;
      if (failure.code === "CONNECTION_LOST") pausedUntil = Date.now() + askAgainMs; // the others would lose theirs, too
      putOff(waiting, backoffMs(waiting.attempts));
      options.onWait(waiting.job.tenant.name, failure);
    }
  }
  // A server that went away takes a while to come back, and until then nobody gets a connection.
  async function wait(waiting: Waiting, failure: Failure) {
    const { name } = waiting.job.tenant;
    const outcome = outage.refused(name, jobs.length - results.size);
    if (outcome === "over") {
      options.onGone(failure);
      return await leave(waiting);
    }
    if (options.waitMs === 0) return await finish(waiting, "failed", failure);
    pausedUntil = Date.now() + askAgainMs;
    putOff(waiting, askAgainMs);
    if (outcome === "new") options.onWait(name, failure);
  }
  const workers = Math.max(1, Math.min(options.concurrency, jobs.length));
  await Promise.all(Array.from({ length: workers }, worker));
  return jobs.flatMap((job) => results.get(job) ?? []);
}

/**
 * Performs something for each item, so many at once, in their order, and starts no more once `stop` says so.
 * @returns the items that were not started.
 */
export async function eachOf<T>(
  items: readonly T[],
  concurrency: number,
  stop: AbortSignal | undefined,
  perform: (item: T, index: number) => Promise<void>,
): Promise<T[]> {
  let next = 0;
  async function worker() {
    while (next < items.length && !stop?.aborted) {
      const index = next++;
      await perform(items[index] as T, index);
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, Math.min(concurrency, items.length)) }, worker));
  return items.slice(next);
}

// The first whose time has come; if none, the one whose time comes first.
function takeReady(queue: Waiting[]): Waiting | undefined {
  const now = Date.now();
  let index = 0;
  for (const [at, waiting] of queue.entries()) {
    if (waiting.readyAt <= now) {
      index = at;
      break;
    }
    if (waiting.readyAt < (queue[index]?.readyAt ?? 0)) index = at;
  }
  return index === 0 ? queue.shift() : queue.splice(index, 1)[0];
}

function wasCancelled(error: unknown): boolean {
  return error instanceof MigrationFailure && error.sqlState === "57014" && !error.partly;
}

// Class 08 comes from a server that another server can't be reached from.
const passing = new Set(["55P03", "40P01", "40001"]);

function mayPass(failure: Failure, waiting: Waiting, options: WorkOptions): boolean {
  if (failure.code === "LOCKED") return Date.now() - (waiting.startedAt ?? 0) < options.lockWaitMs;
  const state = failure.sqlState ?? "";
  const passes = failure.code === "CONNECTION_LOST" || passing.has(state) || state.startsWith("08");
  return passes && waiting.attempts < options.retries;
}

function backoffMs(attempts: number): number {
  return Math.min(50 * 2 ** attempts, 2_000) * (0.5 + Math.random());
}

/** An error as a failure that can be reported and remembered. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof TenantctlError)) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: "INTERNAL" satisfies ErrorCode, message };
  }
  const place = error instanceof MigrationFailure ? error.place : undefined;
  return {
    code: error.code,
    message: error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error instanceof MigrationFailure && error.sqlState !== undefined ? { sqlState: error.sqlState } : {}),
    ...(place ?? {}),
  };
}

/**
 * Does one thing that must be done now, waiting for whoever is at the tenant, and trying again what may pass.
 * @throws whatever the last attempt threw.
 */
export async function persist<T>(
  perform: () => Promise<T>,
  limits: { lockWaitMs: number; retries: number },
): Promise<T> {
  const startedAt = Date.now();
  for (let attempts = 0; ; attempts++) {
    try {
      return await perform();
    } catch (error) {
      const failure = failureOf(error);
      const waits = failure.code === "LOCKED" && Date.now() - startedAt < limits.lockWaitMs;
      const passes = passing.has(failure.sqlState ?? "") && attempts < limits.retries;
      if (!waits && !passes) throw error;
      await sleep(backoffMs(attempts));
    }
  }
}
