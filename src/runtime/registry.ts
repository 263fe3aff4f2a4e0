// The runtime room: a registry that follows its config file, and one that somebody else gives.

import { stat } from "node:fs/promises";
import { type Config, type LoadOptions, loadConfig } from "../config/load.js";
import { type Database, openDatabase } from "../database/database.js";
import { ProblemsError } from "../errors.js";
import type { Tenant } from "../registry/index.js";
import { openRegistry } from "../registry/registry.js";
import { entryOf, readTenants, reservedBy } from "../registry/tenants.js";

/** A tenant as a registry of the application's own lists it: what is left out is as in a config. */
export type ListedTenant = Pick<Tenant, "name"> & Partial<Tenant>;

/** Where the tenants come from: a registry of tenantctl, or anything that lists them. */
export interface TenantSource {
  tenants(): Promise<readonly ListedTenant[]>;
}

/** The registry that a config has: its own file, or a table or query, for which it opens one connection. */
export function configRegistry(config: Config, options: LoadOptions): TenantSource & { close(): Promise<void> } {
  if (config.registry === undefined) return { ...fileRegistry(config, options), close: async () => {} };
  let opened: Promise<Database> | undefined;
  const open = () => {
    opened ??= openDatabase(config.database(), { maxConnections: 1 }).catch((error: unknown) => {
      opened = undefined; // the next reading tries again
      throw error;
    });
    return opened;
  };
  return { tenants: () => openRegistry(config, open).tenants(), close: async () => await (await opened)?.close() };
}

/** A text is read again only when it has changed; a program could say anything, and is run again. */
function fileRegistry(config: Config, options: LoadOptions): TenantSource {
  let loaded: Config | undefined = config;
  let last: { tenants: Tenant[]; version: string | undefined } | undefined;
  return {
    async tenants() {
      const version = await versionOf(config.file);
      if (last === undefined || version === undefined || version !== last.version) {
        const found = loaded ?? (await loadConfig({ ...options, config: config.file }));
        const tenants = await openRegistry(found, noDatabase).tenants();
        // what was loaded before we looked at the file may be older than what it is now
        last = { tenants, version: loaded === undefined ? version : undefined };
        loaded = undefined;
      }
      return last.tenants;
    },
  };
}

function noDatabase(): never {
  throw new Error("the config's tenants have moved into the database: start the application again");
}

async function versionOf(file: string): Promise<string | undefined> {
  if (!/\.(json|jsonc|ya?ml)$/.test(file)) return undefined;
  try {
    const { ino, size, mtimeNs } = await stat(file, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch {
    return undefined; // reading it says what is wrong
  }
}

const unsaid = { labels: {}, state: "active" } as const;

/**
 * Tenants as they are kept, whoever lists them.
 *
 * @throws ProblemsError CONFIG_INVALID with every wrong name and collision.
 */
export function checkedTenants(found: readonly ListedTenant[], sharedSchemas: readonly string[]): Tenant[] {
  const names = new Set<string>();
  const twice = found.filter(({ name }) => names.size === names.add(name).size);
  const entries = new Map(
    found.map((tenant) => [tenant.name, entryOf({ ...unsaid, hosts: [], schema: tenant.name, ...tenant })]),
  );
  const { tenants, problems } = readTenants(entries, reservedBy(sharedSchemas));
  problems.push(...twice.map(({ name }) => `tenants.${name}: is there twice`));
  if (problems.length > 0) throw new ProblemsError("CONFIG_INVALID", "the registry is not valid", problems);
  return [...tenants.values()];
}
