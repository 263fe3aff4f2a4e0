// The fleet room: which of the tenants' schemas are not there, asked once for all of them.

import type { Database } from "../database/database.js";
import { TenantctlError } from "../errors.js";

/**
 * Looks for the tenants' schemas. Where one is missing, names would lead into a shared schema.
 * @returns what throws TenantctlError SCHEMA_MISSING for a tenant without one.
 */
export async function schemaChecker(
  database: Database,
  tenants: readonly { schema: string }[],
): Promise<(tenant: { schema: string }) => void> {
  const schemas = tenants.map((tenant) => tenant.schema);
  const { rows } = await database.withClient((client) =>
    client.query<{ nspname: string }>("select nspname from pg_namespace where nspname = any($1)", [schemas]),
  );
  const found = new Set(rows.map((row) => row.nspname));
  return ({ schema }) => {
    if (found.has(schema)) return;
    throw new TenantctlError("SCHEMA_MISSING", `there is no schema ${JSON.stringify(schema)}`, {
      hint: "tenantctl migrate creates it",
    });
  };
}
