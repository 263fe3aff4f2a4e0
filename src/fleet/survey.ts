// The fleet room: where every tenant stands, from one look at the catalog; ledgers are opened only where it does not tell.

import type { Database } from "../database/database.js";
import type { Isolation } from "../database/roles.js";
import { readCatalog } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { MigrationFailure } from "../migrations/failure.js";
import type { Migration } from "../migrations/files.js";
import { prefixStamps, readFacts, readLedgers, runningOf, schemasWithObjects, stampOf } from "../migrations/ledger.js";
import { type Standing, standingOf, unreadableStanding } from "../migrations/state.js";
import type { Tenant } from "../registry/registry.js";

/** A tenant and where it stands. */
export interface Surveyed {
  tenant: { name: string; schema: string };
  standing: Standing;
  hasLedger: boolean;
  /** The app role, where there is one, lacks rights here; or the tenant's role does, or somebody has too many. */
  lacksGrants: boolean;
  /** The stamp is not that of the ledger's rows; known only where the ledger was read. */
  stampDiffers: boolean;
  /** A transaction:false migration that was interrupted here, as its stamp says: `running x` or `reverting x`. */
  interrupted: string | undefined;
}

export interface SurveyOptions {
  appRole: string | undefined;
  /** Where each tenant has a role: what belongs to that. */
  isolation?: Isolation | undefined;
  /** Read every ledger, and not only those whose stamp is none of ours. */
  verify?: boolean;
  /** The shared schema may hold what others made. */
  shared?: boolean;
  /** Whether the owner of each ledger, and not we, would give rights on what it creates: for whoever does not migrate. */
  byOwner?: boolean;
}

/** Tells where these tenants stand, in their order. */
export async function survey<T extends Pick<Tenant, "name" | "schema">>(
  database: Database,
  migrations: readonly Migration[],
  tenants: readonly T[],
  options: SurveyOptions,
): Promise<(Surveyed & { tenant: T })[]> {
  const known = prefixStandings(migrations);
  const settled = [...known].at(-1);
  const schemas = tenants.map((tenant) => tenant.schema);
  const facts = await readCatalog(database, (client) =>
    readFacts(client, schemas, {
      appRole: options.appRole,
      isolation: options.isolation,
      byOwner: options.byOwner,
      settled: options.verify ? undefined : settled?.[0],
    }),
  );
  const unclear: string[] = [];
  const withoutLedger: string[] = [];
  for (const { schema, exists, stamp } of facts.values()) {
    if (stamp !== undefined && (options.verify || !known.has(stamp ?? ""))) unclear.push(schema);
    else if (exists && stamp === undefined) withoutLedger.push(schema);
  }
  const filled =
    withoutLedger.length === 0 || options.shared
      ? new Set<string>()
      : await readCatalog(database, (client) => schemasWithObjects(client, withoutLedger));
  const ledgers = await readLedgers(database, unclear);
  return tenants.map((tenant) => {
    const fact = facts.get(tenant.schema);
    if (fact === undefined && settled !== undefined) return { tenant, standing: settled[1], ...inOrder };
    const ledger = ledgers.get(tenant.schema);
    if (ledger instanceof MigrationFailure) return { tenant, standing: unreadableStanding(ledger), ...inOrder };
    const byStamp = ledger === undefined && fact?.stamp ? known.get(fact.stamp) : undefined;
    return {
      tenant,
      standing:
        byStamp ??
        standingOf(migrations, { exists: fact?.exists ?? false, rows: ledger, hasObjects: filled.has(tenant.schema) }),
      hasLedger: fact?.stamp !== undefined,
      lacksGrants: fact !== undefined && !fact.granted,
      interrupted: runningOf(fact?.stamp),
      stampDiffers: ledger !== undefined && stampOf(ledger) !== fact?.stamp,
    };
  });
}

// What is left to say where the stamp tells that a tenant is current, or the ledger can't be read.
const inOrder = { hasLedger: true, lacksGrants: false, interrupted: undefined, stampDiffers: false };

// One standing for each number of files applied, shared by all the tenants that are there.
function prefixStandings(migrations: readonly Migration[]): Map<string, Standing> {
  const names = migrations.map(({ name }) => name);
  return new Map(
    prefixStamps(migrations).map((stamp, count): [string, Standing] => [
      stamp,
      {
        state: count === names.length ? "current" : "pending",
        applied: names.slice(0, count),
        pending: names.slice(count),
        changed: [],
        unknown: [],
      },
    ]),
  );
}

/** @throws TenantctlError MIGRATION_UNKNOWN when no file has this name. */
export function requireMigration(migrations: readonly Migration[], name: string): void {
  if (migrations.some((migration) => migration.name === name)) return;
  const last = migrations.at(-1)?.name;
  throw new TenantctlError("MIGRATION_UNKNOWN", `no migration is called ${JSON.stringify(name)}`, {
    hint: `give its file's name without the ending${last === undefined ? "" : `, like ${last}`}`,
  });
}
