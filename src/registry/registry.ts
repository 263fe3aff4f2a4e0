// Registry room: who the tenants are, wherever they are listed.

import type { Config } from "../config/load.js";
import type { Database } from "../database/database.js";
import type { Registry } from "./contract.js";
import { openFileRegistry } from "./in-file.js";
import { openQueryRegistry } from "./in-query.js";
import { openTableRegistry } from "./in-table.js";

export type { TenantState } from "../config/shape.js";
export { checkEdit, type TenantEdit, type TenantEdited } from "./change.js";
export type { Merged, Registry } from "./contract.js";
export { listedIn } from "./in-file.js";
export { entryOf, type Tenant } from "./tenants.js";

/** The registry that a config has: its own file, a table or a query. Connects to nothing until a registry in the database is asked. */
export function openRegistry(config: Config, database: () => Promise<Database>): Registry {
  const { registry } = config;
  if (registry === undefined) return openFileRegistry(config);
  return "table" in registry
    ? openTableRegistry(config, registry, database)
    : openQueryRegistry(config, registry, database);
}
