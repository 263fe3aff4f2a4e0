// The fleet room: the registry as a text, and a text into the registry: how tenants move from a file to a table and back.

import { entryOf, listedIn, type Merged } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";
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
}

/**
 * Lists all the tenants of a file in the registry's table: an export, or a config of any format. In one transaction: those that are new
 * are added, those that are there become as the file has them, and those that the file does not have stay. Creates no schema.
 * @throws TenantctlError CONFIG_NOT_FOUND, CONFIG_NOT_EDITABLE where the registry is no table; ProblemsError CONFIG_INVALID for the file,
 * REGISTRY_INVALID for what can't be beside the tenants that are there. Nothing was written.
 */
export async function importTenants(fleet: Fleet, file: string, options: ImportOptions = {}): Promise<Merged> {
  const tenants = await listedIn(file, options.cwd ?? process.cwd());
  const merge = () => fleet.registry.merge(tenants, { dryRun: options.dryRun ?? false });
  if (options.dryRun) return await merge();
  const merged = await withRegistry(fleet, newRunId(), {}, merge);
  // The table may have come to be just now: who the other tenants are is nothing for a tenant to read.
  if (fleet.config.isolation === "role") await shareSchemas(fleet, await fleet.database());
  return merged;
}
