// The fleet room: migrate, and create-schemas, which is migrate without the migrations.

import { TenantctlError } from "../errors.js";
import { MigrationFailure } from "../migrations/failure.js";
import { type Migration, readMigrations } from "../migrations/files.js";
import { refuseStanding, type Standing } from "../migrations/state.js";
import { type Goal, onlyOnce, runTenant } from "../migrations/tenant.js";
import type { Tenant } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";
import { concernsOf } from "./lint.js";
import { settleLogins } from "./login-states.js";
import { requireRunnable, requireWritable } from "./preflight.js";
import { requireOwnLookups, requireWithin } from "./reach.js";
import { retiredOf } from "./retired.js";
import type { Rollout } from "./rollout.js";
import {
  carryOut,
  namesOf,
  newPlan,
  openWorkshop,
  type RunLimits,
  type RunPlan,
  type RunResult,
  rightsOf,
  sumUp,
} from "./run.js";
import { lastFailed } from "./runs.js";
import { type Selection, selectTenants } from "./select.js";
import { shareSchemas } from "./share.js";
import { lookAtShared, type Shared, sharedTarget, withRegistry } from "./shared.js";
import { requireMigration, type Surveyed, survey } from "./survey.js";
import { failureOf, type Job, refused, type TenantResult } from "./workers.js";

export interface MigrateOptions extends RunLimits, Rollout {
  /** The last migration to apply, by its name; those after it stay pending. */
  to?: string;
  /** How many migrations to apply to each tenant, at most. */
  steps?: number;
  /** Let tenants alone that have migrations no file describes, and migrate the rest of theirs: for a release that was reverted. */
  allowAhead?: boolean;
  /** Only the tenants that failed in the last run. */
  failed?: boolean;
}

/**
 * Brings the shared schema and then the selected tenants up to date. A tenant that fails stops nobody else: it is in the result.
 * @throws TenantctlError when the run can't start, and nothing was touched; a MigrationFailure of the shared schema is in the result.
 */
export async function migrate(fleet: Fleet, selection: Selection, options: MigrateOptions = {}): Promise<RunResult> {
  const plan = newPlan("migrate");
  const first: string[] = [];
  let tenants: Tenant[];
  try {
    tenants = await withRegistry(
      fleet,
      plan.run,
      options,
      () => fleet.registry.tenants(),
      (applied) => first.push(...applied),
    );
  } catch (error) {
    if (!(error instanceof MigrationFailure)) throw error;
    return stoppedAtShared(fleet, plan, error, sharedTarget(fleet));
  }
  const { shared, migrations, eligible } = await look(fleet, plan, tenants, selection, options);
  const database = await fleet.database();
  const open = openWorkshop(fleet, database, migrations, plan.run, options);
  const chosen = chooser(migrations, options);
  const pending = namesOf(eligible, (one) => one.standing.pending).filter(chosen.within);
  await requirePending(fleet, open, pending, { tenants, eligible });
  await tellConcerns(fleet, { shared: shared?.surveyed.standing.pending ?? [], tenant: pending }, tenants);
  plan.jobs = eligible
    .filter((one) => needsWork(one, chosen))
    .map((one) => migrateJob(fleet, open, one, chosen, options));
  if (shared) {
    if (plan.jobs.length > 0 || shared.surveyed.standing.state !== "current") await requireWritable(fleet, database);
    try {
      plan.shared = { applied: [...first, ...(await shared.migrate(plan.run, options))] };
    } catch (error) {
      return stoppedAtShared(fleet, plan, error, shared.surveyed.tenant);
    }
    fleet.report({ type: "shared-finished", schema: shared.surveyed.tenant.schema, applied: plan.shared.applied });
  } else if (plan.jobs.length > 0) await requireWritable(fleet, database);
  await shareSchemas(fleet, database);
  if (fleet.config.isolation === "role") await settleLogins(fleet, database, tenants);
  return await carryOut(fleet, database, plan, options);
}

/** Makes sure, before anything is touched, that what is pending anywhere can be run, and stays within its tenant's schema. */
export async function requirePending(
  fleet: Fleet,
  open: ReturnType<typeof openWorkshop>,
  names: readonly string[],
  { tenants, eligible }: { tenants: readonly Tenant[]; eligible: readonly Surveyed[] },
): Promise<void> {
  const work = open({ name: "", schema: "" }, []);
  const prepared = await requireRunnable(work.database, work, names, "up");
  await requireWithin(fleet, prepared, {
    all: tenants.map(({ schema }) => schema),
    running: eligible.filter(({ standing }) => standing.pending.length > 0).map(({ tenant }) => tenant.schema),
  });
  await requireOwnLookups(fleet, prepared);
}

async function tellConcerns(
  fleet: Fleet,
  pending: { shared: readonly string[]; tenant: readonly string[] },
  tenants: readonly Tenant[],
): Promise<void> {
  const schemas = tenants.map(({ schema }) => schema);
  for (const message of await concernsOf(fleet, pending, schemas)) fleet.report({ type: "warning", message });
}

export interface Look {
  shared: Shared | undefined;
  migrations: Migration[];
  surveyed: (Surveyed & { tenant: Tenant })[];
  /** Those that are not refused. */
  eligible: (Surveyed & { tenant: Tenant })[];
}

export async function look(
  fleet: Fleet,
  plan: RunPlan,
  tenants: readonly Tenant[],
  selection: Selection,
  options: MigrateOptions,
): Promise<Look> {
  const selected = await selectTenants(tenants, selection);
  const migrations = await readMigrations(fleet.config.migrations.tenant);
  if (options.to !== undefined) requireMigration(migrations, options.to);
  const database = await fleet.database();
  const failed = options.failed ? await lastFailed(database) : undefined;
  plan.tenants = failed ? selected.filter((tenant) => failed.has(tenant.name)) : selected;
  const shared = await lookAtShared(fleet, database);
  const surveyed = await survey(database, migrations, plan.tenants, rightsOf(fleet, database));
  const eligible: Look["eligible"] = [];
  const missing = surveyed.filter(({ standing }) => standing.state === "missing").map(({ tenant }) => tenant);
  const retired =
    missing.length === 0
      ? new Map<string, TenantctlError>()
      : await database.withClient((client) => retiredOf(client, missing, "give the tenant another schema"));
  for (const one of surveyed) {
    const early = one.standing.state === "missing" ? retired.get(one.tenant.schema) : undefined;
    const why = early === undefined ? refusal(one, options) : refused(one.tenant, early);
    if (why) plan.refused.push(why);
    else eligible.push(one);
  }
  return { shared, migrations, surveyed, eligible };
}

export interface Chooser {
  within(name: string): boolean;
  of(standing: Standing): string[];
}

export function chooser(migrations: readonly Migration[], { to, steps }: MigrateOptions): Chooser {
  const last = to === undefined ? migrations.length - 1 : migrations.findIndex(({ name }) => name === to);
  const allowed = new Set(migrations.slice(0, last + 1).map(({ name }) => name));
  const within = (name: string) => allowed.has(name);
  return { within, of: (standing) => standing.pending.filter(within).slice(0, steps) };
}

export function needsWork(one: Surveyed, chosen: Chooser): boolean {
  return !one.hasLedger || one.lacksGrants || one.stampDiffers || chosen.of(one.standing).length > 0;
}

function refusal({ tenant, standing }: Surveyed, options: MigrateOptions): TenantResult | undefined {
  if (options.allowAhead && standing.state === "ahead") return undefined;
  try {
    refuseStanding(standing, tenant);
    return undefined;
  } catch (error) {
    return refused(tenant, error);
  }
}

/** What migrate wants of one tenant. */
export function goalOf(fleet: Fleet, one: Surveyed, chosen: Chooser, options: MigrateOptions): Goal {
  return {
    direction: "up",
    choose: onlyOnce((standing) => chosen.of(standing)),
    commit: fleet.config.transaction,
    expectLedger: one.hasLedger,
    grant: one.lacksGrants,
    creating: false,
    shared: false,
    allowAhead: options.allowAhead ?? false,
  };
}

export function migrateJob(
  fleet: Fleet,
  open: ReturnType<typeof openWorkshop>,
  one: Surveyed,
  chosen: Chooser,
  options: MigrateOptions,
): Job {
  const goal = goalOf(fleet, one, chosen, options);
  return {
    tenant: one.tenant,
    async perform(done) {
      await runTenant(open(one.tenant, done), goal);
      // Of two runs at once only the one that applied something migrated the tenant.
      return chosen.of(one.standing).length === 0 && (!one.hasLedger || one.lacksGrants);
    },
  };
}

function stoppedAtShared(
  fleet: Fleet,
  plan: RunPlan,
  error: unknown,
  shared: { name: string; schema: string },
): RunResult {
  if (!(error instanceof TenantctlError)) throw error;
  const failure = failureOf(error);
  fleet.report({
    type: "tenant-finished",
    ...shared,
    outcome: "failed",
    migrations: [],
    durationMs: 0,
    error: failure,
    done: 0,
    toDo: 0,
  });
  const skipped = plan.jobs.map(
    ({ tenant }): TenantResult => ({ ...pick(tenant), outcome: "skipped", migrations: [], durationMs: 0 }),
  );
  plan.shared = { applied: [], error: failure };
  return sumUp(plan, skipped, "shared");
}

function pick({ name, schema }: { name: string; schema: string }) {
  return { name, schema };
}
