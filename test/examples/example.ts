// An example as `npm install` leaves it, but in a folder of its own: the same links, from what its package.json names.
import { cp, mkdir, mkdtemp, readFile, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type RunningTenantctl, type RunResult, startProgram } from "../support/cli.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Example {
  folder: string;
  path(...parts: string[]): string;
  /** `node <file> …`, or `tenantctl …` as npx finds it. */
  start(program: string, ...args: string[]): RunningTenantctl;
  run(program: string, ...args: string[]): Promise<RunResult>;
}

export interface Dependencies {
  dependencies: Record<string, string>;
}

export async function readPackage<T = Dependencies>(folder: string): Promise<T> {
  return JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
}

/** Removed when the test file ends. It gets no other environment than this. */
export async function copyExample(name: string, env: Record<string, string> = {}): Promise<Example> {
  const copy = await realpath(await mkdtemp(join(tmpdir(), "tenantctl-example-")));
  whenFileEnds(() => rm(copy, { recursive: true, force: true }));
  const folder = join(copy, "examples", name);
  const path = (...parts: string[]) => join(folder, ...parts);
  const isOurs = (file: string) => !/[/\\](node_modules|\.tenantctl|\.env)$/.test(file);
  await cp(join(root, "examples", name), folder, { recursive: true, filter: isOurs });
  await cp(join(root, "migrations"), join(copy, "migrations"), { recursive: true });

  const { dependencies } = await readPackage(folder);
  for (const dependency of Object.keys(dependencies)) {
    const source = dependency === "tenantctl" ? root : join(root, "node_modules", dependency);
    await mkdir(dirname(path("node_modules", dependency)), { recursive: true });
    await symlink(source, path("node_modules", dependency));
  }
  await mkdir(path("node_modules/.bin"));
  await symlink("../tenantctl/bin/tenantctl.js", path("node_modules/.bin/tenantctl"));

  const start: Example["start"] = (program, ...args) => {
    const file = program === "node" ? process.execPath : path("node_modules/.bin", program);
    return startProgram(file, args, { cwd: folder, env, timeoutMs: 110_000 });
  };
  return { folder, path, start, run: (program, ...args) => start(program, ...args).ended };
}

/** An example whose tenants are migrated, on a new database. */
export async function migratedExample(
  name: string,
  env: Record<string, string> = {},
): Promise<{ example: Example; database: TestDatabase }> {
  const database = await createDatabase();
  const example = await copyExample(name, { DATABASE_URL: database.url, ...env });
  const { code, stderr } = await example.run("tenantctl", "migrate", "--quiet");
  if (code !== 0) throw new Error(`exit code ${code}\n${stderr}`);
  return { example, database };
}
