// The fleet room: rollback, which undoes exactly what it is asked to, or nothing at all.

import { TenantctlError } from "../errors.js";
import { type Migration, readMigrations } from "../migrations/files.js";
import { type LedgerRow, readLedgers } from "../migrations/ledger.js";
import type { Standing } from "../migrations/state.js";
import { type Goal, onlyOnce, runTenant } from "../migrations/tenant.js";
import type { Fleet } from "./fleet.js";
import { requireRunnable, requireWritable } from "./preflight.js";
import { requireWithin } from "./reach.js";
import type { Rollout } from "./rollout.js";
import { carryOut, newPlan, openWorkshop, type RunLimits, type RunResult } from "./run.js";
import { readRuns } from "./runs.js";
import { type Selection, selectTenants } from "./select.js";
import { requireMigration, survey } from "./survey.js";

export interface RollbackOptions extends RunLimits, Rollout {
  /** Undo this many of each tenant's last migrations. */
  steps?: number;
  /** Undo all that came after this migration, which stays; "0" undoes all. */
  to?: string;
  /** Undo just what that run applied. */
  run?: string;
}

/**
 * Undoes migrations of the selected tenants. Exactly one of `steps`, `to` and `run` says which.
 * @throws TenantctlError USAGE, MIGRATION_UNKNOWN, RUN_UNKNOWN, ROLLBACK_REFUSED: nothing was touched.
 */
export async function rollback(fleet: Fleet, selection: Selection, options: RollbackOptions): Promise<RunResult> {
  const plan = newPlan("rollback", "down");
  const given = [options.steps, options.to, options.run].filter((option) => option !== undefined);
  if (given.length !== 1) {
    throw new TenantctlError("USAGE", "rollback needs exactly one of --steps, --to and --run", {
      hint: "for example: tenantctl rollback --steps 1",
    });
  }
  const tenants = await fleet.registry.tenants();
  plan.tenants = await selectTenants(tenants, selection);
  const migrations = await readMigrations(fleet.config.migrations.tenant);
  if (options.to !== undefined && options.to !== "0") requireMigration(migrations, options.to);
  const database = await fleet.database();
  const surveyed = await survey(database, migrations, plan.tenants, { appRole: undefined });
  const withLedger = surveyed.filter((one) => one.hasLedger);
  const ledgers = await readLedgers(
    database,
    options.run === undefined ? [] : withLedger.map((one) => one.tenant.schema),
  );
  const open = openWorkshop(fleet, database, migrations, plan.run, options);
  const choose = chooser(migrations, options);
  const names = new Set<string>();
  for (const { tenant, standing } of withLedger) {
    const ledger = standing.unreadable ?? ledgers.get(tenant.schema);
    const chosen = named(tenant.name, () => choose(standing, readable(ledger)));
    if (chosen.length === 0) continue;
    for (const name of chosen) names.add(name);
    const goal: Goal = {
      direction: "down",
      // Under the lock, all over again: what was read before it is only a hint.
      choose: onlyOnce((now, found) => choose(now, found.rows)),
      commit: fleet.config.transaction,
      expectLedger: true,
      grant: false,
      creating: false,
      shared: false,
      allowAhead: true,
    };
    plan.jobs.push({
      tenant,
      async perform(done) {
        await runTenant(open(tenant, done), goal);
        return false;
      },
    });
  }
  if (options.run !== undefined && plan.jobs.length === 0) await requireRun(fleet, options.run);
  if (plan.jobs.length > 0) await requireWritable(fleet, database);
  const prepared = await requireRunnable(database, open({ name: "", schema: "" }, []), names, "down");
  const running = plan.jobs.map(({ tenant }) => tenant.schema);
  await requireWithin(fleet, prepared, { all: tenants.map(({ schema }) => schema), running });
  return await carryOut(fleet, database, plan, options);
}

function readable(ledger: TenantctlError | LedgerRow[] | undefined): LedgerRow[] | undefined {
  if (!(ledger instanceof TenantctlError)) return ledger;
  const { message, hint } = ledger;
  throw new TenantctlError("ROLLBACK_REFUSED", message, { ...(hint === undefined ? {} : { hint }), cause: ledger });
}

function chooser(migrations: readonly Migration[], options: RollbackOptions) {
  const described = new Set(migrations.map(({ name }) => name));
  return (standing: Standing, rows: readonly LedgerRow[] | undefined): string[] => {
    const chosen = pick(standing, rows, options).reverse();
    const lost = chosen.find((name) => !described.has(name));
    if (lost !== undefined) {
      throw new TenantctlError("ROLLBACK_REFUSED", `no file describes ${lost}, which would have to be undone first`, {
        hint: "deploy the release that has the file, or restore it",
      });
    }
    const edited = chosen.find((name) => standing.changed.includes(name));
    if (edited !== undefined) {
      throw new TenantctlError(
        "ROLLBACK_REFUSED",
        `${edited} was edited after it was applied, so its down section may not undo it`,
        {
          hint: "restore the file; or take it as it is: tenantctl repair",
        },
      );
    }
    return chosen;
  };
}

function pick(
  standing: Standing,
  rows: readonly LedgerRow[] | undefined,
  { steps, to, run }: RollbackOptions,
): string[] {
  if (steps !== undefined) return standing.applied.slice(Math.max(0, standing.applied.length - steps));
  if (to !== undefined) return standing.applied.filter((name) => to === "0" || name > to);
  const chosen = (rows ?? []).filter((row) => row.runId === run).map((row) => row.name);
  const [first] = chosen;
  const newer = standing.applied.find((name) => first !== undefined && name > first && !chosen.includes(name));
  if (newer !== undefined) {
    throw new TenantctlError("ROLLBACK_REFUSED", `${newer} came after what that run applied`, {
      hint: "roll that back first, or use --to",
    });
  }
  return chosen;
}

function named(tenant: string, choose: () => string[]): string[] {
  try {
    return choose();
  } catch (error) {
    if (!(error instanceof TenantctlError)) throw error;
    throw new TenantctlError(error.code, `${tenant}: ${error.message}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}

async function requireRun(fleet: Fleet, run: string): Promise<void> {
  const runs = await readRuns(await fleet.database(), Number.MAX_SAFE_INTEGER);
  if (runs.some((one) => one.run === run)) return;
  throw new TenantctlError("RUN_UNKNOWN", `no run is called ${JSON.stringify(run)}`, {
    hint: "tenantctl runs shows the last ones",
  });
}
