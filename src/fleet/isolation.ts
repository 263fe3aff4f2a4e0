// The fleet room: what isolation by roles needs besides the tenants' own: who may take them on, and what they may read together.

import type { Client, Database } from "../database/database.js";
import { identifier, qualified } from "../database/quote.js";
import { type Isolation, sharedRole, tenantRole } from "../database/roles.js";
import { lockKey, withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { shareTexts } from "../migrations/grants.js";
import { ledgerTable } from "../migrations/ledger.js";
import type { Fleet } from "./fleet.js";

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
 * @throws TenantctlError ROLE_UNSUITABLE.
 */
export async function requireIsolable(fleet: Fleet, database: Database): Promise<void> {
  const isolation = isolationOf(fleet, database);
  if (isolation === undefined) return;
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

/** Lets the tenants' roles read what is shared, and takes from PUBLIC the right to create in it. One look, where all is as it should be. */
export async function shareSchemas(fleet: Fleet, database: Database): Promise<void> {
  const isolation = isolationOf(fleet, database);
  if (isolation === undefined) return;
  const { sharedSchemas } = fleet.config;
  const look = (client: Client) => lacking(client, sharedSchemas, sharedRole(isolation.database));
  if ((await database.withClient(look)).length === 0) return;
  const group = identifier(sharedRole(isolation.database));
  const { registry } = fleet.config;
  const share = async (client: Client) => {
    // Two that change one schema's rights at once would be "tuple concurrently updated"; the second finds it done.
    await client.query(`select pg_advisory_xact_lock(${lockKey("\0share")})`);
    const toDo = await look(client);
    for (const { schema, share, close, ledger } of toDo) {
      const texts = [
        ...(share ? shareTexts(schema, isolation) : []),
        ...(ledger ? [`revoke all on table ${qualified(schema, ledgerTable)} from ${group}`] : []),
        ...(close ? [`revoke create on schema ${identifier(schema)} from public`] : []),
      ];
      for (const text of texts) await client.query(text);
    }
    // Who the other tenants are is nothing for a tenant to read.
    if (registry === undefined || "query" in registry || !toDo.some(({ share }) => share)) return;
    const { rows } = await client.query<{ name: string | null }>("select to_regclass($1)::text as name", [
      registry.table,
    ]);
    if (rows[0]?.name) await client.query(`revoke all on table ${rows[0].name} from ${group}`);
  };
  await withTransaction(database, share, { searchPath: sharedSchemas.length === 0 ? ["public"] : sharedSchemas });
}

interface Lack {
  schema: string;
  /** The tenants' roles can't read it. */
  share: boolean;
  /** PUBLIC may create in it, and we may take that away. */
  close: boolean;
  ledger: boolean;
}

async function lacking(client: Client, sharedSchemas: readonly string[], role: string): Promise<Lack[]> {
  const { rows } = await client.query<Lack>(
    `select * from (
      select n.nspname as schema, n.nspname = any($1::text[]) and (r.oid is null or not has_schema_privilege(r.oid, n.oid, 'usage') or not exists (
          select from pg_default_acl a, aclexplode(a.defaclacl) x where a.defaclnamespace = n.oid and x.grantee = r.oid
            and a.defaclrole = (select oid from pg_roles where rolname = current_user))) as share,
        pg_has_role(n.nspowner, 'usage') and exists (
          select from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x where x.grantee = 0 and x.privilege_type = 'CREATE') as close,
        exists (select from pg_class c where c.relnamespace = n.oid and c.relname = '${ledgerTable}') as ledger
      from pg_namespace n left join pg_roles r on r.rolname = $2
      where n.nspname = any($1::text[] || array['public'])
    ) found where share or close`,
    [sharedSchemas, role],
  );
  return rows.map((row) => ({ ...row, ledger: row.ledger && row.share }));
}
