// The fleet room: isolate, which gives the tenants of a fleet their roles, or takes them away again.

import type { Database } from "../database/database.js";
import { dropRolesText } from "../database/own-roles.js";
import { sharedRole, tenantLogins, tenantRole } from "../database/roles.js";
import { withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { readMigrations } from "../migrations/files.js";
import { revokeTexts } from "../migrations/grants.js";
import { mendTenant } from "../migrations/tenant.js";
import type { Tenant } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";
import { jobOf, missing } from "./mend.js";
import { requireWritable } from "./preflight.js";
import { carryOut, newPlan, openWorkshop, type RunLimits, type RunResult, rightsOf } from "./run.js";
import { type Selection, selectTenants } from "./select.js";
import { shareSchemas } from "./share.js";
import { keptOf, keptWords, shutOut } from "./shut-out.js";
import { type Surveyed, survey } from "./survey.js";
import { notIsolated } from "./verify-isolation.js";
import { refused, type TenantResult } from "./workers.js";

export interface IsolateOptions extends RunLimits {
  /** Back again: the application's role gets its rights, and the tenants' roles are dropped. */
  undo?: boolean | undefined;
  /** The application's role keeps the rights that it has, until an application that takes on the tenants' roles is there. */
  keep?: boolean | undefined;
  /** Also where one look at the catalog shows nothing to do: takes away what was granted to others, table by table. */
  again?: boolean | undefined;
}

/**
 * Gives the selected tenants their roles, each in one transaction, and takes their rights from everybody else.
 * @throws TenantctlError NOT_ISOLATED where the config doesn't say `"isolation": "role"`, or, to undo it, still does; ROLE_UNSUITABLE;
 * what any run throws before it starts.
 */
export async function isolate(
  fleet: Fleet,
  selection: Selection,
  { undo, keep, again, ...limits }: IsolateOptions = {},
): Promise<RunResult> {
  requireConfig(fleet, undo ?? false);
  const plan = newPlan(undo ? "isolate --undo" : "isolate");
  plan.tenants = await selectTenants(await fleet.registry.tenants(), selection);
  const migrations = await readMigrations(fleet.config.migrations.tenant);
  const database = await fleet.database();
  const { appRole, isolation: full } = rightsOf(fleet, database);
  const isolation = full && { ...full, keepRights: keep ?? false };
  const surveyed: (Surveyed & { tenant: Tenant })[] = await survey(database, migrations, plan.tenants, {
    appRole,
    isolation,
    byOwner: true,
  });
  const roleOf = ({ schema }: Tenant) => tenantRole(database.capabilities.database, schema);
  const roles = await existing(database, plan.tenants.map(roleOf));
  // Of a schema that is gone the role is left, at most.
  const isGone = ({ standing }: Surveyed) => (undo ?? false) && standing.state === "missing";
  const hasRole = ({ tenant }: { tenant: Tenant }) => roles.has(roleOf(tenant));
  plan.refused = surveyed.filter((one) => !one.hasLedger && !isGone(one)).map(refusal);
  const open = openWorkshop(fleet, database, migrations, plan.run, limits);
  plan.jobs = surveyed
    .filter((one) =>
      isGone(one) ? hasRole(one) : one.hasLedger && (again || one.lacksGrants || (undo && hasRole(one))),
    )
    .map(({ tenant, hasLedger }) =>
      jobOf(tenant, async () => {
        const texts = undo ? await undoTexts(database, tenant.schema, hasLedger && hasRole({ tenant })) : [];
        await mendTenant({ ...open(tenant, []), isolation }, { rights: hasLedger, texts });
      }),
    );
  if (plan.jobs.length > 0) await requireWritable(fleet, database);
  await shareSchemas(fleet, database, { again: again ?? false });
  const result = await carryOut(fleet, database, plan, limits);
  const done = new Set(result.tenants.filter(({ outcome }) => outcome === "migrated").map(({ name }) => name));
  if (undo)
    await afterUndo(
      fleet,
      database,
      plan.tenants.filter(({ name }) => done.has(name)).map(({ schema }) => schema),
    );
  return result;
}

function requireConfig(fleet: Fleet, undo: boolean): void {
  if (fleet.config.isolation === "role" && undo) {
    throw new TenantctlError(
      "NOT_ISOLATED",
      "the config keeps tenants apart by roles, and migrate would make them again",
      {
        hint: 'take "isolation" out of the config, then: tenantctl isolate --undo',
      },
    );
  }
  if (fleet.config.isolation !== "role" && !undo) throw notIsolated();
}

function refusal(one: Surveyed & { tenant: Tenant }): TenantResult {
  if (one.standing.state === "missing") return missing(one);
  const error = new TenantctlError("UNMANAGED", `the schema "${one.tenant.schema}" has no ledger`, {
    hint: "tenantctl baseline, or migrate, first",
  });
  return refused(one.tenant, error);
}

async function existing(database: Database, roles: readonly string[]): Promise<Set<string>> {
  const { rows } = await database.withClient((client) =>
    client.query<{ name: string }>("select rolname as name from pg_roles where rolname = any($1)", [roles]),
  );
  return new Set(rows.map(({ name }) => name));
}

// First nobody logs in any more and the sessions end; then, in the tenant's transaction, the rights go and the roles.
async function undoTexts(database: Database, schema: string, hasRights: boolean): Promise<string[]> {
  const { database: name, membershipOptions } = database.capabilities;
  const logins = tenantLogins(name, schema);
  const role = tenantRole(name, schema);
  await shutOut(database, logins);
  // Of a role that stays, since it owns something, the rights would stay too.
  return [...(hasRights ? revokeTexts(schema, role) : []), dropRolesText([...logins, role], membershipOptions)];
}

// What all had in common goes with the last of them.
async function afterUndo(fleet: Fleet, database: Database, schemas: readonly string[]): Promise<void> {
  const { database: name, membershipOptions } = database.capabilities;
  const roles = schemas.flatMap((schema) => [...tenantLogins(name, schema), tenantRole(name, schema)]);
  for (const kept of await keptOf(database, roles)) fleet.report({ type: "warning", ...keptWords(kept) });
  await withTransaction(database, async (client) => {
    const { rows } = await client.query(
      "select from pg_auth_members m join pg_roles r on r.oid = m.roleid join pg_roles u on u.oid = m.member where r.rolname = $1 and starts_with(u.rolname, 'tenant_') limit 1",
      [sharedRole(name)],
    );
    if (rows.length === 0) await client.query(dropRolesText([sharedRole(name)], membershipOptions));
  });
}
