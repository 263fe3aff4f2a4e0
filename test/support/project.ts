// A folder as a user of tenantctl has it: a config file and migrations.
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type RunningTenantctl, type RunOptions, type RunResult, startTenantctl, tenantctl } from "./cli.ts";
import { whenFileEnds } from "./ending.ts";

export interface ProjectContents {
  /** What the config's `database` says; left out of the file when undefined. */
  database?: { url: string } | string;
  tenants?: unknown;
  /** File name to SQL (or module text), in migrations/tenant. */
  migrations?: Record<string, string>;
  /** The same, in migrations/shared; the config names that folder only when there is something in it. */
  shared?: Record<string, string>;
  /** What tenants' migrations may change outside of their schema. */
  mayChange?: string[];
  /** More of the config; wins over what the above make of it. */
  config?: Record<string, unknown>;
}

export interface TestProject {
  folder: string;
  /** Path of tenants.config.json. */
  configFile: string;
  path(...parts: string[]): string;
  read(file: string): Promise<string>;
  write(file: string, text: string): Promise<void>;
  /** Runs the binary in this folder. */
  tenantctl(args: string[], options?: RunOptions): Promise<RunResult>;
  startTenantctl(args: string[], options?: RunOptions): RunningTenantctl;
}

/** Removed when the test file ends. */
export async function createProject(contents: ProjectContents = {}): Promise<TestProject> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "tenantctl-project-")));
  whenFileEnds(() => rm(folder, { recursive: true, force: true }));
  const path = (...parts: string[]) => join(folder, ...parts);
  const write = async (file: string, text: string) => {
    await mkdir(dirname(path(file)), { recursive: true });
    await writeFile(path(file), text);
  };

  await write("tenants.config.json", `${JSON.stringify(configOf(contents), null, 2)}\n`);
  await mkdir(path("migrations/tenant"), { recursive: true });
  for (const [file, text] of Object.entries(contents.migrations ?? {})) await write(`migrations/tenant/${file}`, text);
  for (const [file, text] of Object.entries(contents.shared ?? {})) await write(`migrations/shared/${file}`, text);

  return {
    folder,
    configFile: path("tenants.config.json"),
    path,
    read: (file) => readFile(path(file), "utf8"),
    write,
    tenantctl: (args, options) => tenantctl(args, { cwd: folder, ...options }),
    startTenantctl: (args, options) => startTenantctl(args, { cwd: folder, ...options }),
  };
}

function configOf({ database, tenants = {}, shared, mayChange, config }: ProjectContents): Record<string, unknown> {
  return {
    ...(database === undefined ? {} : { database: typeof database === "string" ? database : database.url }),
    migrations: {
      tenant: "migrations/tenant",
      ...(shared === undefined ? {} : { shared: "migrations/shared" }),
      ...(mayChange === undefined ? {} : { mayChange }),
    },
    tenants,
    ...config,
  };
}
