// The fleet room: what is looked at before the first tenant, so that a run that can't go well touches nobody.

import type { Client, Database } from "../database/database.js";
import { readCatalog } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { roleExistsText } from "../migrations/grants.js";
import { type Direction, type Prepared, prepareAll } from "../migrations/prepare.js";
import { type TenantWork, warmUp } from "../migrations/tenant.js";
import type { Fleet } from "./fleet.js";
import { requireIsolable } from "./isolation.js";

/**
 * Makes sure, before anything is touched, that what is pending anywhere can be run here.
 * @returns the migrations, ready.
 * @throws ProblemsError MIGRATIONS_INVALID; TenantctlError NEEDS_SESSION.
 */
export async function requireRunnable(
  database: Database,
  work: TenantWork,
  names: Iterable<string>,
  direction: Direction,
): Promise<Prepared[]> {
  const prepared = await prepareAll(work.prepare, names, direction);
  if (prepared.length === 0) return [];
  await warmUp();
  const outside = prepared.find((one) => one.kind === "sql" && !one.transaction);
  if (outside === undefined || (await database.hasSession())) return prepared;
  throw new TenantctlError(
    "NEEDS_SESSION",
    `transaction:false needs a session of its own, and ${database.display} is a transaction pooler (${outside.migration.file})`,
    { hint: 'set "directDatabase" in the config to the server\'s own address' },
  );
}

/**
 * @throws TenantctlError ROLE_UNKNOWN when the config's appRole does not exist; ROLE_UNSUITABLE for isolation by roles; DATABASE_REFUSED on a
 * standby.
 */
export async function requireWritable(fleet: Fleet, database: Database): Promise<void> {
  if (database.capabilities.inRecovery) {
    throw new TenantctlError(
      "DATABASE_REFUSED",
      `the server is a standby and can't be written to (${database.display})`,
      { hint: "give the primary's address" },
    );
  }
  const role = fleet.config.appRole;
  const missing = role !== undefined && !(await roleExists(database, role));
  if (missing) {
    throw new TenantctlError("ROLE_UNKNOWN", `the role of "appRole" does not exist: ${JSON.stringify(role)}`, {
      hint: `create role "${role.replaceAll('"', '""')}" login; or take appRole out of the config`,
    });
  }
  await requireIsolable(fleet, database);
}

/** Whether there is a role of this name. */
export async function roleExists(database: Database, role: string): Promise<boolean> {
  return await database.withClient(async (client) => (await client.query(roleExistsText(role))).rows.length > 0);
}

/**
 * How many tenants to work on at once: what was asked for, or as many as the server has connections free.
 * @throws TenantctlError PREFLIGHT when what was asked for can't be had.
 */
export async function concurrencyFor(fleet: Fleet, database: Database, jobs: number): Promise<number> {
  const wanted = Math.max(1, Math.min(fleet.concurrency, jobs, database.capabilities.connections));
  if (wanted === 1) return 1;
  const free = await database.withClient(freeConnections);
  // The workers, what is written beside them, and an onlooker.
  if (free < wanted + 2) database.capabilities.secondConnection = false;
  if (free >= wanted) return wanted;
  if (!fleet.concurrencyGiven && free >= 1) return free;
  throw new TenantctlError(
    "PREFLIGHT",
    `${wanted} connections are wanted, and the server has ${free} free (${database.display})`,
    {
      hint: free >= 1 ? `--concurrency ${free}, or raise max_connections` : "close some, or raise max_connections",
    },
  );
}

// Connections that we have open already are ours to use: the one that asks, at least.
async function freeConnections(client: Client): Promise<number> {
  const { rows } = await client.query<{ free: number }>(
    `select least(
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0)
         - (select count(*) from pg_stat_activity where backend_type = 'client backend'),
       coalesce((select nullif(datconnlimit, -1) from pg_database where datname = current_database())
         - (select count(*) from pg_stat_activity where datname = current_database()), 1e6),
       coalesce((select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user)
         - (select count(*) from pg_stat_activity where usename = current_user), 1e6)
     )::int + 1 as free`,
  );
  return rows[0]?.free ?? 1;
}

/**
 * Looks whether the lock table holds what the workers lock when each is at a schema as large as the largest.
 * @returns what to say, or undefined.
 */
export async function lockTableConcern(
  database: Database,
  concurrency: number,
): Promise<{ message: string; hint: string } | undefined> {
  const { rows } = await readCatalog(database, (client) =>
    client.query<{ schema: string; relations: number }>(
      `select n.nspname as schema, c.relations from (select relnamespace, count(*)::int as relations from pg_class group by 1) c
       join pg_namespace n on n.oid = c.relnamespace
       where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 2 desc limit 1`,
    ),
  );
  const [largest] = rows;
  if (largest === undefined || largest.relations * concurrency <= database.capabilities.lockTable) return undefined;
  return {
    message: `the schema "${largest.schema}" has ${largest.relations} relations; ${concurrency} such transactions may lock more than the server's ${database.capabilities.lockTable} locks`,
    hint: "lower --concurrency, or raise max_locks_per_transaction",
  };
}
