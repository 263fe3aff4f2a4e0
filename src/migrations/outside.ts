// The migrations room: transaction:false, a migration that runs outside of any transaction, alone on a session of its own.

import { setTimeout as sleep } from "node:timers/promises";
import { clientCheckInterval } from "../database/capabilities.js";
import type { Client } from "../database/database.js";
import { isConnectionLost, sqlState } from "../database/errors.js";
import { type Statement, StatementError, send } from "../database/message.js";
import { identifier, literal, qualified, searchPath } from "../database/quote.js";
import { lockKey } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { failureOf, MigrationFailure, moduleFailure, type Origin, serverMessage } from "./failure.js";
import {
  deleteRowText,
  insertRowText,
  type LedgerRow,
  ledgerTable,
  runningStamp,
  selectRowsText,
  stampOf,
  stampText,
} from "./ledger.js";
import { endTenantsSessions, lockedBy, lockedByTenant } from "./lock.js";
import type { Direction, PreparedSql } from "./prepare.js";
import { type ReachCheck, reachCheck, requireOwn, requireOwnUnlocked } from "./reach-check.js";
import { migrationPath, NoAnswer, type Target } from "./transaction.js";

/**
 * Runs one `transaction:false` migration, a statement at a time. The session's lock keeps others away, and the stamp says
 * `running` meanwhile; after a failure or a crash it goes on saying so, and the next run knows that some of it may be done.
 * @throws MigrationFailure that says what was left behind; TenantctlError LOCKED or NEEDS_SESSION.
 */
export async function runOutside(target: Target, prepared: PreparedSql, direction: Direction): Promise<void> {
  const { schema } = target.tenant;
  await target.database.withSession(async (client) => {
    try {
      await lockSession(client, target);
      await runLocked(client, target, prepared, direction);
    } catch (error) {
      throw asFailure(error, prepared);
    } finally {
      // Closing the connection unlocks too, but only some time later; where it is lost, that is all there is.
      await client.query(`select pg_advisory_unlock(${lockKey(schema)})`).catch(() => {});
    }
  });
}

function asFailure(error: unknown, { migration }: PreparedSql): unknown {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (isConnectionLost(cause)) {
    const message = "the connection to the database was lost";
    return new MigrationFailure("CONNECTION_LOST", sqlState(cause) ? `${message}: ${serverMessage(cause)}` : message, {
      place: error instanceof MigrationFailure ? error.place : { migration: migration.name, file: migration.file },
      hint: "it runs outside of a transaction: some of it may be done; the same command again starts from its first statement",
      cause,
    });
  }
  return error instanceof TenantctlError ? error : moduleFailure(migration, cause);
}

async function runLocked(client: Client, target: Target, prepared: PreparedSql, direction: Direction): Promise<void> {
  const { schema } = target.tenant;
  const { name } = prepared.migration;
  const { rows } = await client.query<LedgerRow>(selectRowsText(schema));
  if (rows.some((row) => row.name === name) === (direction === "up")) return; // somebody else did it
  const interrupted = (await readStamp(client, schema)) === runningStamp(name, direction);
  await setSession(client, target);
  await client.query(stampText(schema, runningStamp(name, direction)));
  await client.query("select set_config('tenantctl.mark', extract(epoch from clock_timestamp())::text, false)");
  for (const statement of prepared.statements) {
    const index = statement.origin?.statement.buildsIndex;
    if (index !== undefined && (await settleIndex(client, schema, index, interrupted))) continue;
    await runStatement(client, target, prepared, statement).catch(async (error: unknown) => {
      throw error instanceof StatementError ? await leftBehind(client, target, error as StatementError<Origin>) : error;
    });
  }
  await record(client, target, prepared, direction, rows);
}

// What can be within a transaction gets one, so that what it changed can be looked at before it stays; of the rest, its targets are.
async function runStatement(
  client: Client,
  target: Target,
  prepared: PreparedSql,
  statement: Statement<Origin>,
): Promise<void> {
  const { transactional = true, changes = [] } = statement.origin?.statement ?? {};
  const confined = statement.origin?.statement.confined ?? false;
  await requireOwnUnlocked(client, target, statement);
  const check = transactional ? reachCheck(target, [{ ...prepared, confined, statements: [statement] }]) : undefined;
  if (check === undefined) await requireOwn(client, target, statement, changes);
  else if (await runChecked(client, statement, check).catch(alone)) return;
  await send(client, [statement], true);

  async function alone(error: unknown): Promise<boolean> {
    if (!(error instanceof NoAnswer)) throw error;
    target.database.capabilities.secondConnection = false;
    await runStatement(client, target, prepared, statement);
    return true;
  }
}

// False: the server says that it can't be within one, and nothing of it was done.
async function runChecked(client: Client, statement: Statement<Origin>, check: ReachCheck): Promise<boolean> {
  const queue = async (...statements: Statement<Origin>[]) => {
    await send(client, statements, false);
  };
  await client.query("begin isolation level read committed read write");
  try {
    await check.begin({ queue });
    await queue(statement);
    await check.finish({ client, queue, flush: async () => {} });
    await client.query("commit");
    return true;
  } catch (error) {
    // Failing, it must not hide the first error; the session is closed afterwards.
    await client.query("rollback").catch(() => {});
    if (error instanceof StatementError && sqlState(error.cause) === "25001") return false;
    throw error;
  }
}

// A backend of ours that was killed may hold the lock for a moment longer.
async function lockSession(client: Client, target: Target): Promise<void> {
  const { schema } = target.tenant;
  for (let attempt = 0; ; attempt++) {
    const { rows } = await client.query<{ locked: boolean }>(
      `select pg_try_advisory_lock(${lockKey(schema)}) as locked`,
    );
    if (rows[0]?.locked) return;
    const locked = await lockedBy(client, schema);
    const ofTenants = locked.holders.some(({ ofTenant }) => ofTenant);
    if (attempt === 5) throw ofTenants ? lockedByTenant(locked.holders) : locked;
    if (ofTenants) await endTenantsSessions(target, locked);
    else await sleep(50 * 2 ** attempt);
  }
}

// The session is ours alone and is closed afterwards. A concurrent build waits for every transaction that is open, so no lock timeout.
async function setSession(client: Client, target: Target): Promise<void> {
  const settings = [
    `set search_path to ${searchPath(migrationPath(target))}`,
    "set lock_timeout = 0",
    `set statement_timeout = ${target.timeouts.statementTimeoutMs}`,
    ...(target.database.capabilities.checksClient
      ? [`set client_connection_check_interval = '${clientCheckInterval}'`]
      : []),
  ];
  for (const text of settings) await client.query(text);
}

async function readStamp(client: Client, schema: string): Promise<string | null> {
  const { rows } = await client.query<{ stamp: string | null }>(
    `select obj_description(${literal(qualified(schema, ledgerTable))}::regclass, 'pg_class') as stamp`,
  );
  return rows[0]?.stamp ?? null;
}

// An invalid index is what an interrupted build leaves: nobody can use it, and it is in the way of the next build.
// A valid one that an interrupted run of this very migration left is the build's result.
async function settleIndex(client: Client, schema: string, index: string, interrupted: boolean): Promise<boolean> {
  const { rows } = await client.query<{ valid: boolean }>(
    `select i.indisvalid as valid from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relname = $2`,
    [schema, index],
  );
  // If exists: of a distributed table, one node may have the index that another lacks.
  if (rows[0]?.valid === false) await client.query(`drop index concurrently if exists ${qualified(schema, index)}`);
  return rows[0]?.valid === true && interrupted;
}

async function record(
  client: Client,
  target: Target,
  prepared: PreparedSql,
  direction: Direction,
  rows: LedgerRow[],
): Promise<void> {
  const { schema } = target.tenant;
  const { migration } = prepared;
  const up = direction === "up";
  const after = up ? [...rows, migration] : rows.filter((row) => row.name !== migration.name);
  const texts = [
    "begin isolation level read committed read write",
    up ? insertRowText(schema, migration, target.run) : deleteRowText(schema, migration.name),
    stampText(schema, stampOf(after)),
    "commit",
  ];
  await send(
    client,
    texts.map((text) => ({ text })),
    true,
  );
}

async function leftBehind(client: Client, target: Target, error: StatementError<Origin>): Promise<MigrationFailure> {
  const failure = failureOf(error);
  if (isConnectionLost(error.cause)) return failure;
  const { rows } = await client.query<{ name: string }>(
    `select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and not i.indisvalid order by 1`,
    [target.tenant.schema],
  );
  const invalid = rows.map((row) => identifier(row.name)).join(", ");
  const left = invalid === "" ? "" : `, and the invalid index ${invalid}, which the next run replaces`;
  return new MigrationFailure(failure.code, failure.message, {
    sqlState: failure.sqlState,
    place: failure.place,
    cause: failure.cause,
    partly: true,
    hint: `it runs outside of a transaction: its statements before this one stay${left}. Mend the cause and migrate again; ${failure.hint ?? "it starts from its first statement"}`,
  });
}
