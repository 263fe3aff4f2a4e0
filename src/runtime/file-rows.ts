// The runtime room: the rows of a config file, whoever reads it.

import { type Config, type LoadOptions, loadConfig } from "../config/load.js";
import type { Row } from "../registry/rows.js";

/** The rows that a config lists itself. */
export function rowsOf({ tenants }: Config): Row[] {
  return Array.from(tenants, ([name, entry]) => ({ name, ...entry }));
}

/** @throws TenantctlError CONFIG_NOT_FOUND, CONFIG_INVALID. */
export async function readRows(options: LoadOptions): Promise<Row[]> {
  const config = await loadConfig(options);
  if (config.registry === undefined) return rowsOf(config);
  throw new Error("the config's tenants have moved into the database: start the application again");
}
