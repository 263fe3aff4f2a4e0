// Config room: from a file and the environment to one plain Config.

import path from "node:path";
import { TenantctlError } from "../errors.js";
import { type DatabaseSettings, type DatabaseUrl, settleDatabase } from "./connection.js";
import { withDotEnv } from "./dotenv.js";
import { type Environment, expand } from "./expand.js";
import { findConfig } from "./find.js";
import { environmentLocates } from "./parameters.js";
import { configError, type Problem } from "./problems.js";
import { type ConfigFile, hasConfigShape, type RegistryInDatabase, registryIn, type TenantEntry } from "./shape.js";
import type { Source } from "./source.js";
import { refuseForeign } from "./trust.js";

export type { RegistryInDatabase, TenantEntry } from "./shape.js";

/** What the command line or the caller says about the config. */
export interface LoadOptions {
  /** The config file; without it, it is looked for from `cwd` upwards. */
  config?: string;
  /** A database URL that goes before every other. */
  database?: string;
  /** Defaults to the working directory. */
  cwd?: string;
  /** Defaults to `process.env`. Never changed. */
  env?: Environment;
  /** False: a TypeScript or JavaScript config is refused, not run. */
  modules?: boolean;
}

/** The config, checked and expanded. */
export interface Config {
  /** Absolute path of the config file. */
  file: string;
  /** Its folder; relative paths count from here. */
  root: string;
  /** Absolute folders, and what tenants' migrations may change outside of the tenant's own schema. */
  migrations: { tenant: string; shared: string | undefined; mayChange: string[]; mayLookUp: string[] };
  sharedSchemas: string[];
  appRole: string | undefined;
  /** What keeps tenants apart: the search_path alone, or a role for each. */
  isolation: "schema" | "role";
  /** Rights that verify-isolation takes for wanted. */
  isolationAllows: string[];
  /** What tenants' roles may do with shared tables, as the file has it; undefined where it says nothing. */
  sharedAccess: Readonly<Record<string, string>> | undefined;
  /** What one transaction spans: all that a tenant lacks, or one migration. */
  transaction: "tenant" | "migration";
  /** In the file's order. Shapes are checked here, names and collisions by the registry. */
  tenants: Map<string, TenantEntry>;
  /** Where in the database the tenants are listed; undefined when the file lists them. */
  registry: RegistryInDatabase | undefined;
  /**
   * Where to connect. Settled only when asked, so that `list` works without a database.
   *
   * @throws TenantctlError CONFIG_INVALID when nothing says where, or what says so is wrong.
   */
  database(): DatabaseSettings;
  /**
   * Past the pooler, for what needs a session. Undefined when the config has no `directDatabase`, and when `--database` or
   * TENANTCTL_DATABASE_URL lead away from the config, whose `directDatabase` could then be another database.
   *
   * @throws TenantctlError CONFIG_INVALID when it is wrong.
   */
  directDatabase(): DatabaseSettings | undefined;
  /** The environment that we were started in, for programs that we start; without what `.env` says. */
  environment: Environment;
}

/**
 * Finds, reads and checks the config.
 *
 * @throws TenantctlError CONFIG_NOT_FOUND, CONFIG_UNTRUSTED, or CONFIG_INVALID: a ProblemsError that has everything that is wrong.
 */
export async function loadConfig(options: LoadOptions = {}): Promise<Config> {
  const cwd = path.resolve(options.cwd ?? process.cwd());
  const environment = options.env ?? process.env;
  const { config, modules } = options;
  const source = await findConfig({ cwd, config, env: environment, modules });
  const file = await checkShape(source);
  const root = path.dirname(source.file);
  if (config === undefined) refuseForeign(path.join(root, ".env"), environment);
  const env = withDotEnv(root, environment);
  const settings = await expandSettings(source, file, env);
  const elsewhere = databaseElsewhere(options.database, env, cwd);
  return {
    file: source.file,
    root,
    migrations: {
      tenant: path.resolve(root, settings.migrations.tenant),
      shared: settings.migrations.shared === undefined ? undefined : path.resolve(root, settings.migrations.shared),
      mayChange: file.migrations?.mayChange ?? [],
      mayLookUp: file.migrations?.mayLookUp ?? [],
    },
    sharedSchemas: settings.sharedSchemas,
    appRole: settings.appRole,
    isolation: file.isolation ?? "schema",
    isolationAllows: file.isolationAllows ?? [],
    sharedAccess: file.sharedAccess,
    transaction: file.transaction ?? "tenant",
    tenants: tenantsOf(source, file),
    registry: settings.registry,
    database: once(() => settleDatabase(elsewhere ?? databaseHere(source, file, env, cwd), env, cwd)),
    environment,
    directDatabase: once(() => {
      if (elsewhere !== undefined || file.directDatabase === undefined) return undefined;
      return settleDatabase(urlInFile(source, "directDatabase", file.directDatabase, env), env, cwd);
    }),
  };
}

/**
 * The database of these options alone, for whoever needs no config file.
 *
 * @throws TenantctlError CONFIG_INVALID.
 */
export function databaseAt(options: LoadOptions): DatabaseSettings {
  const cwd = path.resolve(options.cwd ?? process.cwd());
  const url = { url: options.database, source: "database", folder: cwd };
  return settleDatabase(url, options.env ?? process.env, cwd);
}

/**
 * The file's value, if it has the shape of a config.
 *
 * @throws ProblemsError CONFIG_INVALID with everything that is wrong.
 */
export async function checkShape(source: Source): Promise<ConfigFile> {
  if (hasConfigShape(source.value)) return source.value;
  const { problemsOf } = await import("./schema.js");
  throw await configError(source, problemsOf(source.value));
}

/** The tenants that the file itself lists, in its order. */
export function tenantsOf(source: Source, { tenants }: ConfigFile): Map<string, TenantEntry> {
  if (registryIn(tenants) !== undefined) return new Map();
  const entries = tenants as Record<string, TenantEntry | null> | null | undefined;
  const found = new Map<string, TenantEntry>();
  for (const name of source.tenantNames()) found.set(name, entries?.[name] ?? {});
  return found;
}

/** What is expanded at once: a tenant's command needs all of it. */
async function expandSettings(source: Source, file: ConfigFile, env: Environment) {
  const problems: Problem[] = [];
  const fill = (text: string, ...keys: PropertyKey[]): string => {
    const expansion = expand(text, env);
    if ("text" in expansion) return expansion.text;
    problems.push({ path: keys, message: expansion.problem });
    return text;
  };
  const { migrations, appRole } = file;
  const settings = {
    migrations: {
      tenant: fill(migrations?.tenant ?? "migrations/tenant", "migrations", "tenant"),
      shared: migrations?.shared === undefined ? undefined : fill(migrations.shared, "migrations", "shared"),
    },
    sharedSchemas: (file.sharedSchemas ?? []).map((schema, index) => fill(schema, "sharedSchemas", index)),
    appRole: appRole === undefined ? undefined : fill(appRole, "appRole"),
    registry: filledRegistry(registryIn(file.tenants), fill),
  };
  if (problems.length > 0)
    throw await configError(source, problems, "set it in the environment, or in .env beside the config");
  return settings;
}

function filledRegistry(
  registry: RegistryInDatabase | undefined,
  fill: (text: string, ...keys: PropertyKey[]) => string,
): RegistryInDatabase | undefined {
  if (registry === undefined) return undefined;
  if ("query" in registry) return { query: fill(registry.query, "tenants", "query") };
  return { ...registry, table: fill(registry.table, "tenants", "table") };
}

/** The database that goes before the config's, if any. */
function databaseElsewhere(option: string | undefined, env: Environment, cwd: string): DatabaseUrl | undefined {
  if (option !== undefined) return { url: option, source: "--database", folder: cwd };
  // CI systems set what they have no secret for to nothing
  const url = env.TENANTCTL_DATABASE_URL;
  return url ? { url, source: "TENANTCTL_DATABASE_URL", folder: cwd } : undefined;
}

function databaseHere(source: Source, file: ConfigFile, env: Environment, cwd: string): DatabaseUrl {
  if (file.database !== undefined) return urlInFile(source, "database", file.database, env);
  if (env.DATABASE_URL) return { url: env.DATABASE_URL, source: "DATABASE_URL", folder: cwd };
  if (environmentLocates(env)) return { url: undefined, source: "PGHOST and its like", folder: cwd };
  throw new TenantctlError("CONFIG_INVALID", "nothing says which database to connect to", {
    hint: `--database, TENANTCTL_DATABASE_URL, "database" in ${source.label}, DATABASE_URL, or PGHOST and its like (.env counts)`,
  });
}

function urlInFile(source: Source, key: string, text: string, env: Environment): DatabaseUrl {
  const expansion = expand(text, env);
  if ("text" in expansion)
    return { url: expansion.text, source: path.basename(source.file), folder: path.dirname(source.file) };
  throw new TenantctlError(
    "CONFIG_INVALID",
    `${source.label}: ${[...source.prefix, key].join(".")}: ${expansion.problem}`,
    {
      hint: "set it in the environment or in .env beside the config, or name the database with --database",
    },
  );
}

function once<T>(settle: () => T): () => T {
  let settled: { value: T } | undefined;
  return () => {
    settled ??= { value: settle() };
    return settled.value;
  };
}
