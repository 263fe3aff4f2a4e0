// The fleet room: what CASCADE in a shared migration would take from the tenants' schemas, counted in the catalog and never tried.

import type { Client, Database } from "../database/database.js";
import { literal } from "../database/quote.js";
import { type Dropped, droppedByCascade } from "../migrations/dropped.js";
import type { Migration } from "../migrations/files.js";

/** Tells, for each statement of these shared migrations that has a CASCADE, what it would take from the tenants' schemas. */
export async function cascadeConcerns(
  database: Database,
  migrations: readonly Migration[],
  schema: string,
  tenantSchemas: readonly string[],
): Promise<string[]> {
  const concerns: string[] = [];
  for (const migration of migrations) {
    if (migration.kind === "module") continue;
    for (const { line, words, dropped } of await droppedByCascade(migration.up)) {
      const gone = await database.withClient((client) => dependents(client, dropped, schema, tenantSchemas));
      if (gone === undefined) continue;
      const { objects, schemas, examples } = gone;
      concerns.push(
        `${migration.name}, line ${line}: ${words} would take ${objects} ${objects === "1" ? "object" : "objects"} in ${schemas} ${schemas === "1" ? "tenant's schema" : "tenants' schemas"}: ${examples.join(", ")}${Number(objects) > examples.length ? ", …" : ""}`,
      );
    }
  }
  return concerns;
}

interface Gone {
  objects: string;
  schemas: string;
  examples: string[];
}

// What depends on something depends on its parts, and what it is a part of goes with it: a view with its rule. Parts are no objects of their own.
async function dependents(
  client: Client,
  dropped: readonly Dropped[],
  schema: string,
  tenantSchemas: readonly string[],
): Promise<Gone | undefined> {
  const starts = dropped.map((one) => startText(one, schema)).join(" union all ");
  const { rows } = await client.query<Gone>(
    `with recursive start(classid, objid, objsubid) as (${starts}), gone(classid, objid, objsubid) as (
       select * from start
       union
       select f.classid, f.objid, f.objsubid from gone g, lateral (
         select d.classid, d.objid, d.objsubid from pg_depend d
         where d.refclassid = g.classid and d.refobjid = g.objid and g.objsubid in (0, d.refobjsubid) and d.deptype <> 'x'
         union all
         select d.refclassid, d.refobjid, d.refobjsubid from pg_depend d
         where d.classid = g.classid and d.objid = g.objid and d.deptype in ('i', 'P') and g.objsubid = 0 and g.classid = 'pg_rewrite'::regclass
       ) f
     ), outside as (
       select g.*, i.type, i.identity, coalesce(i.schema, c.schema) as schema
       from gone g, lateral pg_identify_object(g.classid, g.objid, g.objsubid) i
       left join lateral (
         select n.nspname::text as schema from pg_constraint k join pg_namespace n on n.oid = k.connamespace
         where g.classid = 'pg_constraint'::regclass and k.oid = g.objid
       ) c on true
       where (g.classid, g.objid, g.objsubid) not in (select * from start)
         and i.type not in ('rule', 'type', 'trigger', 'default value', 'composite type', 'toast table')
     )
     select count(*)::text as objects, count(distinct schema)::text as schemas,
       (array_agg(type || ' ' || identity order by schema, type, identity))[1:3] as examples
     from outside where schema = any($1) and (objsubid = 0 or not exists (
       select from outside o where o.classid = outside.classid and o.objid = outside.objid and o.objsubid = 0))`,
    [tenantSchemas],
  );
  const [gone] = rows;
  return gone === undefined || gone.objects === "0" ? undefined : gone;
}

// Where there is no such object, nothing depends on it.
function startText({ catalog, schema, names, column }: Dropped, home: string): string {
  const from = (where: string) => `select '${catalog}'::regclass::oid, o.oid, 0 from ${catalog} o where ${where}`;
  const own = literal(schema ?? home);
  const name = literal(names);
  switch (catalog) {
    case "pg_class":
      if (column !== undefined)
        return `select 1259::oid, a.attrelid, a.attnum::int from pg_attribute a join pg_class o on o.oid = a.attrelid
          join pg_namespace n on n.oid = o.relnamespace where n.nspname = ${own} and o.relname = ${name} and a.attname = ${literal(column)}`;
      return from(`o.relname = ${name} and o.relnamespace = (select oid from pg_namespace where nspname = ${own})`);
    case "pg_constraint":
      return from(`o.conname = ${literal(column ?? "")} and o.conrelid in (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = ${own} and c.relname = ${name})`);
    case "pg_type":
      return from(`o.typname = ${name} and o.typnamespace = (select oid from pg_namespace where nspname = ${own})`);
    case "pg_proc":
      return from(`o.proname = ${name} and o.pronamespace = (select oid from pg_namespace where nspname = ${own})`);
    case "pg_namespace":
      return from(`o.nspname = ${name}`);
    case "pg_extension":
      return from(`o.extname = ${name}`);
  }
}
