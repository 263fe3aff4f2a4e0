// The migrations room: where a name is that a migration did not find.

import type { Client } from "../database/database.js";
import { MigrationFailure } from "./failure.js";
import { ledgerTable } from "./ledger.js";

const kinds: Readonly<Record<string, { table: string; name: string; namespace: string }>> = {
  "42P01": { table: "pg_class", name: "relname", namespace: "relnamespace" },
  "42883": { table: "pg_proc", name: "proname", namespace: "pronamespace" },
  "42704": { table: "pg_type", name: "typname", namespace: "typnamespace" },
};

/**
 * When SQL failed since a name is not found, and a schema outside of the search_path has it, the failure's hint says so.
 * Schemas with a ledger are tenants': nobody should be led there.
 */
export async function withLookupHint(client: Client, failure: MigrationFailure): Promise<MigrationFailure> {
  const kind = kinds[failure.sqlState ?? ""];
  const name = failure.text === undefined ? quotedIn(failure.message) : identifierAt(failure.text);
  if (kind === undefined || name === undefined || failure.hint !== undefined) return failure;
  const { rows } = await client.query<{ schema: string }>(
    `select distinct n.nspname as schema from ${kind.table} o join pg_namespace n on n.oid = o.${kind.namespace}
     where o.${kind.name} = $1 and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and (n.nspname = 'public'
       or not exists (select from pg_class c where c.relnamespace = n.oid and c.relname = '${ledgerTable}')) order by 1 limit 3`,
    [name],
  );
  const schemas = rows.map((row) => JSON.stringify(row.schema)).join(", ");
  if (schemas === "") return failure;
  return new MigrationFailure(failure.code, failure.message, {
    sqlState: failure.sqlState,
    place: failure.place,
    cause: failure.cause,
    hint: `${name} is in ${schemas}, outside of the search_path: if tenants may use it, add that to "sharedSchemas"`,
  });
}

// Some errors have no position, and the name only in their message; one with a dot was qualified.
function quotedIn(message: string): string | undefined {
  const name = /["«„“]\s*([^"»“”]+?)\s*["»“”]/u.exec(message)?.[1];
  return name?.includes(".") ? undefined : name;
}

// The identifier that a text begins with, as the server reads it; of a qualified one nothing, since no search_path is asked for it.
function identifierAt(text: string): string | undefined {
  const match = /^(?:"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*))\s*(\.)?/u.exec(text);
  if (!match || match[3] !== undefined) return undefined;
  return match[1]?.replaceAll('""', '"') ?? match[2]?.toLowerCase();
}
