// The fleet room: what doctor has to say of shared tables: those that every tenant can read, and that say which row is whose.

import type { Database } from "../database/database.js";
import { identifier, qualified } from "../database/quote.js";
import { sharedRole } from "../database/roles.js";
import { withTransaction } from "../database/transaction.js";
import type { Noted } from "./doctor-findings.js";

// `tenant`, `tenant_id`, `customer_name`, `org`: a column that says whose a row is.
const ownerColumn =
  "^(tenant|customer|client|account|organi[sz]ation|org|company|workspace|schema)(_?(id|uuid|name|key|slug|schema|ref|no|code))?$";

/**
 * Finds what every tenant's role can read in the shared schemas and what has a column that names a tenant, without row level security: one tenant then
 * reads the rows of all.
 */
export async function examineShared(
  database: Database,
  sharedSchemas: readonly string[],
  isPrivate: (schema: string, name: string) => boolean,
): Promise<Noted[]> {
  const { rows } = await withTransaction(database, async (client) => {
    await client.query("set local jit = off");
    return await client.query<{ schema: string; name: string; isTable: boolean; columns: string }>(
      `select n.nspname::text as schema, c.relname::text as name, c.relkind in ('r', 'p') as "isTable",
         string_agg(a.attname, ', ' order by a.attnum) as columns
       from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.rolname = $2
         join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname ~* $3
       where n.nspname = any($1) and c.relkind in ('r', 'p', 'f', 'v', 'm') and not c.relrowsecurity
         and has_schema_privilege(r.oid, n.oid, 'usage') and has_column_privilege(r.oid, c.oid, a.attnum, 'select')
       group by 1, 2, 3 order by 1, 2`,
      [[...new Set([...sharedSchemas, "public"])], sharedRole(database.capabilities.database), ownerColumn],
    );
  });
  return rows
    .filter(({ schema, name }) => !isPrivate(schema, name))
    .map(({ schema, name, isTable, columns }) => ({
      severity: "warning",
      check: "role",
      where: `${schema}.${name}`,
      message: `every tenant can read it, also the rows of others: it has ${columns}, and no row level security`,
      hint: isTable
        ? `in a shared migration: alter table ${qualified(schema, name)} enable row level security, with a policy; or take it out of "sharedAccess", then: tenantctl isolate --again`
        : `take ${identifier(name)} out of "sharedAccess", then: tenantctl isolate --again`,
    }));
}
