// The migrations room: migrations made ready to run, parsed or imported once per run and not once per tenant.

import type { Statement } from "../database/message.js";
import { ProblemsError, TenantctlError } from "../errors.js";
import type { Origin } from "./failure.js";
import {
  importModule,
  type Migration,
  type MigrationModule,
  type ModuleMigration,
  type SqlMigration,
} from "./files.js";
import { parseSection, unknownStatement } from "./statements.js";

export type Direction = "up" | "down";

export interface PreparedSql {
  kind: "sql";
  migration: SqlMigration;
  transaction: boolean;
  statements: Statement<Origin>[];
  /** Whether our parser could split it. If not it is one piece, and travels alone. */
  readable: boolean;
  addsEnumValue: boolean;
  /** It runs no code of anybody's, and leaves the session as it was. */
  plain: boolean;
  /** It changes nothing but what it names, and names nothing outside of the tenant's schema. */
  confined: boolean;
  /** It says when constraints are checked, or may do so. */
  setsConstraints: boolean;
  /** Names of temporary tables that it makes. */
  temporary: string[];
  /** What takes back what it does to the session. */
  tidyTexts: string[];
  /** Lines of what takes longer on some servers the more indexes the database has. */
  indexScans: number[];
}

export interface PreparedModule {
  kind: "module";
  migration: ModuleMigration;
  run: MigrationModule["up"];
}

export type Prepared = PreparedSql | PreparedModule;

/** Makes migrations ready to run, each of them once. It throws TenantctlError MIGRATIONS_INVALID or ROLLBACK_REFUSED, with file and line. */
export type Preparer = (name: string, direction: Direction) => Promise<Prepared>;

export function createPreparer(migrations: readonly Migration[]): Preparer {
  const byName = new Map(migrations.map((migration) => [migration.name, migration]));
  const prepared = new Map<string, Promise<Prepared>>();
  return async (name, direction) => {
    const key = `${direction} ${name}`;
    const found = prepared.get(key);
    if (found) return await found;
    const migration = byName.get(name);
    if (!migration) throw new TenantctlError("MIGRATION_UNKNOWN", `no file describes the migration ${name}`);
    const result = migration.kind === "sql" ? prepareSql(migration, direction) : prepareModule(migration, direction);
    prepared.set(key, result);
    return await result;
  };
}

/**
 * Makes all of these ready, so that what is wrong with one shows before anything is touched.
 * @throws ProblemsError with every problem.
 */
export async function prepareAll(
  preparer: Preparer,
  names: Iterable<string>,
  direction: Direction,
): Promise<Prepared[]> {
  const ready: Prepared[] = [];
  const problems: string[] = [];
  let code: "MIGRATIONS_INVALID" | "ROLLBACK_REFUSED" = "MIGRATIONS_INVALID";
  for (const name of names) {
    try {
      ready.push(await preparer(name, direction));
    } catch (error) {
      if (!(error instanceof TenantctlError)) throw error;
      if (error.code === "ROLLBACK_REFUSED") code = error.code;
      problems.push(...(error instanceof ProblemsError ? error.problems : [error.message]));
    }
  }
  if (problems.length > 0)
    throw new ProblemsError(code, "the migrations can't be used", problems, { hint: "nothing was touched" });
  return ready;
}

async function prepareSql(migration: SqlMigration, direction: Direction): Promise<PreparedSql> {
  const section = migration[direction];
  if (section === undefined) {
    throw new TenantctlError("ROLLBACK_REFUSED", `it has no -- migrate:down section (${migration.file})`);
  }
  const parsed = await parseSection(section);
  if (parsed.refusals.length > 0) {
    const problems = parsed.refusals.map(({ message, line }) => `${message} (${migration.file}:${line})`);
    throw new ProblemsError("MIGRATIONS_INVALID", "the migration can't be used", problems);
  }
  const whole = [unknownStatement(0, section.text.length)];
  const statements = (parsed.statements ?? whole).map((statement) => ({
    text: section.text.slice(statement.start, statement.end),
    origin: { migration, section, statement },
  }));
  return {
    kind: "sql",
    migration,
    transaction: section.transaction,
    statements,
    readable: parsed.statements !== undefined,
    addsEnumValue: parsed.addsEnumValue,
    plain: parsed.plain,
    confined: parsed.statements?.every((statement) => statement.confined) ?? false,
    setsConstraints: parsed.setsConstraints,
    temporary: parsed.temporary,
    tidyTexts: [...new Set(parsed.tidyTexts)],
    indexScans: parsed.indexScans,
  };
}

async function prepareModule(migration: ModuleMigration, direction: Direction): Promise<PreparedModule> {
  const module = await importModule(migration);
  const run = module[direction];
  if (run === undefined)
    throw new TenantctlError("ROLLBACK_REFUSED", `it exports no function down (${migration.file})`);
  return { kind: "module", migration, run };
}
