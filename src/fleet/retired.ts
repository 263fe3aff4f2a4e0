// The fleet room: schema names that were given up a short while ago: an application may still send the last tenant's requests there.

import type { Client, Database } from "../database/database.js";
import { sqlState } from "../database/errors.js";
import { ensureOwnTables, ownTableExists } from "../database/own.js";
import { withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import type { Tenant } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";

/** How long a name stays retired, in minutes: longer than an application goes without reading the registry again (5 at most). */
const retiredMinutes = 10;

const table = `create table if not exists tenantctl.retired (schema text primary key, tenant text not null, until timestamptz not null)`;

type Named = Pick<Tenant, "name" | "schema">;

/**
 * Retires a removed tenant's schema name, in the transaction that is open. Where it can't be written the removal goes on, and says so.
 */
export async function retire(fleet: Fleet, client: Client, { name, schema }: Named): Promise<void> {
  await client.query("savepoint retire");
  try {
    await ensureOwnTables(client, "retired", [table]);
    await client.query("delete from tenantctl.retired where until < now()");
    await client.query(
      `insert into tenantctl.retired values ($1, $2, now() + make_interval(mins => ${retiredMinutes}))
       on conflict (schema) do update set tenant = excluded.tenant, until = excluded.until`,
      [schema, name],
    );
  } catch (error) {
    if (sqlState(error) === undefined) throw error;
    await client.query("rollback to savepoint retire");
    tellUnwritten(fleet, schema, error);
  }
}

/** As `retire`, in a transaction of its own, for a registry that is in no database. */
export async function retireAlone(fleet: Fleet, tenant: Named): Promise<void> {
  try {
    await withTransaction(await fleet.database(), (client) => retire(fleet, client, tenant));
  } catch (error) {
    tellUnwritten(fleet, tenant.schema, error);
  }
}

function tellUnwritten(fleet: Fleet, schema: string, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  fleet.report({
    type: "warning",
    message: `could not write to tenantctl.retired that the schema name ${JSON.stringify(schema)} was given up: ${reason}`,
    hint: `give it to no other tenant for ${retiredMinutes} minutes: a running application may still send the removed tenant's requests to it`,
  });
}

/**
 * Refuses schema names that were another tenant's a short while ago.
 *
 * @throws TenantctlError NAME_RETIRED with the first of them.
 */
export async function requireUnretired(client: Client, tenants: readonly Named[]): Promise<void> {
  for (const why of (await retiredOf(client, tenants)).values()) throw why;
}

/**
 * Why these tenants can't have their schema names yet, by the schema.
 *
 * @param otherwise what else can be done than to wait.
 */
export async function retiredOf(
  client: Client,
  tenants: readonly Named[],
  otherwise = "choose another name with --schema; --reuse-name takes it now",
): Promise<Map<string, TenantctlError>> {
  const found = new Map<string, TenantctlError>();
  if (tenants.length === 0 || !(await ownTableExists(client, "retired"))) return found;
  const { rows } = await client.query<{ schema: string; tenant: string; seconds: number }>(
    `select schema, tenant, ceil(extract(epoch from until - now()))::int as seconds from tenantctl.retired
     where until > now() and schema = any($1)`,
    [tenants.map(({ schema }) => schema)],
  );
  const names = new Map(tenants.map(({ name, schema }) => [schema, name]));
  for (const { schema, tenant, seconds } of rows) {
    if (names.get(schema) === tenant) continue; // the same one may come back
    found.set(schema, refusal(schema, tenant, seconds, otherwise));
  }
  return found;
}

function refusal(schema: string, tenant: string, seconds: number, otherwise: string): TenantctlError {
  const wait = seconds > 90 ? `${Math.ceil(seconds / 60)} minutes` : `${seconds} seconds`;
  return new TenantctlError(
    "NAME_RETIRED",
    `the schema name ${JSON.stringify(schema)} was tenant ${JSON.stringify(tenant)}'s until a short while ago, and a running application may still send that tenant's requests to it`,
    { hint: `wait ${wait}, or ${otherwise}` },
  );
}

/** As `requireUnretired`, on a connection of its own. */
export async function checkUnretired(database: Database, tenants: readonly Named[]): Promise<void> {
  await database.withClient((client) => requireUnretired(client, tenants));
}
