// The migrations room: Umzug orders and applies; what it logs goes into the tenant's own transaction.

import { searchPath } from "../database/quote.js";
import { tidyTexts } from "../database/transaction.js";
import { moduleFailure } from "./failure.js";
import type { Migration } from "./files.js";
import { deleteRowText, insertRowText, startText } from "./ledger.js";
import { loadUmzug } from "./load-umzug.js";
import type { Direction, Prepared, PreparedModule, PreparedSql, Preparer } from "./prepare.js";
import type { Target, TenantTransaction } from "./transaction.js";

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
  const path = searchPath([target.tenant.schema, ...target.sharedSchemas]);
  await transaction.queue({ text: startText(path) });
  if (prepared.kind === "sql") await runSql(transaction, prepared);
  else await runModule(target, transaction, prepared);
  const texts = prepared.kind === "sql" ? prepared.tidyTexts : tidyTexts;
  await transaction.queue(...texts.map((text) => ({ text })));
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

async function runSql(transaction: TenantTransaction, prepared: PreparedSql): Promise<void> {
  // What could not be split can't be told apart from what follows it: it travels alone.
  if (!prepared.readable) await transaction.flush();
  await transaction.queue(...prepared.statements);
  if (prepared.readable) return;
  await transaction.flush();
  await transaction.assertOurs().catch((error: unknown) => Promise.reject(moduleFailure(prepared.migration, error)));
}
