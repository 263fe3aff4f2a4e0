// The database room: transactions that set everything locally, so that they are right behind any pooler.

import { createHash, randomUUID } from "node:crypto";
import { TenantctlError } from "../errors.js";
import { clientCheckInterval } from "./capabilities.js";
import type { Client, Database } from "./database.js";
import { sqlState } from "./errors.js";
import { literal, searchPath } from "./quote.js";

export interface TransactionSettings {
  /** The schemas where names are looked up, in order. Empty: none but pg_catalog. */
  searchPath: readonly string[];
  /** How long one lock is waited for, in milliseconds; 0 waits for ever. It holds for each lock, not for their sum. */
  lockTimeoutMs: number;
  /** How long one statement may take, in milliseconds; 0 leaves the server's own setting. */
  statementTimeoutMs: number;
  /** Refuses to write, to the end of the transaction. Default: false. */
  readOnly?: boolean;
}

// A client that vanished without a word must not hold its locks: long enough for a module that computes between two queries.
const idleTimeoutMs = 120_000;

/** The statements that make the settings of a transaction of ours. */
export function settingStatements(database: Database, settings: TransactionSettings): string[] {
  return [
    `set local search_path to ${settings.searchPath.length === 0 ? "''" : searchPath(settings.searchPath)}`,
    `set local lock_timeout = ${settings.lockTimeoutMs}`,
    ...(settings.statementTimeoutMs > 0 ? [`set local statement_timeout = ${settings.statementTimeoutMs}`] : []),
    `set local idle_in_transaction_session_timeout = ${idleTimeoutMs}`,
    ...(database.capabilities.checksClient
      ? [`set local client_connection_check_interval = '${clientCheckInterval}'`]
      : []),
  ];
}

/** The statements that open a transaction of ours. `token` is how we know later that it still is ours. */
export function beginStatements(database: Database, settings: TransactionSettings, token: string): string[] {
  return [
    `begin isolation level read committed ${settings.readOnly ? "read only" : "read write"}`,
    ...settingStatements(database, settings),
    `set local tenantctl.token = ${literal(token)}`,
    // Once a query has been answered, the server itself refuses to turn a read-only transaction into another.
    ...(settings.readOnly ? ["select"] : []),
  ];
}

// What is the connection's own, or a pooler's business, and what we know the transaction by.
const kept = "application_name,client_encoding,tenantctl.token,tenantctl.mark";

/**
 * What somebody's SQL took on for itself is neither for what we write after it nor for the next tenant: a role, temporary tables, settings, of
 * which no catalog lists those of applications (`app.tenant`), cursors, prepared statements, channels, the session's advisory
 * locks and what lastval() answers.
 * Settings are the server's own after this, ours too: they are to be made again.
 */
export const tidyTexts: readonly string[] = [
  "reset session authorization",
  "reset role",
  "discard temp",
  "discard sequences",
  `do $tidy$ declare
    names text[] := '{${kept}}';
    were text[] := array(select pg_catalog.current_setting(n, true) from pg_catalog.unnest(names) with ordinality u(n, at) order by at);
    item text;
  begin
    reset all;
    for at in 1 .. pg_catalog.array_length(names, 1) loop
      if pg_catalog.current_setting(names[at], true) is distinct from were[at] then
        perform pg_catalog.set_config(names[at], were[at], names[at] like 'tenantctl.%');
      end if;
    end loop;
    for item in select pg_catalog.format('close %I', c.name) from pg_catalog.pg_cursors c
        where c.is_holdable or c.name <> '' and c.name not like '<unnamed%' and c.name not like 'tenantctl\\_%'
      union all select pg_catalog.format('deallocate %I', p.name) from pg_catalog.pg_prepared_statements p where p.from_sql loop
      execute item;
    end loop;
    unlisten *;
    perform pg_catalog.pg_advisory_unlock_all();
  end $tidy$`,
];

/**
 * What takes back SET CONSTRAINTS in these schemas: what was put off is checked now, and each constraint is checked again when its own
 * definition says.
 */
export function constraintTexts(schemas: readonly string[]): string[] {
  // Of a name that several tables use, all constraints must be deferrable.
  return [
    "set constraints all immediate",
    `do $tidy$ declare item text; begin
      for item in select pg_catalog.format('%I.%I', n.nspname, c.conname) from pg_catalog.pg_constraint c
        join pg_catalog.pg_namespace n on n.oid = c.connamespace
        where c.condeferred and n.nspname in (${schemas.map(literal).join(", ")}) and not exists (select from pg_catalog.pg_constraint o
          where o.connamespace = c.connamespace and o.conname = c.conname and not o.condeferrable) loop
        execute 'set constraints ' || item || ' deferred';
      end loop;
    end $tidy$`,
  ];
}

/** A token for one transaction. */
export function newToken(): string {
  return randomUUID();
}

/**
 * Makes sure that the transaction which `token` opened is still the one we are in.
 * @throws TenantctlError TRANSACTION_BROKEN when somebody's code ended it.
 */
export async function assertOurs(client: Client, token: string): Promise<void> {
  const { rows } = await client.query<{ token: string | null }>(
    "select current_setting('tenantctl.token', true) as token",
  );
  if (rows[0]?.token !== token) {
    throw new TenantctlError(
      "TRANSACTION_BROKEN",
      "it ended the transaction that it ran in, and what it did before may stay",
      {
        hint: "leave begin, commit and rollback to tenantctl",
      },
    );
  }
}

/**
 * Whether a transaction is open that failed and waits for its rollback: then nothing of it was done, whatever the error said. A
 * server that can't reach another server has the same SQLSTATEs for it as one that we can't reach.
 */
export async function isAborted(client: Client): Promise<boolean> {
  return await client.query("select").then(
    () => false,
    (error: unknown) => sqlState(error) === "25P02",
  );
}

/**
 * Runs `fn` in a transaction of our own, apart from any tenant's: for the registry, the runs and the like.
 * The connection goes back to the pool only when commit or rollback went well.
 */
export async function withTransaction<T>(
  database: Database,
  fn: (client: Client) => Promise<T>,
  settings: Partial<TransactionSettings> = {},
): Promise<T> {
  const begin = beginStatements(
    database,
    { searchPath: [], lockTimeoutMs: 10_000, statementTimeoutMs: 0, ...settings },
    newToken(),
  );
  // Catalog queries over many schemas look costly, and compiling them takes far longer than running them.
  begin.splice(1, 0, "set local jit = off");
  return await database.withClient(async (client) => {
    await client.query(begin.join("; "));
    const result = await fn(client);
    await client.query("commit");
    return result;
  });
}

/** Asks the catalog of many schemas, in a transaction of our own: see `withTransaction`. Nothing is written. */
export async function readCatalog<T>(database: Database, fn: (client: Client) => Promise<T>): Promise<T> {
  return await withTransaction(database, fn, { readOnly: true });
}

/** The key of a schema's advisory lock: 64 bits of sha256, as PostgreSQL takes them. */
export function lockKey(schema: string): string {
  return createHash("sha256").update(`tenantctl:${schema}`).digest().readBigInt64BE(0).toString();
}
