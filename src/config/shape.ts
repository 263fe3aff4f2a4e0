// Config room: a quick look at the config's shape, since most are right and zod takes 70 ms to load.

/** The file's value, its shape checked. */
export interface ConfigFile {
  $schema?: string;
  database?: string;
  directDatabase?: string;
  migrations?: { tenant?: string; shared?: string; mayChange?: string[]; mayLookUp?: string[] };
  sharedSchemas?: string[];
  appRole?: string;
  isolation?: "schema" | "role";
  isolationAllows?: string[];
  sharedAccess?: Record<string, string>;
  transaction?: "tenant" | "migration";
  tenants?: Record<string, TenantEntry | null> | RegistryInDatabase | null;
}

/** Whether the application serves a tenant, and whether it goes along with the fleet: an archived one is left behind. */
export type TenantState = "active" | "suspended" | "archived";

/** A tenant as the file has it. */
export interface TenantEntry {
  schema?: string;
  hosts?: string[];
  labels?: Record<string, string>;
  /** Default: active. */
  state?: TenantState;
}

/** Where the tenants are listed in the database: in a table, or by what a query answers. */
export type RegistryInDatabase = RegistryTable | RegistryQuery;

export interface RegistryTable {
  /** As SQL writes it: `public.tenants`, `"Weird schema"."t"`. */
  table: string;
  /** The names of its columns, where they are not called like this. */
  columns?: Partial<Record<RegistryColumn, string>>;
}

export interface RegistryQuery {
  query: string;
}

export type RegistryColumn = "name" | "schema" | "hosts" | "labels" | "state";

type Is = (value: unknown) => boolean;

const isText: Is = (value) => typeof value === "string";
const isList: Is = (value) => Array.isArray(value) && value.every(isText);
const isAccess: Is = (value) => isText(value) && accessPattern.test(value as string);
const isState: Is = (value) => value === "active" || value === "suspended" || value === "archived";
const isTenantMap = hasKeys({ schema: isText, hosts: isList, labels: mapOf(isText), state: isState });
const isTenant: Is = (value) => value === null || isTenantMap(value);
const registries = {
  table: hasKeys({
    table: isText,
    columns: hasKeys({ name: isText, schema: isText, hosts: isText, labels: isText, state: isText }),
  }),
  query: hasKeys({ query: isText }),
  map: mapOf(isTenant),
};
const isConfig = hasKeys({
  $schema: isText,
  database: isText,
  directDatabase: isText,
  migrations: hasKeys({ tenant: isText, shared: isText, mayChange: isList, mayLookUp: isList }),
  sharedSchemas: isList,
  appRole: isText,
  isolation: (value) => value === "schema" || value === "role",
  isolationAllows: (value) => isList(value) && (value as string[]).every((text) => rightPattern.test(text)),
  sharedAccess: (value) =>
    mapOf(isAccess)(value) && Object.keys(value as object).every((key) => sharedNamePattern.test(key)),
  transaction: (value) => value === "tenant" || value === "migration",
  tenants: (value) => value === null || registries[registryKind(value)](value),
});

/** What `isolationAllows` and `--allow` are made of: a privilege and an object, as verify-isolation tells them. */
export const rightPattern = /^\s*\S+ +\S/;

/** A key of `sharedAccess`: a table or sequence as SQL writes it, or all those of a schema. */
export const sharedNamePattern =
  /^\s*(?:(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)\s*\.\s*)?(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*|\*)\s*$/u;

/** A value of `sharedAccess`. */
export const accessPattern =
  /^\s*(?:select|insert|update|delete|usage)(?:\s*,\s*(?:select|insert|update|delete|usage))*\s*$/i;

/** Would the zod schema accept it? That one alone says what is wrong. */
export function hasConfigShape(value: unknown): value is ConfigFile {
  return isConfig(value);
}

/** Which of the three forms `tenants` has. A tenant's entry is a map, so that tenants may be called table and query. */
export function registryKind(tenants: unknown): "table" | "query" | "map" {
  if (isMap(tenants) && isText(tenants.table)) return "table";
  return isMap(tenants) && isText(tenants.query) ? "query" : "map";
}

/** The registry in the database that `tenants` names, if it is one. */
export function registryIn(tenants: ConfigFile["tenants"]): RegistryInDatabase | undefined {
  return registryKind(tenants) === "map" ? undefined : (tenants as RegistryInDatabase);
}

/** All of them may be left out, and there are no others. */
function hasKeys(keys: Record<string, Is>): Is {
  return (value) => isMap(value) && Object.keys(value).every((key) => hasKey(keys, key, value[key]));
}

function hasKey(keys: Record<string, Is>, key: string, inner: unknown): boolean {
  return Object.hasOwn(keys, key) && (inner === undefined || keys[key]?.(inner) === true);
}

function mapOf(is: Is): Is {
  return (value) => isMap(value) && Object.values(value).every(is);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
