// The fleet room: status, where the fleet stands.

import type { Failure } from "../events.js";
import { readMigrations } from "../migrations/files.js";
import type { Standing, State } from "../migrations/state.js";
import type { Fleet } from "./fleet.js";
import { lastFailures } from "./runs.js";
import { type Selection, selectTenants } from "./select.js";
import { lookAtShared } from "./shared.js";
import { type Surveyed, survey } from "./survey.js";
import { failureOf } from "./workers.js";

export interface TenantStatus {
  name: string;
  schema: string;
  state: State;
  /** The last migration that it has, by name. */
  version: string | null;
  applied: number;
  pending: string[];
  /** Why its ledger can't be read, where it is unreadable. */
  error?: Failure;
  /** Why it failed last, while what failed is still to be done. */
  lastError?: Failure & { run: string };
}

/** Where the fleet stands. */
export interface FleetStatus {
  migrations: { name: string; checksum: string | null }[];
  summary: Record<State, number> & { tenants: number };
  /** The shared schema; null when the config names no shared migrations. */
  shared: { schema: string; state: State; version: string | null; pending: string[]; error?: Failure } | null;
  tenants: TenantStatus[];
  /** Tenants whose stamp is not that of their ledger: only where ledgers were read. */
  wrongStamps: string[];
}

export interface StatusOptions {
  /** Read every ledger and compare it with its stamp. */
  verify?: boolean;
}

/** Tells where the selected tenants stand. Touches nothing. A tenant whose ledger can't be read is unreadable, and stops nobody else. */
export async function status(fleet: Fleet, selection: Selection, options: StatusOptions = {}): Promise<FleetStatus> {
  const tenants = await selectTenants(await fleet.registry.tenants(), selection);
  const migrations = await readMigrations(fleet.config.migrations.tenant);
  const database = await fleet.database();
  const shared = await lookAtShared(fleet, database);
  const surveyed = await survey(database, migrations, tenants, { appRole: undefined, verify: options.verify ?? false });
  const states = { current: 0, pending: 0, ahead: 0, changed: 0, unmanaged: 0, unreadable: 0, missing: 0 };
  const summary = { tenants: tenants.length, ...states };
  for (const { standing } of surveyed) summary[standing.state]++;
  const behind = surveyed.filter((one) => one.standing.state !== "current").map((one) => one.tenant.name);
  const errors = await lastFailures(database, behind);
  for (const { tenant, standing } of [...(shared ? [shared.surveyed] : []), ...surveyed]) {
    const { error } = errorOf(standing);
    if (error) fleet.report({ type: "tenant-failed", name: tenant.name, error });
  }
  return {
    migrations: migrations.map(({ name, checksum }) => ({ name, checksum })),
    summary,
    shared: shared ? sharedStatus(shared.surveyed) : null,
    tenants: surveyed.map((one) => tenantStatus(one, errors.get(one.tenant.name))),
    wrongStamps: surveyed.filter((one) => one.stampDiffers).map((one) => one.tenant.name),
  };
}

function tenantStatus({ tenant, standing }: Surveyed, error: (Failure & { run: string }) | undefined): TenantStatus {
  // A failure of a migration that it has by now is history.
  const isOpen = error !== undefined && (error.migration === undefined || standing.pending.includes(error.migration));
  return {
    name: tenant.name,
    schema: tenant.schema,
    state: standing.state,
    version: standing.applied.at(-1) ?? null,
    applied: standing.applied.length,
    pending: standing.pending,
    ...errorOf(standing),
    ...(isOpen ? { lastError: error } : {}),
  };
}

function sharedStatus({ tenant, standing }: Surveyed): FleetStatus["shared"] {
  return {
    schema: tenant.schema,
    state: standing.state,
    version: standing.applied.at(-1) ?? null,
    pending: standing.pending,
    ...errorOf(standing),
  };
}

function errorOf({ unreadable }: Standing): { error?: Failure } {
  return unreadable === undefined ? {} : { error: failureOf(unreadable) };
}
