// The fleet room: what doctor says of functions that run with their owner's rights, or look names up in another's schema.

import type { Client } from "../database/database.js";
import { identifier } from "../database/quote.js";
import { sharedRole, tenantRole } from "../database/roles.js";
import type { Examined, Noted } from "./doctor-findings.js";
import { type FunctionPath, findFunctionPaths, pathText } from "./function-paths.js";
import { ofExtension } from "./suspects.js";

/** Functions whose search_path lets others in: by a name, or by temporary tables. */
export async function functionPaths(client: Client, examined: Examined): Promise<Noted[]> {
  const schemas = examined.tenants.map(({ schema }) => schema);
  const found = await findFunctionPaths(client, schemas, examined.sharedSchemas);
  return found.map((one) => pathFinding(one, examined));
}

function pathFinding(found: FunctionPath, examined: Examined): Noted {
  const { schema, kind, name, owner, may, path, wanted } = found;
  const where = examined.nameOf(schema);
  const isTenant = examined.tenants.some((tenant) => tenant.schema === schema);
  const finding: Noted = { severity: "error", check: "function", where, message: reasonFor(found, isTenant), hint: "" };
  if (wanted === undefined) {
    const hint = isTenant
      ? `in a migration: alter ${kind} ${name} set search_path from current`
      : `in a shared migration: alter ${kind} ${found.identity} set search_path = ${path === undefined ? identifier(schema) : "…"}, pg_temp`;
    return { ...finding, hint };
  }
  if (!may) return { ...finding, hint: `as ${owner}: ${pathText(found)}`, alike: { hint: `as ${owner}: …` } };
  const done = `the search_path of ${name} is its own schema's, and ends in pg_temp`;
  return {
    ...finding,
    hint: "tenantctl doctor --fix gives it the right one",
    mend: { what: isTenant ? "text" : "shared-text", tenant: { name: where, schema }, texts: [pathText(found)], done },
  };
}

function reasonFor({ kind, name, path, others, missing }: FunctionPath, isTenant: boolean): string {
  const the = `the ${kind} ${name}`;
  const [other] = others;
  const [gone] = missing;
  if (other !== undefined)
    return `${the} looks names up in the schema "${other}", which is ${isTenant ? "another" : "a"} tenant's: it reads and writes there`;
  if (gone !== undefined)
    return `${the} looks names up in the schema "${gone}", which does not exist: it fails, or reads and writes in whatever gets that name`;
  if (path === undefined)
    return `${the} is SECURITY DEFINER without a search_path of its own: its caller says which tables it reads and writes with its owner's rights`;
  return `${the} is SECURITY DEFINER, and its search_path does not end in pg_temp: its caller's temporary tables are found before the real ones, and their triggers run with its owner's rights`;
}

/** Trigger functions that a tenant's login may attach to a temporary table of its own. */
export async function openTriggers(
  client: Client,
  examined: Examined,
  database: string,
  where: string,
): Promise<Noted[]> {
  if (!examined.isolated) return [];
  const { rows } = await client.query<{ names: string[]; functions: number }>(
    `with t as (
       select w.schema, n.oid as nsp, r.oid as rol from unnest($1::text[], $2::text[]) w(schema, role) join pg_namespace n on n.nspname = w.schema::name
       left join pg_roles r on r.rolname = coalesce(w.role, $3)
     )
     select count(*)::int as functions, (array_agg(distinct quote_ident(t.schema) || '.' || quote_ident(p.proname) || '()'))[1:3] as names
     from pg_proc p join t on t.nsp = p.pronamespace, pg_database d
     where p.prosecdef and p.prorettype = 'trigger'::regtype and not ${ofExtension("pg_proc", "p.oid")} and d.datname = current_database()
       and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x where x.grantee in (0, t.rol))
       and exists (select from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x where x.grantee = 0 and x.privilege_type = 'TEMPORARY')
     having count(*) > 0`,
    [
      [...examined.tenants.map(({ schema }) => schema), ...examined.sharedSchemas],
      [
        ...examined.tenants.map(({ schema }) => tenantRole(database, schema)),
        ...examined.sharedSchemas.map(() => null),
      ],
      sharedRole(database),
    ],
  );
  return rows.map(({ names, functions }) => ({
    severity: "warning",
    check: "function",
    where,
    message: `PUBLIC, which is every role, may create temporary tables, and tenants may execute ${functions} trigger functions that are SECURITY DEFINER (${names.join(", ")}${functions > names.length ? " …" : ""}): a tenant's login can make one the trigger of a table of its own, with rows that it makes up`,
    hint: `where nothing needs temporary tables, as the database's owner: revoke temporary on database ${identifier(database)} from public`,
  }));
}
