// The fleet room: where functions look names up: a search_path of their own that names another's schema, or leaves temporary tables in front.

import type { Client } from "../database/database.js";
import { searchPath } from "../database/quote.js";
import { ofExtension } from "./suspects.js";

/** A function whose search_path is not what it should be. */
export interface FunctionPath {
  schema: string;
  kind: "function" | "procedure";
  /** Its name, and the types of its arguments. */
  name: string;
  /** The same with its schema, as statements need it. */
  identity: string;
  owner: string;
  /** We have its owner's rights. */
  may: boolean;
  /** Its own search_path; undefined where it has none. */
  path: string[] | undefined;
  /** Schemas in it that are another tenant's. */
  others: string[];
  /** Schemas in it that are not there. */
  missing: string[];
  /** It runs with its owner's rights, and finds its caller's temporary tables and types first. */
  exposed: boolean;
  /** The search_path that it should have; undefined where nobody but its author can say. */
  wanted: string[] | undefined;
}

interface Row extends Pick<FunctionPath, "schema" | "kind" | "name" | "identity" | "owner" | "may"> {
  setting: string | null;
  definer: boolean;
}

/** The functions in these schemas, tenants' and shared ones, whose own search_path, or the lack of one, lets others in. */
export async function findFunctionPaths(
  client: Client,
  tenantSchemas: readonly string[],
  sharedSchemas: readonly string[],
): Promise<FunctionPath[]> {
  // A body in SQL's own syntax was read when it was made, and looks nothing up. Most have the path that migrations give: those stay there.
  const { rows } = await client.query<Row>(
    `with t as (
       select w.schema, n.oid as nsp from unnest($1::text[]) w(schema) join pg_namespace n on n.nspname = w.schema::name
     ), found as (
       select t.schema, p.oid, p.proname, p.prokind, p.proowner, (select substr(s, 13) from unnest(p.proconfig) s where s like 'search_path=%') as setting,
         p.prosecdef and p.prosqlbody is null and l.lanname not in ('c', 'internal') as definer
       from pg_proc p join t on t.nsp = p.pronamespace join pg_language l on l.oid = p.prolang
       where p.prokind <> 'a' and (p.prosecdef or p.proconfig is not null) and not ${ofExtension("pg_proc", "p.oid")}
     )
     select schema, case prokind when 'p' then 'procedure' else 'function' end as kind,
       quote_ident(proname) || '(' || replace(pg_get_function_identity_arguments(oid), quote_ident(schema) || '.', '') || ')' as name,
       format('%I.%I(%s)', schema, proname, pg_get_function_identity_arguments(oid)) as identity,
       pg_get_userbyid(proowner)::text as owner, pg_has_role(proowner, 'usage') as may, setting, definer
     from found where (setting is not null or definer)
       and (setting is null or setting <> all (array[
         quote_ident(schema) || (select coalesce(string_agg(', ' || quote_ident(s), '' order by at), '') from unnest($2::text[]) with ordinality w(s, at) where s <> schema) || ', pg_temp',
         '"' || replace(schema, '"', '""') || '"' || (select coalesce(string_agg(', "' || replace(s, '"', '""') || '"', '' order by at), '')
           from unnest($2::text[]) with ordinality w(s, at) where s <> schema) || ', pg_temp'])) order by schema, 3`,
    [[...new Set([...tenantSchemas, ...sharedSchemas])], sharedSchemas],
  );
  const paths = rows.map(({ setting }) => (setting === null ? undefined : schemasIn(setting)));
  const named = [...new Set(paths.flatMap((path) => path ?? []))];
  const { rows: there } = await client.query<{ name: string }>(
    "select nspname::text as name from pg_namespace where nspname = any($1::text[]::name[])",
    [named],
  );
  const existing = new Set(["", "$user", "pg_temp", ...there.map(({ name }) => name)]);
  const tenants = new Set(tenantSchemas);
  return rows
    .map(({ setting: _, definer, ...row }, index) => judge(row, definer, paths[index], existing, tenants))
    .filter(({ others, missing, exposed }) => others.length > 0 || missing.length > 0 || exposed);
}

function judge(
  row: Omit<Row, "setting" | "definer">,
  definer: boolean,
  path: string[] | undefined,
  existing: ReadonlySet<string>,
  tenants: ReadonlySet<string>,
): FunctionPath {
  const others = (path ?? []).filter((name) => name !== row.schema && tenants.has(name));
  const missing = (path ?? []).filter((name) => !existing.has(name));
  // Where it is named twice, the first counts. With an empty path a function has to name the schemas itself.
  const exposed =
    definer && (path === undefined || (path.join() !== "" && path.indexOf("pg_temp") !== path.length - 1));
  return { ...row, path, others, missing, exposed, wanted: wantedFor(row.schema, path, others, missing, tenants) };
}

// Another's schema, or one that is gone, is this one under its former name.
function wantedFor(
  schema: string,
  path: readonly string[] | undefined,
  others: readonly string[],
  missing: readonly string[],
  tenants: ReadonlySet<string>,
): string[] | undefined {
  const wrong = [...others, ...missing];
  if (path === undefined || (wrong.length > 0 && !tenants.has(schema))) return undefined;
  const right = path.map((name) => (wrong.includes(name) ? schema : name)).filter((name) => name !== "pg_temp");
  return [...new Set(right), "pg_temp"];
}

// The schemas of a search_path, as it is written in a setting.
function schemasIn(setting: string): string[] {
  return [...setting.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)/g)].map(([, quoted, bare]) =>
    quoted === undefined ? (bare ?? "").toLowerCase() : quoted.replaceAll('""', '"'),
  );
}

/** The statement that gives a function the search_path that it should have. */
export function pathText({ kind, identity, wanted = [] }: FunctionPath): string {
  const path = wanted.map((name) => (name === "pg_temp" ? name : searchPath([name]))).join(", ");
  return `alter ${kind} ${identity} set search_path = ${path}`;
}
