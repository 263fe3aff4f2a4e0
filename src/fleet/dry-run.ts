// The fleet room: what migrate would do, and what it may cost.

import { TenantctlError } from "../errors.js";
import type { State } from "../migrations/state.js";
import { rehearseTenant, type TenantWork } from "../migrations/tenant.js";
import type { Tenant } from "../registry/registry.js";
import { cascadeConcerns } from "./cascades.js";
import type { Fleet } from "./fleet.js";
import { concernsOf } from "./lint.js";
import { type Chooser, chooser, goalOf, look, type MigrateOptions, needsWork, requirePending } from "./migrate.js";
import { concurrencyFor } from "./preflight.js";
import { namesOf, newPlan, openWorkshop } from "./run.js";
import type { Selection } from "./select.js";
import { lookAtShared } from "./shared.js";
import type { Surveyed } from "./survey.js";

/** A plan: what migrate would do. */
export interface DryRun {
  dryRun: true;
  shared: { schema: string; state: State; pending: string[] } | null;
  summary: { tenants: number; toDo: number; refused: number };
  tenants: { name: string; schema: string; state: State; pending: string[] }[];
  /** Migrations that cost more the larger the fleet is, on some servers; that reach beyond their tenant; that take from all tenants. */
  concerns: string[];
  /** What a run of this size will cost, at the least: only where it was asked for. */
  estimate?: { tenant: string; tenantMs: number; totalMs: number; concurrency: number };
}

/** Tells what migrate would do with these options, and touches nothing. Current tenants are counted, and not listed. */
export async function planMigrate(
  fleet: Fleet,
  selection: Selection,
  options: MigrateOptions & { estimate?: boolean } = {},
): Promise<DryRun> {
  const plan = newPlan("migrate");
  const tenants = await listedSoFar(fleet);
  const { shared, migrations, surveyed, eligible } = await look(fleet, plan, tenants, selection, options);
  const database = await fleet.database();
  const chosen = chooser(migrations, options);
  const open = openWorkshop(fleet, database, migrations, plan.run, options);
  const work = open({ name: "", schema: "" }, []);
  const pending = namesOf(eligible, (one) => one.standing.pending).filter(chosen.within);
  await requirePending(fleet, open, pending, { tenants, eligible });
  const toDo = eligible.filter((one) => needsWork(one, chosen));
  const works = new Set(toDo);
  const refused = new Set(plan.refused.map((result) => result.name));
  const isRefused = (one: Surveyed) => refused.has(one.tenant.name);
  const listed = surveyed.filter((one) => isRefused(one) || works.has(one));
  const schemas = tenants.map(({ schema }) => schema);
  const names = namesOf(toDo, (one) => chosen.of(one.standing));
  const [first] = toDo.filter((one) => chosen.of(one.standing).length > 0);
  return {
    dryRun: true,
    shared: shared
      ? {
          schema: shared.surveyed.tenant.schema,
          state: shared.surveyed.standing.state,
          pending: shared.surveyed.standing.pending,
        }
      : null,
    summary: { tenants: surveyed.length, toDo: toDo.length, refused: refused.size },
    concerns: [
      ...(await indexConcerns(work, names)),
      ...(await concernsOf(fleet, { shared: shared?.surveyed.standing.pending ?? [], tenant: pending }, schemas)),
      ...(shared ? await cascadeConcerns(database, shared.pending, shared.surveyed.tenant.schema, schemas) : []),
    ],
    ...(options.estimate && first
      ? { estimate: await estimate(fleet, open(first.tenant, []), first, chosen, options, toDo.length) }
      : {}),
    tenants: listed.map((one) => ({
      name: one.tenant.name,
      schema: one.tenant.schema,
      state: one.standing.state,
      pending: isRefused(one) ? one.standing.pending : chosen.of(one.standing),
    })),
  };
}

// The table that lists the tenants may be what a pending shared migration creates: then there are none yet.
async function listedSoFar(fleet: Fleet): Promise<Tenant[]> {
  try {
    return await fleet.registry.tenants();
  } catch (error) {
    if (!(error instanceof TenantctlError && error.code === "REGISTRY_MISSING")) throw error;
    const shared = await lookAtShared(fleet, await fleet.database());
    if (shared === undefined || shared.surveyed.standing.pending.length === 0) throw error;
    return [];
  }
}

// Times one tenant and takes the others to be like it: the server's limit may be reached before `concurrency` of them.
async function estimate(
  fleet: Fleet,
  work: TenantWork,
  one: Surveyed,
  chosen: Chooser,
  options: MigrateOptions,
  toDo: number,
): Promise<DryRun["estimate"]> {
  const concurrency = await concurrencyFor(fleet, work.database, toDo);
  const { ms } = await rehearseTenant(work, goalOf(fleet, one, chosen, options));
  const tenantMs = Math.round(ms);
  return { tenant: one.tenant.name, tenantMs, totalMs: Math.round((ms * toDo) / concurrency), concurrency };
}

// Such a statement costs each tenant as much as there are tenants, so that a run over N costs N times N.
async function indexConcerns(work: TenantWork, names: readonly string[]): Promise<string[]> {
  if (!work.database.capabilities.scansAllIndexes) return [];
  const prepared = await Promise.all(names.map((name) => work.prepare(name, "up")));
  return prepared.flatMap((one) =>
    one.kind === "module" || one.indexScans.length === 0
      ? []
      : [
          `${one.migration.name}, line ${one.indexScans.join(", ")}: this server looks through all indexes of the database for it, once for each tenant; flat is: add a column without a default, set default, fill it, set not null`,
        ],
  );
}
