// The migrations room: a folder of migration files, read once per run and checked before anything is touched.

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { ProblemsError, TenantctlError } from "../errors.js";
import { refuseStrangeMarkers } from "./markers.js";
import { MalformedFile, readSections, type Section } from "./sections.js";

/** A migration's two directions in SQL. */
export interface SqlMigration {
  kind: "sql";
  name: string;
  file: string;
  /** sha256 over the up text, without BOM, with line ends normalised. */
  checksum: string;
  up: Section;
  /** Undefined: it can't be rolled back. */
  down: Section | undefined;
}

/** A migration in TypeScript or JavaScript. It has no checksum: a .ts becomes a .js. */
export interface ModuleMigration {
  kind: "module";
  name: string;
  file: string;
  checksum: null;
}

export type Migration = SqlMigration | ModuleMigration;

const fileName = /^(\d+)[_-].+\.(sql|ts|mts|js|mjs|cjs)$/;
const moduleEndings = new Set([".ts", ".mts", ".js", ".mjs", ".cjs"]);

/** What is wrong with one file, and where. */
export interface FileProblem {
  file: string;
  line: number;
  message: string;
  /** In one line with its place, as errors say it. */
  text: string;
  /** What to do about it, where that needs words of its own. */
  hint?: string | undefined;
}

/** A folder of migrations as it is, with what is wrong. */
export interface MigrationFolder {
  /** Paths, in the order of their names; also of those that can't be read. */
  files: string[];
  /** Those that can be read, in the same order. */
  migrations: Migration[];
  problems: FileProblem[];
}

/**
 * Reads a folder of migrations, in the order of their names.
 * @throws ProblemsError MIGRATIONS_INVALID with every problem: no folder, no files, duplicate versions, unreadable or malformed files.
 */
export async function readMigrations(folder: string): Promise<Migration[]> {
  const { migrations, problems } = await readFolder(folder);
  if (problems.length > 0) {
    throw new ProblemsError(
      "MIGRATIONS_INVALID",
      "the migrations can't be used",
      problems.map((problem) => problem.text),
      { hint: `nothing was touched; ${problems.find(({ hint }) => hint)?.hint ?? "correct the files and try again"}` },
    );
  }
  return migrations;
}

/**
 * Reads what can be read of a folder, in the order of names.
 * @throws ProblemsError MIGRATIONS_INVALID when there is no folder, or nothing in it.
 */
export async function readFolder(folder: string): Promise<MigrationFolder> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    const reason = error.code === "ENOENT" ? "there is no such folder" : error.message;
    throw new TenantctlError("MIGRATIONS_INVALID", `can't read the migrations: ${reason} (${folder})`, {
      hint: 'tenantctl new-migration <name> makes the first one; "migrations" in the config says where they are',
      cause: error,
    });
  });
  const names = entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith(".") && isMigrationLike(entry.name))
    .map((entry) => entry.name)
    .sort(byCodeUnits);
  if (names.length === 0) {
    throw new ProblemsError(
      "MIGRATIONS_INVALID",
      "the migrations can't be used",
      [`no migrations in the folder (${folder})`],
      { hint: "tenantctl new-migration <name> makes the first one" },
    );
  }
  const migrations: Migration[] = [];
  const problems: FileProblem[] = [];
  for (const name of names) {
    const file = join(folder, name);
    try {
      migrations.push(await readMigration(file, name));
    } catch (error) {
      problems.push(...problemsOf(error, file));
    }
  }
  problems.push(...orderProblems(migrations, folder));
  return { files: names.map((name) => join(folder, name)), migrations, problems };
}

function problemsOf(error: unknown, file: string): FileProblem[] {
  if (error instanceof AggregateError) return error.errors.flatMap((one) => problemsOf(one, file));
  if (!(error instanceof MalformedFile)) throw error;
  return [{ file, line: error.line, message: error.problem, text: error.message, hint: error.hint }];
}

function isMigrationLike(name: string): boolean {
  return (extname(name) === ".sql" || moduleEndings.has(extname(name))) && !/\.d\.[mc]?ts$/.test(name);
}

async function readMigration(file: string, base: string): Promise<Migration> {
  if (!fileName.test(base)) {
    throw new MalformedFile(
      "a migration's name is digits, an underscore and words: 20260401120000_add_polls.sql",
      file,
    );
  }
  const name = base.slice(0, -extname(base).length);
  if (extname(base) !== ".sql") return { kind: "module", name, file, checksum: null };
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new MalformedFile(`can't read it: ${error.code ?? error.message}`, file, undefined, { cause: error });
  });
  const text = decode(bytes, file);
  refuseStrangeMarkers(text, file);
  const { up, down } = readSections(text, file);
  return { kind: "sql", name, file, checksum: checksum(up.text), up, down };
}

function decode(bytes: Buffer, file: string): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
    // UTF-16 without a BOM, most likely; and the server would take what comes before it for all.
    if (text.includes("\0")) throw new Error("it holds a NUL character");
    return text;
  } catch (error) {
    throw new MalformedFile("not UTF-8 text", file, undefined, { cause: error });
  }
}

function checksum(up: string): string {
  return createHash("sha256").update(up.replaceAll("\r\n", "\n")).digest("hex");
}

/** The order of names everywhere: by code units, as no locale can change. */
export function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function orderProblems(migrations: readonly Migration[], folder: string): FileProblem[] {
  const problems: FileProblem[] = [];
  const add = (file: string, message: string) => problems.push({ file, line: 1, message, text: message });
  const seen = new Map<string, Migration>();
  let previous: Migration | undefined;
  for (const migration of migrations) {
    const { name, file } = migration;
    const version = versionOf(name);
    const twin = seen.get(version);
    if (twin) add(file, `two migrations of version ${version}: ${short(twin.file, folder)} and ${short(file, folder)}`);
    if (previous && BigInt(versionOf(previous.name)) > BigInt(version)) {
      add(
        file,
        `${short(previous.file, folder)} sorts before ${short(file, folder)} by name, and after it by number: give all versions the same number of digits`,
      );
    }
    seen.set(version, migration);
    previous = migration;
  }
  return problems;
}

function short(file: string, folder: string): string {
  return file.slice(folder.length + 1);
}

/** The digits that a migration's name begins with. */
export function versionOf(name: string): string {
  return /^\d+/.exec(name)?.[0] ?? name;
}

/** What a migration module exports. */
export interface MigrationModule {
  up(arguments_: unknown): Promise<void> | void;
  down: ((arguments_: unknown) => Promise<void> | void) | undefined;
}

/**
 * Imports a migration module; TypeScript goes through jiti.
 * @throws TenantctlError MIGRATIONS_INVALID when it can't be loaded or exports no `up`.
 */
export async function importModule(migration: ModuleMigration): Promise<MigrationModule> {
  const exported = await load(migration.file).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TenantctlError("MIGRATIONS_INVALID", `can't load the migration: ${reason} (${migration.file})`, {
      cause: error,
    });
  });
  const found = [exported, (exported as { default?: unknown }).default].find(
    (candidate): candidate is MigrationModule =>
      typeof (candidate as Partial<MigrationModule> | undefined)?.up === "function",
  );
  if (!found) {
    throw new TenantctlError(
      "MIGRATIONS_INVALID",
      `the module exports no function up({ client, tenant }) (${migration.file})`,
    );
  }
  return { up: found.up, down: typeof found.down === "function" ? found.down : undefined };
}

async function load(file: string): Promise<object> {
  if (!/\.m?ts$/.test(file)) return (await import(pathToFileURL(file).href)) as object;
  const { createJiti } = await import("jiti");
  return await createJiti(file, { fsCache: false }).import<object>(file); // its cache would be in /tmp, where others may have put theirs
}
