// The fleet room: lint, with what the config says about schemas. It needs no database.

import { basename, extname } from "node:path";
import { TenantctlError } from "../errors.js";
import { readFolder } from "../migrations/files.js";
import type { LintOptions, LintResult, lintMigrations } from "../migrations/lint.js";
import type { LintRule } from "../migrations/lint-rules.js";
import { nearest } from "../registry/suggest.js";
import type { Fleet } from "./fleet.js";
import { sharedIn } from "./reach.js";

/**
 * Looks at the migrations for what goes wrong across a fleet of schemas; connects to nothing.
 * @param migrations names, file names, absolute paths or globs; none means all, the shared ones too.
 * @param tenantSchemas schemas that belong to tenants; those of the config, unless told otherwise.
 * @throws TenantctlError MIGRATIONS_INVALID when a folder is missing or empty; MIGRATION_UNKNOWN for a word that fits no file.
 */
export async function lint(
  fleet: Fleet,
  migrations: readonly string[] = [],
  tenantSchemas: readonly string[] = [...fleet.config.tenants].map(([name, { schema }]) => schema ?? name),
): Promise<LintResult> {
  const read = await readFolders(fleet);
  const files = read.flatMap((folder) => folder.files);
  return await lintWith(fleet, read, { tenantSchemas, chosen: await chooser(files, migrations), suggest: nearest });
}

type Folders = Parameters<typeof lintMigrations>[0];

async function readFolders({ config: { migrations } }: Fleet): Promise<Folders> {
  return [
    ...(migrations.shared === undefined ? [] : [{ shared: true, ...(await readFolder(migrations.shared)) }]),
    { shared: false, ...(await readFolder(migrations.tenant)) },
  ];
}

async function lintWith(fleet: Fleet, folders: Folders, options: LintOptions): Promise<LintResult> {
  const { lintMigrations } = await import("../migrations/lint.js"); // its rules are many files, which few commands need
  return await lintMigrations(folders, {
    sharedSchemas: sharedIn(fleet),
    mayChange: fleet.config.migrations.mayChange,
    mayLookUp: fleet.config.migrations.mayLookUp,
    ...options,
  });
}

// These are migrate's own to refuse, or the server's.
const refusedAnyway: readonly LintRule[] = ["invalid-file", "refused", "syntax"];
const mostConcerns = 10;

/** What lint calls an error in migrations that are about to run: a line for each, at most ten, then how many more there are. */
export async function concernsOf(
  fleet: Fleet,
  pending: { shared: readonly string[]; tenant: readonly string[] },
  tenantSchemas: readonly string[],
): Promise<string[]> {
  if (pending.shared.length + pending.tenant.length === 0) return [];
  const folders = await readFolders(fleet);
  const files = folders.flatMap(({ shared, migrations }) =>
    migrations.filter(({ name }) => (shared ? pending.shared : pending.tenant).includes(name)).map(({ file }) => file),
  );
  const chosen = (file: string) => files.includes(file);
  const { findings } = await lintWith(fleet, folders, { tenantSchemas, chosen, upOnly: true });
  const errors = findings.filter(({ severity, rule }) => severity === "error" && !refusedAnyway.includes(rule));
  const lines = errors
    .slice(0, mostConcerns)
    .map(({ file, line, rule, message }) => `${basename(file)}:${line}: ${message} (${rule})`);
  const more = errors.length - lines.length;
  return more === 0 ? lines : [...lines, `${more} more of lint's errors in pending migrations: tenantctl lint`];
}

async function chooser(files: readonly string[], words: readonly string[]): Promise<(file: string) => boolean> {
  if (words.length === 0) return () => true;
  const chosen = new Set<string>();
  for (const word of words) {
    const fits = await matcher(word);
    const found = files.filter((file) => formsOf(file).some((form) => fits(form)));
    for (const file of found) chosen.add(file);
    if (found.length > 0) continue;
    const near = nearest(word, files.map(nameOf));
    throw new TenantctlError("MIGRATION_UNKNOWN", `no migration is called ${JSON.stringify(word)}`, {
      hint: near === undefined ? "names, paths or globs of files in the config's folders" : `did you mean ${near}?`,
    });
  }
  return (file) => chosen.has(file);
}

function nameOf(file: string): string {
  return basename(file, extname(file));
}

function formsOf(file: string): string[] {
  return [nameOf(file), basename(file), file];
}

async function matcher(word: string): Promise<(form: string) => boolean> {
  if (!/[*?[\]{}!()]/.test(word)) return (form) => form === word;
  const { default: picomatch } = await import("picomatch");
  return picomatch(word, { dot: true, nonegate: false });
}
