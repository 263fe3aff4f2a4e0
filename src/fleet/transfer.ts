// The fleet room: the registry as a text, and a text into the registry: how tenants move from a file to a table and back.

import { entryOf, listedIn, type Merged, type Tenant } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";
import { retiredOf } from "./retired.js";
import { newRunId } from "./runs.js";
import { writeNewFile } from "./scaffold.js";
import { shareSchemas } from "./share.js";
import { withRegistry } from "./shared.js";

/** All the tenants, as a config file lists them; written to a new file too, where one is named. @throws TenantctlError FILE_EXISTS. */
export async function exportTenants(
  fleet: Fleet,
  options: { out?: string | undefined } = {},
): Promise<{ tenants: Record<string, object> }> {
  const tenants = await fleet.registry.tenants();
  const listing = { tenants: Object.fromEntries(tenants.map((tenant) => [tenant.name, entryOf(tenant)])) };
  if (options.out !== undefined) await writeNewFile(options.out, `${JSON.stringify(listing, null, 2)}\n`);
  return listing;
}

export interface ImportOptions {
  /** Tell what would be done, and write nothing. */
  dryRun?: boolean;
  /** Where a relative path counts from. Default: the working directory. */
  cwd?: string;
  /** Take schema names that were other tenants' a short while ago. */
  reuseName?: boolean;
}

/**
 * Lists all the tenants of a file in the registry's table: an export, or a config of any format. In one transaction: those that are new
 * are added, those that are there become as the file has them, and those that the file does not have stay. Creates no schema.
 * @throws TenantctlError CONFIG_NOT_FOUND, NAME_RETIRED, CONFIG_NOT_EDITABLE where the registry is no table; ProblemsError CONFIG_INVALID for the file,
 * REGISTRY_INVALID for what can't be beside the tenants that are there. Nothing was written.
 */
export async function importTenants(fleet: Fleet, file: string, options: ImportOptions = {}): Promise<Merged> {
  const tenants = await listedIn(file, options.cwd ?? process.cwd());
  const merge = async () => {
    // The table may be new: who the other tenants are is not for tenants to read.
    if (!options.dryRun && fleet.registry.inDatabase) await shareSchemas(fleet, await fleet.database());
    return await fleet.registry.merge(tenants, { dryRun: options.dryRun ?? false });
  };
  if (!options.reuseName) await refuseRetired(fleet, tenants);
  if (options.dryRun) return await merge();
  return await withRegistry(fleet, newRunId(), {}, merge);
}

// Those that are there already keep their schemas.
async function refuseRetired(fleet: Fleet, tenants: readonly Tenant[]): Promise<void> {
  if (!fleet.registry.inDatabase) return; // nothing is merged into a file
  const database = await fleet.database();
  const retired = await database.withClient((client) => retiredOf(client, tenants));
  if (retired.size === 0) return;
  const { added } = await fleet.registry.merge(tenants, { dryRun: true });
  const names = new Set(added);
  for (const { name, schema } of tenants) {
    const why = names.has(name) ? retired.get(schema) : undefined;
    if (why !== undefined) throw why;
  }
}
