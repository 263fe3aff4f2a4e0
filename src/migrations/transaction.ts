// The migrations room: the transaction in which everything happens to one tenant, under its schema's lock.

import type { Client, Database } from "../database/database.js";
import { isConnectionLost, sqlState, wantsOneStatement } from "../database/errors.js";
import { type Statement, StatementError, send } from "../database/message.js";
import { dropRolesText } from "../database/own-roles.js";
import { identifier, literal } from "../database/quote.js";
import { type Isolation, tenantLogins, tenantRole } from "../database/roles.js";
import { dropSchemaText } from "../database/schemas.js";
import {
  assertOurs,
  beginStatements,
  isAborted,
  lockKey,
  newToken,
  type TransactionSettings,
} from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import type { Reporter } from "../events.js";
import { failureOf, MigrationFailure, type Origin } from "./failure.js";
import { grantTexts, isolationTexts } from "./grants.js";
import {
  createLedgerText,
  hasObjectsText,
  type LedgerRow,
  ledgerTable,
  runningStamp,
  selectRowsText,
  stampIn,
  stampOf,
  stampText,
} from "./ledger.js";
import { endTenantsSessions, Locked, lockedBy, lockedByTenant, type Watch, watchLocks } from "./lock.js";
import { withLookupHint } from "./lookup.js";
import type { Reach } from "./reach.js";

/** One schema and what may be done to it: what every operation on a tenant needs to know. */
export interface Target {
  database: Database;
  /** The tenant as migration modules see it; the shared schema has a name in brackets. */
  tenant: { name: string; schema: string };
  /** The schemas that come after the tenant's own in the search_path. */
  sharedSchemas: readonly string[];
  /** What its migrations may change outside of its schema; undefined where they are not looked at: the shared schema's. */
  reach?: Reach | undefined;
  appRole: string | undefined;
  /** Where each tenant has a role, which then has the rights in place of `appRole`. */
  isolation?: Isolation | undefined;
  /** The run that writes, kept in every ledger row. */
  run: string;
  /** Is told what was done besides: a tenant's session that was ended. */
  report?: Reporter | undefined;
  timeouts: Pick<TransactionSettings, "lockTimeoutMs" | "statementTimeoutMs">;
}

/** What the catalog tells of a schema. */
export interface Facts {
  exists: boolean;
  comment: string | null;
  hasObjects: boolean;
  stamp: string | null;
  /** The schema's oid; null where there is no schema yet. */
  oid: string | null;
  /** Who owns the ledger, and so migrates the schema; null where there is none yet. */
  owner: string | null;
}

/** What is there, read under the lock. */
export interface Found extends Facts {
  /** Undefined: there is no ledger. */
  rows: LedgerRow[] | undefined;
}

/** What a body does within the tenant's transaction. What is queued is sent together, at the latest with the commit. */
export interface TenantTransaction {
  client: Client;
  found: Found;
  queue(...statements: Statement<Origin>[]): Promise<void>;
  flush(): Promise<void>;
  /** @throws TenantctlError TRANSACTION_BROKEN */
  assertOurs(): Promise<void>;
}

/**
 * The search_path of migrations. Temporary tables come last: none is ever taken for a real one, nor by a function that keeps this path
 * (`set search_path from current`) and runs with its owner's rights.
 */
export function migrationPath({ tenant, sharedSchemas }: Pick<Target, "tenant" | "sharedSchemas">): string[] {
  return [tenant.schema, ...sharedSchemas, "pg_temp"];
}

/** The settings of a tenant's transaction. */
export function settingsOf(target: Target): TransactionSettings {
  return { searchPath: migrationPath(target), ...target.timeouts };
}

// Past this many characters a message is sent: more in one would only cost memory.
const messageSize = 1_000_000;

/** The connection was lost while the commit was under way: only the ledger can tell whether it was done. */
export class CommitUnknown extends TenantctlError {}

/** The onlooker did not answer what was before: without it, the same work can be done once more. */
export class NoAnswer extends Error {}

/**
 * Runs `body` in a transaction that holds the lock of the tenant's schema, then commits.
 * `expectLedger` saves a round trip where the ledger is known to be there.
 * @throws TenantctlError LOCKED when somebody else is at this tenant; MigrationFailure; CommitUnknown.
 */
export async function inTenantTransaction<T>(
  target: Target,
  expectLedger: boolean,
  body: (transaction: TenantTransaction) => Promise<T>,
  endings = 0,
): Promise<T> {
  const { capabilities } = target.database;
  // What was so when it began: others find out meanwhile, too.
  const together = capabilities.severalStatements;
  const outcome = await target.database.withClient(async (client) => {
    const token = newToken();
    const { queue, flush, refused } = createOutbox(client, together);
    let committing = false;
    let watch: Watch | undefined;
    try {
      const { found, pid } = await open(target, client, token, expectLedger);
      watch = watchLocks(target, pid);
      const value = await body({ client, found, queue, flush, assertOurs: () => assertOurs(client, token) });
      committing = true;
      await queue({ text: "commit" });
      await flush();
      return { ok: true as const, value };
    } catch (failure) {
      const error = watch?.explain(failure) ?? failure;
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
      const mayBeLost = isConnectionLost(cause) || isConnectionLost(error);
      if (mayBeLost && !(await isAborted(client))) throw lost(cause, committing);
      // Failing, it must not hide the first error; the connection is closed, and the server rolls back.
      await client.query("rollback").catch(() => Promise.reject(error));
      return {
        ok: false as const,
        error: error instanceof MigrationFailure ? await withLookupHint(client, error) : (error as unknown),
        refused: refused(),
      };
    } finally {
      watch?.stop();
    }
  });
  if (outcome.ok) return outcome.value;
  const { error } = outcome;
  if (expectLedger && error instanceof LedgerGone) return await inTenantTransaction(target, false, body, endings);
  if (error instanceof NoAnswer) {
    capabilities.secondConnection = false;
    return await inTenantTransaction(target, expectLedger, body, endings);
  }
  if (outcome.refused) {
    capabilities.severalStatements = false;
    return await inTenantTransaction(target, expectLedger, body, endings);
  }
  if (!(error instanceof Locked)) throw error;
  await endTenantsSessions(target, error);
  if (endings >= mostEndings) throw lockedByTenant(error.holders);
  return await inTenantTransaction(target, expectLedger, body, endings + 1);
}

// A tenant that takes our lock again each time is not waited for.
const mostEndings = 3;

function lost(cause: unknown, committing: boolean): TenantctlError {
  const message = "the connection to the database was lost";
  const hint = "a tenant is at its old version or at the new one; the same command again goes on";
  return committing
    ? new CommitUnknown("CONNECTION_LOST", message, { hint, cause })
    : new TenantctlError("CONNECTION_LOST", message, { hint, cause });
}

interface Outbox extends Pick<TenantTransaction, "queue" | "flush"> {
  /** Whether the server refused a message, and may take its statements one by one. */
  refused(): boolean;
}

function createOutbox(client: Client, together: boolean): Outbox {
  let queued: Statement<Origin>[] = [];
  let size = 0;
  let refused = false;
  async function flush() {
    const statements = queued;
    queued = [];
    size = 0;
    try {
      await send(client, statements, together);
    } catch (error) {
      if (!(error instanceof StatementError)) throw error;
      refused = together && statements.length > 1 && wantsOneStatement(error.cause);
      throw failureOf(error as StatementError<Origin>);
    }
  }
  async function queue(...statements: Statement<Origin>[]) {
    for (const statement of statements) {
      queued.push(statement);
      size += statement.text.length;
      if (size > messageSize) await flush();
    }
  }
  return { queue, flush, refused: () => refused };
}

class LedgerGone extends Error {}

async function open(
  target: Target,
  client: Client,
  token: string,
  expectLedger: boolean,
): Promise<{ found: Found; pid: number }> {
  const { schema } = target.tenant;
  const texts = [
    ...beginStatements(target.database, settingsOf(target), token),
    `select pg_try_advisory_xact_lock(${lockKey(schema)}) as locked, pg_backend_pid() as pid`,
    factsText(schema),
    ...(expectLedger ? [selectRowsText(schema)] : []),
  ];
  const results = await send(
    client,
    texts.map((text) => ({ text })),
    true,
  ).catch((error: unknown) => {
    if (expectLedger && error instanceof Error && ["42P01", "3F000"].includes(sqlState(error.cause) ?? ""))
      throw new LedgerGone();
    throw error instanceof StatementError ? failureOf(error as StatementError<Origin>) : error;
  });
  const rows = results.splice(texts.length - (expectLedger ? 3 : 2));
  const { locked = false, pid = 0 } = (rows[0]?.[0] ?? {}) as { locked?: boolean; pid?: number };
  if (!locked) throw await lockedBy(client, schema);
  const facts = factsOf(rows[1]?.[0]);
  const found = async (): Promise<Found> => {
    if (!facts.exists) return nothingFound;
    if (expectLedger) return { ...facts, rows: rows[2] as unknown as LedgerRow[] };
    if (facts.owner === null) return { ...facts, rows: undefined };
    return { ...facts, rows: (await client.query<LedgerRow>(selectRowsText(schema))).rows };
  };
  return { found: await found(), pid };
}

/** What the catalog tells of a schema, on any connection. */
export async function lookAt(client: Client, schema: string): Promise<Facts> {
  return factsOf((await client.query<object>(factsText(schema))).rows[0]);
}

function factsOf(row: object | undefined): Facts {
  if (row === undefined) return nothingFound;
  const facts = row as Omit<Facts, "exists">;
  return { ...facts, exists: true, stamp: stampIn(facts.stamp) };
}

/** What is found where there is no schema. */
export const nothingFound: Found = {
  exists: false,
  comment: null,
  hasObjects: false,
  rows: undefined,
  stamp: null,
  oid: null,
  owner: null,
};

/** Asks for what the catalog tells of a schema: once for each tenant of a run, so by its indexes alone. */
export function factsText(schema: string): string {
  return `select n.oid::text as oid, obj_description(n.oid, 'pg_namespace') as comment, pg_get_userbyid(c.relowner)::text as owner, obj_description(c.oid, 'pg_class') as stamp,
    ${hasObjectsText} as "hasObjects"
    from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relname = '${ledgerTable}' and c.relkind in ('r', 'p')
    where n.nspname = ${literal(schema)}`;
}

/** Creates the schema and its ledger where they are missing, and with them the app role's rights, or the tenant's role. */
export async function ensureLedger(target: Target, { found, queue }: TenantTransaction, grant: boolean): Promise<void> {
  const { schema } = target.tenant;
  if (!found.exists) await queue({ text: `create schema ${identifier(schema)}` });
  if (found.rows === undefined) await queue({ text: createLedgerText(schema) });
  if (grant || found.rows === undefined) await queue(...rightsTexts(target).map((text) => ({ text })));
}

/**
 * The statements that give a tenant's schema to whom it belongs: the tenant's role, or the application's.
 * @param maker who will create what is to come in it; without it, we will.
 */
export function rightsTexts({ tenant: { schema }, isolation, appRole }: Target, maker?: string): string[] {
  if (isolation !== undefined) return isolationTexts(schema, isolation, maker);
  return appRole === undefined || appRole === maker ? [] : grantTexts(schema, appRole, maker);
}

/** The statements that drop a tenant's schema, and its role if it has one. */
export function dropTenantTexts({ tenant: { schema }, isolation }: Target): string[] {
  return [
    dropSchemaText(schema),
    ...(isolation === undefined ? [] : [dropRolesText(rolesOf(isolation, schema), isolation.membershipOptions)]),
  ];
}

/** The roles that a tenant may have: its logins, and its own. */
function rolesOf({ database }: Isolation, schema: string): string[] {
  return [...tenantLogins(database, schema), tenantRole(database, schema)];
}

/** Writes the stamp for these rows, where another is there. */
export async function stampLedger(
  target: Target & { migrations: readonly { name: string }[] },
  { found, queue }: TenantTransaction,
  rows: readonly { name: string; checksum: string | null }[],
): Promise<void> {
  const stamp = stampOf(rows);
  const done = new Set(rows.map(({ name }) => name));
  // A transaction:false migration was interrupted, and is still to be done: who does it must know.
  const direction = (name: string) => (done.has(name) ? "down" : "up");
  if (target.migrations.some(({ name }) => found.stamp === runningStamp(name, direction(name)))) return;
  if (stamp !== found.stamp) await queue({ text: stampText(target.tenant.schema, stamp, found.oid) });
}

/** Whether a failure is the server's word that a new enum value waits for a commit. */
export function wantsCommitFirst(error: unknown): error is MigrationFailure {
  return error instanceof MigrationFailure && error.sqlState === "55P04";
}
