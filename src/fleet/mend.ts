// The fleet room: what writes ledgers and runs no migration: create-schemas, repair, which takes edited files as they are, and baseline,
// which takes schemas as they are.

import type { Database } from "../database/database.js";
import { TenantctlError } from "../errors.js";
import { type Migration, readMigrations } from "../migrations/files.js";
import { baselineTenant, repairTenant } from "../migrations/tenant.js";
import type { Tenant } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";
import { type Chooser, migrateJob } from "./migrate.js";
import { requireWritable } from "./preflight.js";
import { carryOut, newPlan, openWorkshop, type RunLimits, type RunPlan, type RunResult, type Workshop } from "./run.js";
import { type Selection, selectTenants } from "./select.js";
import { shareSchemas } from "./share.js";
import { requireMigration, type Surveyed, survey } from "./survey.js";
import { type Job, refused, type TenantResult } from "./workers.js";

type Found = Surveyed & { tenant: Tenant };

/** Creates the schemas that are missing among the selected tenants, each with an empty ledger; migrates nothing. */
export async function createSchemas(fleet: Fleet, selection: Selection, limits: RunLimits = {}): Promise<RunResult> {
  const { plan, database, surveyed, open } = await look(fleet, "create-schemas", selection, limits, false);
  const nothing: Chooser = { within: () => false, of: () => [] };
  plan.jobs = surveyed
    .filter((one) => one.standing.state === "missing")
    .map((one) => migrateJob(fleet, open, one, nothing, {}));
  if (plan.jobs.length > 0) await requireWritable(fleet, database);
  await shareSchemas(fleet, database);
  return await carryOut(fleet, database, plan, limits);
}

/** Takes edited migration files as they are: rewrites checksums in the ledgers and mends stamps; runs no migration. */
export async function repair(fleet: Fleet, selection: Selection, limits: RunLimits = {}): Promise<RunResult> {
  const { plan, database, surveyed, open } = await look(fleet, "repair", selection, limits, true);
  const broken = surveyed.filter((one) => one.hasLedger && (one.standing.changed.length > 0 || one.stampDiffers));
  plan.refused = surveyed.flatMap(({ tenant, standing: { unreadable } }) =>
    unreadable === undefined ? [] : refused(tenant, unreadable),
  );
  plan.jobs = broken.map(({ tenant }) =>
    jobOf(tenant, async (done) => {
      done.push(...(await repairTenant(open(tenant, []))));
    }),
  );
  return await finish(fleet, database, plan, limits);
}

export interface BaselineOptions extends RunLimits {
  /** The last migration to take as applied, by its name; without it, all are. */
  to?: string | undefined;
}

/**
 * Takes migrations as applied in the tenants' schemas that hold objects and no ledger; runs none of them. Tenants that have a ledger stay as they
 * are, and one whose schema is missing fails.
 * @throws TenantctlError MIGRATION_UNKNOWN, and what any run throws before it starts.
 */
export async function baseline(
  fleet: Fleet,
  selection: Selection,
  { to, ...limits }: BaselineOptions = {},
): Promise<RunResult> {
  const { plan, database, migrations, surveyed, open } = await look(fleet, "baseline", selection, limits, false);
  const names = namesUpTo(migrations, to);
  plan.refused = surveyed.filter((one) => one.standing.state === "missing").map(missing);
  plan.jobs = surveyed
    .filter((one) => one.standing.state === "unmanaged")
    .map(({ tenant }) =>
      jobOf(tenant, async (done) => {
        await baselineTenant(open(tenant, []), names);
        done.push(...names);
      }),
    );
  return await finish(fleet, database, plan, limits);
}

/** The migrations up to one, by name; all of them where none is named. @throws TenantctlError MIGRATION_UNKNOWN. */
export function namesUpTo(migrations: readonly Migration[], last: string | undefined): string[] {
  const names = migrations.map(({ name }) => name);
  if (last === undefined) return names;
  requireMigration(migrations, last);
  return names.slice(0, names.indexOf(last) + 1);
}

async function look(fleet: Fleet, command: string, selection: Selection, limits: RunLimits, verify: boolean) {
  const plan = newPlan(command);
  plan.tenants = await selectTenants(await fleet.registry.tenants(), selection);
  const migrations = await readMigrations(fleet.config.migrations.tenant);
  const database = await fleet.database();
  const surveyed: Found[] = await survey(database, migrations, plan.tenants, { appRole: undefined, verify });
  const open: Workshop = openWorkshop(fleet, database, migrations, plan.run, limits);
  return { plan, database, migrations, surveyed, open };
}

export function jobOf(tenant: Tenant, perform: (done: string[]) => Promise<void>): Job {
  return { tenant, perform: (done) => perform(done).then(() => true) };
}

export function missing({ tenant }: Found): TenantResult {
  const error = new TenantctlError("SCHEMA_MISSING", `there is no schema "${tenant.schema}"`, {
    hint: "tenantctl migrate creates it",
  });
  return refused(tenant, error);
}

async function finish(fleet: Fleet, database: Database, plan: RunPlan, limits: RunLimits): Promise<RunResult> {
  if (plan.jobs.length > 0) await requireWritable(fleet, database);
  return await carryOut(fleet, database, plan, limits);
}
