// The fleet room: sql, one text in many tenants, each in one transaction of its own; results come in the tenants' order.

import type { Client, Database } from "../database/database.js";
import { errorField, isConnectionLost, sqlState, wantsOneStatement } from "../database/errors.js";
import { type RowSink, type Statement, StatementError, send } from "../database/message.js";
import { identifier } from "../database/quote.js";
import { beginStatements, isAborted, newToken, tidyTexts } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import type { Failure } from "../events.js";
import { MigrationFailure, serverMessage } from "../migrations/failure.js";
import { withLookupHint } from "../migrations/lookup.js";
import { lineAndColumnIn } from "../migrations/places.js";
import { type QueryStatement, readQuery } from "../migrations/query.js";
import type { Tenant } from "../registry/registry.js";
import { type Fleet, schemasOf } from "./fleet.js";
import { roleOf } from "./isolation.js";
import { inOrder, type Lane, type Row } from "./order.js";
import { concurrencyFor } from "./preflight.js";
import { defaultLimits } from "./run.js";
import { schemaChecker } from "./schemas.js";
import { type Selection, selectTenants } from "./select.js";
import { eachOf, failureOf } from "./workers.js";

/** A column of a result: its name, unlike every other one of its result, and its type's oid. */
export interface Column {
  name: string;
  type: number;
}

export interface SqlOptions {
  /** One statement or several. Shown is what the last one answers that answers with rows; if none does, what was done. */
  text: string;
  /** The file that it comes from, for errors. */
  file?: string;
  /** Without it the transaction is read-only. */
  write?: boolean;
  /** As the role that we connect as, which owns the schemas, in place of the tenant's. It is so anyway where tenants have no roles. */
  asOwner?: boolean;
  lockTimeoutMs?: number;
  statementTimeoutMs?: number;
  /** Aborting it starts no more tenants. */
  stop?: AbortSignal;
  /**
   * Takes rows, values being the server's texts: tenant after tenant in the fleet's order, a large result in pieces. The server
   * waits while it does. A tenant that fails has no rows, unless its result was too large to be held back.
   */
  rows: (tenant: string, columns: readonly Column[], rows: readonly Row[]) => Promise<void> | undefined;
}

export interface SqlResult {
  ok: boolean;
  stopped: "signal" | null;
  summary: { tenants: number; done: number; failed: number; skipped: number; rows: number; durationMs: number };
  errors: { tenant: string; error: Failure }[];
  /** Tenants that were not reached. */
  left: string[];
}

/**
 * Runs SQL for each of the selected tenants, each in one transaction, read-only unless told otherwise. A tenant that fails stops nobody else.
 * @throws ProblemsError SQL_REFUSED for what would leave the transaction, and, without `write`, for what may write; TENANT_UNKNOWN;
 * SCHEMA_MISSING when there is but one tenant; what opening the database throws. Nothing was touched.
 */
export async function sql(fleet: Fleet, selection: Selection, options: SqlOptions): Promise<SqlResult> {
  const startedAt = Date.now();
  const tenants = await selectTenants(await fleet.registry.tenants(), selection);
  const statements = await readQuery(options.text, { write: options.write ?? false, file: options.file });
  const database = await fleet.database();
  const requireSchema = await schemaChecker(database, tenants);
  const [only] = tenants;
  if (only !== undefined && tenants.length === 1) requireSchema(only);
  const errors = new Map<Tenant, Failure>();
  let rows = 0;
  const lanes = inOrder<Column>(tenants.length, (index, columns, batch) => {
    rows += batch.length;
    return options.rows(tenants[index]?.name ?? "", columns, batch);
  });
  const concurrency = await concurrencyFor(fleet, database, tenants.length);
  const left = await eachOf(tenants, concurrency, options.stop, async (tenant, index) => {
    const lane = lanes(index);
    const failure = await attempt(async () => {
      requireSchema(tenant);
      await runIn(fleet, database, tenant, { ...options, statements }, lane);
    });
    if (failure !== undefined) {
      const error = lane.begun()
        ? { ...failure, message: `${failure.message} (after rows that were shown already)` }
        : failure;
      errors.set(tenant, error);
      fleet.report({ type: "tenant-failed", name: tenant.name, error });
    }
    await lane.finish(failure === undefined);
  });
  return {
    ok: errors.size === 0 && left.length === 0,
    stopped: left.length > 0 ? "signal" : null,
    summary: {
      tenants: tenants.length,
      done: tenants.length - left.length - errors.size,
      failed: errors.size,
      skipped: left.length,
      rows,
      durationMs: Date.now() - startedAt,
    },
    errors: tenants.flatMap((tenant) => {
      const error = errors.get(tenant);
      return error === undefined ? [] : [{ tenant: tenant.name, error }];
    }),
    left: left.map((tenant) => tenant.name),
  };
}

async function attempt(perform: () => Promise<void>): Promise<Failure | undefined> {
  try {
    await perform();
    return undefined;
  } catch (error) {
    if (error instanceof SqlFailure) return error.failure;
    if (error instanceof TenantctlError) return failureOf(error);
    throw error;
  }
}

class SqlFailure extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

type Text = SqlOptions & { statements: readonly QueryStatement[] };

async function runIn(fleet: Fleet, database: Database, tenant: Tenant, text: Text, lane: Lane<Column>): Promise<void> {
  // What was so when it began: others find out meanwhile, too.
  const together = database.capabilities.severalStatements;
  // A failure that leaves the connection whole is returned, so that the connection is kept.
  const failure = await database.withClient(async (client) => {
    try {
      await sendAll(client, together, messagesFor(fleet, database, tenant, text, lane));
      return undefined;
    } catch (error) {
      if (!(error instanceof StatementError)) throw error;
      if (isConnectionLost(error.cause) && !(await isAborted(client))) throw lost(error.cause, text);
      await client.query("rollback");
      if (together && wantsOneStatement(error.cause) && lane.restart()) return "again" as const;
      return await failureIn(client, error as StatementError<QueryStatement>, text);
    }
  });
  if (failure === undefined) return;
  if (failure !== "again") throw new SqlFailure(failure);
  database.capabilities.severalStatements = false;
  await runIn(fleet, database, tenant, text, lane);
}

function lost(cause: unknown, { write }: Text): TenantctlError {
  return new TenantctlError("CONNECTION_LOST", "the connection to the database was lost", {
    hint: write ? "all of it was done, or nothing: look which, before you do it again" : "try again",
    cause,
  });
}

async function sendAll(client: Client, together: boolean, messages: Statement<QueryStatement>[][]): Promise<void> {
  for (const message of messages) await send(client, message, together);
}

// One message for the whole transaction, so that a tenant costs one round trip.
function messagesFor(
  fleet: Fleet,
  database: Database,
  tenant: Tenant,
  text: Text,
  lane: Lane<Column>,
): Statement<QueryStatement>[][] {
  const limits = { ...defaultLimits, ...given(text) };
  const settings = { ...limits, searchPath: schemasOf(fleet, tenant), readOnly: !text.write };
  const [first = "", ...others] = beginStatements(database, settings, newToken());
  const end = (text.write ? [...tidyTexts, "commit"] : ["rollback"]).map((one) => ({ text: one }));
  const shown = text.statements.findLastIndex((statement) => statement.answers);
  const body = text.statements.map((origin, index) => ({
    text: origin.text,
    origin,
    rows: index === (shown === -1 ? text.statements.length - 1 : shown) ? sinkFor(lane) : discard,
  }));
  const role = text.asOwner ? undefined : roleOf(fleet, database, tenant);
  if (role !== undefined) others.push(`set local role ${identifier(role)}`);
  const plain = (texts: readonly string[]) => texts.map((one) => ({ text: one }));
  if (!text.text.includes("\\")) return [[...plain([first, ...others]), ...body, ...end]];
  // The server reads a message before it runs any of it, and where standard_conforming_strings is off, backslashes would
  // mean something else to it than they did to the parser that looked for what is refused.
  return [plain([first, "set local standard_conforming_strings = on", ...others]), [...body, ...end]];
}

function given({ lockTimeoutMs, statementTimeoutMs }: SqlOptions) {
  return {
    ...(lockTimeoutMs === undefined ? {} : { lockTimeoutMs }),
    ...(statementTimeoutMs === undefined ? {} : { statementTimeoutMs }),
  };
}

const discard: RowSink = { columns: () => {}, row: () => undefined, done: () => {} };

// What answers with no rows answers with what was done: `UPDATE 5`.
function sinkFor(lane: Lane<Column>): RowSink {
  let told = false;
  return {
    columns(columns) {
      told = true;
      lane.columns(distinct(columns));
    },
    row: (values) => lane.row(values),
    done(tag) {
      if (told) return;
      lane.columns([{ name: "command", type: textType }]);
      lane.row([tag]);
    },
  };
}

const textType = 25;

// The tenant's column is the first one of all; of two columns of one name, the second is called name_2.
function distinct(columns: readonly Column[]): Column[] {
  const taken = new Set(["tenant"]);
  return columns.map(({ name, type }) => {
    let free = name;
    for (let number = 2; taken.has(free); number++) free = `${name}_${number}`;
    taken.add(free);
    return { name: free, type };
  });
}

async function failureIn(client: Client, error: StatementError<QueryStatement>, text: Text): Promise<Failure> {
  const { origin } = error.statement;
  const state = sqlState(error.cause);
  const offset = error.offset;
  const plain = new MigrationFailure("SQL", serverMessage(error.cause), {
    sqlState: state,
    text: offset === undefined ? undefined : error.statement.text.slice(offset, offset + 200),
    hint: hintFor(state) ?? errorField(error.cause, "hint"),
  });
  const { message, hint } = await withLookupHint(client, plain);
  return {
    code: "SQL",
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(state === undefined ? {} : { sqlState: state }),
    ...(text.file === undefined ? {} : { file: text.file }),
    ...(origin === undefined ? {} : lineAndColumnIn(text.text)(origin.start + (offset ?? 0))),
  };
}

function hintFor(state: string | undefined): string | undefined {
  if (state === "25006") return "--write lets it write";
  if (state === "25001") return "it can't run in a transaction: write a migration with -- migrate:up transaction:false";
  if (state === "55P03") return "somebody else holds a lock on it; try again, or raise --lock-timeout";
  return undefined;
}
