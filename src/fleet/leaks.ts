// The fleet room: what the catalog says of tenants' roles: who has rights where, asked of all at once and not of each pair.

import type { Client } from "../database/database.js";
import { ledgerTable } from "../migrations/ledger.js";
import { crossings } from "./crossings.js";
import { definerRights } from "./definers.js";
import { rights } from "./rights.js";
import { baseOf, valuesOf, type Watched } from "./suspects.js";
import { waysOut } from "./ways-out.js";

/** A right that should not be there, or one that should and is not. */
export interface Right {
  /** Who has it, or lacks it: a role, or PUBLIC. */
  role: string;
  object: string;
  privilege: string;
  /** How it came about: `grant`, `grant to PUBLIC`, `ownership`, `membership`, `attribute`, `default privilege`, `view`, … */
  how: string;
  /** What takes it away: mostly a statement, of which what is not tenantctl's own has to be sent by whoever granted it. */
  hint: string;
}

/** The rights that would let tenants' roles, or the application's without one, into what is not theirs. */
export async function findLeaks(client: Client, watched: Watched): Promise<Right[]> {
  const found: Right[] = [];
  const version = await versionOf(client);
  const base = baseOf(version);
  for (const text of [...rights(version), ...definerRights, ...crossings(version), ...waysOut(version)]) {
    // Some go on with the list that the base begins.
    const { rows } = await client.query<Right>(`${base} ${text}`, valuesOf(watched));
    found.push(...rows);
  }
  return found;
}

async function versionOf(client: Client): Promise<number> {
  const { rows } = await client.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  return rows[0]?.version ?? 0;
}

/** The rights that tenants' roles lack in their own schemas. */
export async function findLacks(client: Client, watched: Watched): Promise<Right[]> {
  const { rows } = await client.query<Right>(
    `${baseOf(await versionOf(client))} select t.role, 'role' as object, 'EXISTS' as privilege, 'there is no such role' as how, 'tenantctl migrate' as hint from t where t.rol is null and t.nsp is not null
    union all select t.role, quote_ident(t.schema), 'USAGE', 'not granted', 'tenantctl isolate --again' from t
      where t.rol is not null and t.nsp is not null and not has_schema_privilege(t.rol, t.nsp, 'usage')
    union all select s.name, 'role ' || quote_ident(t.role), 'SET ROLE', 'not granted', 'tenantctl isolate --again' from t, suspect s
      where s.kind = 'app' and t.rol is not null and not pg_has_role(s.oid, t.rol, 'member')
    union all select t.role, quote_ident(t.schema) || '.' || quote_ident(c.relname), x.privilege, 'not granted', 'tenantctl isolate --again'
      from t join pg_class c on c.relnamespace = t.nsp and c.relname <> '${ledgerTable}' and c.relkind in ('r', 'p', 'v', 'm', 'f')
      cross join lateral unnest(case when c.relkind in ('r', 'p') then array['SELECT', 'INSERT', 'UPDATE', 'DELETE'] else array['SELECT'] end) x(privilege)
      where t.rol is not null and not has_table_privilege(t.rol, c.oid, x.privilege)`,
    valuesOf(watched),
  );
  return rows;
}
