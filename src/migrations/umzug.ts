// The migrations room: Umzug orders and applies; what it logs goes into the tenant's own transaction.

import { searchPath } from "../database/quote.js";
import { constraintTexts, settingStatements, tidyTexts } from "../database/transaction.js";
import { MigrationFailure, moduleFailure } from "./failure.js";
import type { Migration } from "./files.js";
import { deleteRowText, insertRowText, startText } from "./ledger.js";
import { loadUmzug } from "./load-umzug.js";
import type { Direction, Prepared, PreparedModule, PreparedSql, Preparer } from "./prepare.js";
import { mayLeadElsewhere, requireOwnUnlocked } from "./reach-check.js";
import { migrationPath, settingsOf, type Target, type TenantTransaction } from "./transaction.js";

const { MigrationError, Umzug } = loadUmzug();

/** Applies or reverts these migrations, in this order, and queues their ledger rows. */
export async function runMigrations(
  target: Target,
  transaction: TenantTransaction,
  migrations: readonly Migration[],
  names: readonly string[],
  direction: Direction,
  prepare: Preparer,
): Promise<void> {
  const byName = new Map(migrations.map((migration) => [migration.name, migration]));
  const { schema } = target.tenant;
  const run = async (name: string) => await runOne(target, transaction, await prepare(name, direction));
  const umzug = new Umzug<object>({
    migrations: migrations.map(({ name, file }) => ({ name, path: file, up: () => run(name), down: () => run(name) })),
    storage: {
      executed: async () => (transaction.found.rows ?? []).map((row) => row.name),
      async logMigration({ name }) {
        const migration = byName.get(name);
        if (migration) await transaction.queue({ text: insertRowText(schema, migration, target.run) });
      },
      async unlogMigration({ name }) {
        await transaction.queue({ text: deleteRowText(schema, name) });
      },
    },
    // Umzug prints its context with an error: the connection stays out of it.
    context: {},
    logger: undefined,
  });
  try {
    await umzug[direction]({ migrations: [...names] });
  } catch (error) {
    throw error instanceof MigrationError ? error.cause : error;
  }
}

async function runOne(target: Target, transaction: TenantTransaction, prepared: Prepared): Promise<void> {
  await transaction.queue({ text: startText(searchPath(migrationPath(target))) });
  if (prepared.kind === "sql") await runSql(target, transaction, prepared);
  else await runModule(target, transaction, prepared);
  // What fails here is what the migration left to be checked.
  const origin = prepared.kind === "sql" ? prepared.statements.at(-1)?.origin : undefined;
  await transaction.queue(...tidy(target, prepared).map((text) => ({ text, ...(origin ? { origin } : {}) })));
  if (prepared.kind === "module") await flushAs(prepared, transaction);
}

// A migration ends with all that it did to the session: constraints are checked when they say, settings are ours.
function tidy(target: Target, prepared: Prepared): string[] {
  const isSql = prepared.kind === "sql";
  return [
    ...(isSql && !prepared.setsConstraints ? [] : constraintTexts(migrationPath(target))),
    ...(isSql ? prepared.tidyTexts : []),
    ...(isSql && prepared.plain ? [] : [...tidyTexts, ...settingStatements(target.database, settingsOf(target))]),
  ];
}

// What a module left to be checked later fails as the module's.
async function flushAs({ migration }: PreparedModule, { flush }: TenantTransaction): Promise<void> {
  await flush().catch((error: unknown) => {
    throw error instanceof MigrationFailure ? moduleFailure(migration, error.cause ?? error) : error;
  });
}

async function runModule(target: Target, transaction: TenantTransaction, prepared: PreparedModule): Promise<void> {
  await transaction.flush();
  try {
    await prepared.run({ client: transaction.client, tenant: target.tenant });
    await transaction.assertOurs();
  } catch (error) {
    throw moduleFailure(prepared.migration, error);
  }
}

async function runSql(target: Target, transaction: TenantTransaction, prepared: PreparedSql): Promise<void> {
  if (prepared.temporary.length > 0) await refuseShadows(target, transaction, prepared);
  // What could not be split can't be told apart from what follows it: it travels alone.
  if (!prepared.readable) await transaction.flush();
  for (const statement of prepared.statements) {
    if (mayLeadElsewhere(target, statement)) {
      await transaction.flush();
      await requireOwnUnlocked(transaction.client, target, statement);
    }
    await transaction.queue(statement);
  }
  if (prepared.readable) return;
  await transaction.flush();
  await transaction.assertOurs().catch((error: unknown) => Promise.reject(moduleFailure(prepared.migration, error)));
}

// A temporary table comes last in the search_path: of two tables of one name, what follows would change the real one.
async function refuseShadows(target: Target, { client, flush }: TenantTransaction, prepared: PreparedSql) {
  await flush();
  const { rows } = await client.query<{ name: string }>(
    `select c.relname as name from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relname = any($1) and n.nspname = any($2) order by 1 limit 1`,
    [prepared.temporary, [target.tenant.schema, ...target.sharedSchemas]],
  );
  const [real] = rows;
  if (real === undefined) return;
  const { name, file } = prepared.migration;
  throw new MigrationFailure("MIGRATIONS_INVALID", `the temporary table ${real.name} is called like a real one`, {
    place: { migration: name, file },
    hint: `a name without a schema leads to the real one: call it otherwise`,
  });
}
