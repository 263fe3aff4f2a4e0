// The runtime room: the rows of a config file, whoever reads it.

import { type LoadOptions, loadConfig } from "../config/load.js";
import { type Row, rowsOf } from "../registry/rows.js";

/** @throws TenantctlError CONFIG_NOT_FOUND, CONFIG_INVALID. */
export async function readRows(options: LoadOptions): Promise<Row[]> {
  const config = await loadConfig(options);
  if (config.registry === undefined) return rowsOf(config.tenants);
  throw new Error("the config's tenants have moved into the database: start the application again");
}
