// The fleet room: what isolation by roles needs besides the tenants' own: who may take them on.

import type { Database } from "../database/database.js";
import { identifier } from "../database/quote.js";
import { type Isolation, tenantRole } from "../database/roles.js";
import { TenantctlError } from "../errors.js";
import type { Fleet } from "./fleet.js";
import { accessOf } from "./shared-access.js";

/** Where the config says so, how tenants are kept apart by roles: who may take them on. */
export function isolationOf(fleet: Fleet, database: Database): Isolation | undefined {
  const { appRole, isolation } = fleet.config;
  if (isolation !== "role") return undefined;
  const { database: name, membershipOptions, superuser, user } = database.capabilities;
  const members = [appRole, superuser ? undefined : user].filter((role) => role !== undefined);
  return {
    database: name,
    members: [...new Set(members)],
    membershipOptions,
    appRole: appRole === user ? undefined : appRole,
  };
}

/** The role that a tenant's own statements take on; undefined where there are none. */
export function roleOf(
  { config }: Fleet,
  { capabilities }: Database,
  { schema }: { schema: string },
): string | undefined {
  return config.isolation === "role" ? tenantRole(capabilities.database, schema) : undefined;
}

/**
 * Makes sure that we may make roles, and that whoever may take them on has none of their rights before.
 * @throws TenantctlError ROLE_UNSUITABLE; ProblemsError CONFIG_INVALID for what `sharedAccess` can't be.
 */
export async function requireIsolable(fleet: Fleet, database: Database): Promise<void> {
  const isolation = isolationOf(fleet, database);
  if (isolation === undefined) return;
  accessOf(fleet.config);
  const { createsRoles, user } = database.capabilities;
  if (!createsRoles) {
    throw new TenantctlError("ROLE_UNSUITABLE", `isolation by roles: ${JSON.stringify(user)} may not create roles`, {
      hint: `as a superuser: alter role ${identifier(user)} createrole`,
    });
  }
  const { appRole, membershipOptions } = isolation;
  if (appRole === undefined || membershipOptions) return;
  const { rows } = await database.withClient((client) =>
    client.query("select from pg_roles where rolname = $1 and rolinherit", [appRole]),
  );
  if (rows.length === 0) return;
  throw new TenantctlError(
    "ROLE_UNSUITABLE",
    `isolation by roles: ${JSON.stringify(appRole)} inherits, so that before PostgreSQL 16 it would have all tenants' rights at once`,
    { hint: `alter role ${identifier(appRole)} noinherit` },
  );
}
