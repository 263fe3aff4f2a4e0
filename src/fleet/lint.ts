// The fleet room: lint, with what the config says about schemas. It needs no database.

import { basename, extname } from "node:path";
import { TenantctlError } from "../errors.js";
import { readFolder } from "../migrations/files.js";
import type { LintResult } from "../migrations/lint.js";
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
  const { migrations: folders } = fleet.config;
  const read = [
    ...(folders.shared === undefined ? [] : [{ shared: true, ...(await readFolder(folders.shared)) }]),
    { shared: false, ...(await readFolder(folders.tenant)) },
  ];
  const files = read.flatMap((folder) => folder.files);
  const { lintMigrations } = await import("../migrations/lint.js"); // its rules are many files, which no other command needs
  return await lintMigrations(read, {
    sharedSchemas: sharedIn(fleet),
    mayChange: folders.mayChange,
    tenantSchemas,
    chosen: await chooser(files, migrations),
    suggest: nearest,
  });
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
