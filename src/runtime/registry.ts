// The runtime room: a registry that follows its config file, and one that somebody else gives.

import { stat } from "node:fs/promises";
import type { Config, LoadOptions } from "../config/load.js";
import { type Database, openDatabase } from "../database/database.js";
import type { Tenant } from "../registry/index.js";
import { openRegistry } from "../registry/registry.js";
import { rowsOf } from "../registry/rows.js";
import type { Listed } from "./directory.js";
import { listFile } from "./file-reader.js";
import { readRows } from "./file-rows.js";

/** A tenant as a registry of the application's own lists it: what is left out is as in a config. */
export type ListedTenant = Pick<Tenant, "name"> & Partial<Tenant>;

/** Where the tenants come from: a registry of tenantctl, or anything that lists them. */
export interface TenantSource {
  tenants(): Promise<readonly ListedTenant[]>;
}

/** A registry that somebody else gives. */
export function givenRegistry(source: TenantSource): Listed {
  return { list: async () => ({ rows: await source.tenants(), version: undefined }) };
}

/** The registry that a config has: its own file, or a table or query, for which it opens one connection. */
export function configRegistry(config: Config, options: LoadOptions): Listed & { close(): Promise<void> } {
  if (config.registry === undefined) return { ...fileRegistry(config, options), close: async () => {} };
  let opened: Promise<Database> | undefined;
  const open = () => {
    opened ??= openDatabase(config.database(), { maxConnections: 1 }).catch((error: unknown) => {
      opened = undefined; // the next reading tries again
      throw error;
    });
    return opened;
  };
  const registry = openRegistry(config, open);
  return { list: registry.list, close: async () => await (await opened)?.close() };
}

/** A text is read again only when it has changed; a program could say anything, and is run again. */
function fileRegistry(config: Config, options: LoadOptions): Listed {
  let loaded: Config | undefined = config;
  return {
    async list(known) {
      if (loaded !== undefined) {
        // what was loaded before we look at the file may be older than what it is now
        const rows = rowsOf(loaded.tenants);
        loaded = undefined;
        return { rows, version: undefined };
      }
      const version = await versionOf(config.file);
      if (version !== undefined && version === known) return undefined;
      const again = { ...options, config: config.file };
      return { rows: await (version === undefined ? readRows(again) : listFile(again)), version };
    },
  };
}

async function versionOf(file: string): Promise<string | undefined> {
  if (!/\.(json|jsonc|ya?ml)$/.test(file)) return undefined;
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch {
    return undefined; // reading it says what is wrong
  }
}
