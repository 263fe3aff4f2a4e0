// Migrations tests: a folder of migration files, and what is read from it.
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { ProblemsError, TenantctlError } from "../../src/errors.js";
import { type Migration, readMigrations } from "../../src/migrations/files.js";
import { createPreparer, type Direction, prepareAll } from "../../src/migrations/prepare.js";

/** Writes the files into a new folder, gone after the test. */
export async function folderOf(files: Record<string, string | Uint8Array>): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "tenantctl-migrations-")));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

export async function migrationsOf(files: Record<string, string | Uint8Array>): Promise<Migration[]> {
  return await readMigrations(await folderOf(files));
}

/** What is wrong with the files, without the folder's name: at reading them, or at making them ready to run. */
export async function problemsOf(
  files: Record<string, string | Uint8Array>,
  direction: Direction = "up",
): Promise<string[]> {
  const folder = await folderOf(files);
  try {
    const migrations = await readMigrations(folder);
    const names = migrations.map(({ name }) => name);
    await prepareAll(createPreparer(migrations), names, direction);
    return [];
  } catch (error) {
    if (!(error instanceof TenantctlError)) throw error;
    const problems = error instanceof ProblemsError ? error.problems : [error.message];
    return problems.map((problem) => problem.replaceAll(`${folder}/`, "").replaceAll(folder, "."));
  }
}
