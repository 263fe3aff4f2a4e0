// Registry room: entries as tenants, and what two tenants may not share.

import { nearest } from "../config/nearest.js";
import { pathInWords } from "../config/problems.js";
import type { TenantEntry, TenantState } from "../config/shape.js";
import { type ErrorCode, TenantctlError } from "../errors.js";
import { checkHost, checkSchemaName, checkTenantName, foldHost, isPlainName, shown } from "./names.js";

/** A customer: a name, a schema, zero or more hosts, labels, and whether it is served. */
export interface Tenant {
  name: string;
  schema: string;
  /** In lower case, IPv6 addresses in their shortest form. */
  hosts: string[];
  labels: Record<string, string>;
  /** Suspended: not served, and kept up to date. Archived: left out unless it is named. */
  state: TenantState;
}

/** The tenants of a registry, found by what is theirs alone. */
export interface Owners {
  tenants: ReadonlyMap<string, Tenant>;
  schemas: ReadonlyMap<string, string>;
  hosts: ReadonlyMap<string, string>;
}

/** Schemas that no tenant may have, each with why. */
export type Reserved = ReadonlyMap<string, string>;

export function reservedBy(sharedSchemas: readonly string[]): Map<string, string> {
  return new Map(sharedSchemas.map((schema) => [schema, "is one of sharedSchemas"]));
}

/**
 * Reads every entry, and says what is wrong with each: a name that can't be, a schema or host that another tenant has.
 * `under` is where the entries are, for what it says.
 */
export function readTenants(
  entries: ReadonlyMap<string, TenantEntry>,
  reserved: Reserved,
  under: readonly string[] = ["tenants"],
) {
  const problems: string[] = [];
  const tenants = new Map<string, Tenant>();
  const schemas = new Map<string, string>();
  const hosts = new Map<string, string>();
  for (const [name, entry] of entries) {
    const tenant = tenantOf(name, entry);
    const wrong = (message: string, ...keys: PropertyKey[]) =>
      problems.push(`${pathInWords([...under, name, ...keys])}: ${message}`);
    checkEntry(tenant, entry, reserved, wrong, (kind, claimed) => {
      const holders = kind === "schema" ? schemas : hosts;
      const holder = holders.get(claimed);
      holders.set(claimed, holder ?? name);
      return holder;
    });
    tenants.set(name, tenant);
  }
  return { tenants, schemas, hosts, problems };
}

/**
 * Says what is wrong with one entry.
 *
 * @param claim takes a schema or host for this tenant, and returns whose it is already. Without it nobody has any.
 */
export function checkEntry(
  tenant: Tenant,
  entry: TenantEntry,
  reserved: Reserved,
  wrong: (message: string, ...keys: PropertyKey[]) => void,
  claim: (kind: "schema" | "host", claimed: string) => string | undefined = () => undefined,
): void {
  if (!isPlainName(tenant.name)) for (const problem of problemsIn(() => checkTenantName(tenant.name))) wrong(problem);
  if (entry.schema !== undefined) {
    for (const problem of problemsIn(() => checkSchemaName(tenant.schema))) wrong(problem, "schema");
  }
  const owner = claim("schema", tenant.schema);
  const why = reserved.get(tenant.schema) ?? (owner === undefined ? undefined : ownedBy(owner));
  if (why !== undefined)
    wrong(`schema ${shown(tenant.schema)} ${why}`, ...(entry.schema === undefined ? [] : ["schema"]));
  for (const [index, host] of tenant.hosts.entries()) {
    for (const problem of problemsIn(() => checkHost(host))) wrong(problem, "hosts", index);
    const taken = claim("host", host);
    if (taken !== undefined) wrong(`host ${shown(host)} ${ownedBy(taken)}`, "hosts", index);
  }
}

/**
 * May this tenant join these?
 *
 * @returns the tenant as it is kept, its hosts in lower case.
 * @throws TenantctlError NAME_INVALID, TENANT_EXISTS, SCHEMA_EXISTS, HOST_TAKEN.
 */
export function admit(tenant: Tenant, owners: Owners, reserved: Reserved): Tenant {
  checkTenantName(tenant.name);
  checkSchemaName(tenant.schema);
  const hosts = tenant.hosts.map(checkHost);
  if (owners.tenants.has(tenant.name))
    refuse(
      "TENANT_EXISTS",
      `tenant ${shown(tenant.name)} exists already`,
      "tenantctl list shows the names that are taken",
    );
  const schema = shown(tenant.schema);
  const owner = owners.schemas.get(tenant.schema);
  const why = reserved.get(tenant.schema) ?? (owner === undefined ? undefined : ownedBy(owner));
  if (why !== undefined) refuse("SCHEMA_EXISTS", `schema ${schema} ${why}`, otherSchema);
  for (const [index, host] of hosts.entries()) {
    const taken = owners.hosts.get(host) ?? (hosts.indexOf(host) < index ? tenant.name : undefined);
    if (taken !== undefined)
      refuse("HOST_TAKEN", `host ${shown(host)} ${ownedBy(taken)}`, "a host leads to one tenant");
  }
  return { ...tenant, hosts };
}

/** What the file says of a tenant: only what differs from the default. */
export function entryOf({ name, schema, hosts, labels, state }: Tenant): TenantEntry {
  return {
    ...(schema === name ? {} : { schema }),
    ...(hosts.length === 0 ? {} : { hosts }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(state === "active" ? {} : { state }),
  };
}

// Most tenants have none, and there may be 50,000 of them.
const noHosts: string[] = Object.freeze([] as string[]) as string[];
const noLabels: Record<string, string> = Object.freeze({});

/** The tenant that an entry describes. */
export function tenantOf(name: string, entry: TenantEntry): Tenant {
  return {
    name,
    schema: entry.schema ?? name,
    hosts: entry.hosts?.map(foldHost) ?? noHosts,
    labels: entry.labels === undefined ? noLabels : { ...entry.labels },
    state: entry.state ?? "active",
  };
}

/** Whether one of these is a tenant with this schema. */
export function someHasSchema(entries: ReadonlyMap<string, TenantEntry>, schema: string): boolean {
  return [...entries].some(([name, entry]) => tenantOf(name, entry).schema === schema);
}

/** What a check has to say, if anything. */
export function problemsIn(check: () => void): string[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!(error instanceof TenantctlError)) throw error;
    return [error.message];
  }
}

/** The error for a name that no tenant has, with the nearest one that is. */
export function unknownTenant(name: string, names: Iterable<string>): TenantctlError {
  const meant = nearest(name, names);
  return new TenantctlError("TENANT_UNKNOWN", `no tenant is called ${shown(name)}`, {
    hint: meant === undefined ? "tenantctl list shows the names" : `did you mean ${meant}?`,
  });
}

const ownedBy = (tenant: string) => `is already that of tenant ${shown(tenant)}`;
const otherSchema = "--schema gives it another one";

function refuse(code: ErrorCode, message: string, hint: string): never {
  throw new TenantctlError(code, message, { hint });
}
