// The database room: whole schemas: what hangs on one, and how one is dropped.

import type { Client, Database } from "./database.js";
import { identifier, qualified } from "./quote.js";
import { withTransaction } from "./transaction.js";

/** Whether there is a schema of this name. */
export async function schemaExists(client: Client, schema: string): Promise<boolean> {
  const { rows } = await client.query("select 1 from pg_namespace where nspname = $1", [schema]);
  return rows.length > 0;
}

/** Objects of other schemas that would go with this one, as the server describes them; at most ten. */
export async function outsideDependents(client: Client, schema: string): Promise<string[]> {
  const { rows } = await client.query<{ object: string }>(
    `with inside as (
       select 'pg_class'::regclass::oid as classid, oid as objid from pg_class where relnamespace = (select oid from pg_namespace where nspname = $1)
       union all select 'pg_type'::regclass, oid from pg_type where typnamespace = (select oid from pg_namespace where nspname = $1)
       union all select 'pg_proc'::regclass, oid from pg_proc where pronamespace = (select oid from pg_namespace where nspname = $1)
       union all select classid, objid from pg_depend where refclassid = 'pg_namespace'::regclass and deptype = 'n'
         and refobjid = (select oid from pg_namespace where nspname = $1)
     ), dependents as (
       select distinct d.classid, d.objid, d.objsubid,
         coalesce(r.ev_class, nullif(k.conrelid, 0), a.adrelid, t.tgrelid, p.polrelid, case when d.classid = 'pg_class'::regclass then d.objid end) as relation
       from inside i join pg_depend d on d.refclassid = i.classid and d.refobjid = i.objid and d.deptype in ('n', 'a')
       left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
       left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
       left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
       left join pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
       left join pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
     )
     select distinct pg_describe_object(d.classid, d.objid, d.objsubid) as object
     from dependents d left join pg_class c on c.oid = d.relation left join pg_namespace n on n.oid = c.relnamespace
     where coalesce(n.nspname, (pg_identify_object(d.classid, d.objid, d.objsubid)).schema, $1) not in ($1, 'pg_toast') order by 1 limit 10`,
    [schema],
  );
  return rows.map((row) => row.object);
}

// What a drop locks: each relation, and as much again for its toast table, its indexes and what hangs on them.
async function locksToDrop(client: Client, schema: string): Promise<number> {
  const { rows } = await client.query<{ locks: number }>(
    `select (count(*) + count(nullif(c.reltoastrelid, 0)) * 2)::int as locks
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1`,
    [schema],
  );
  return rows[0]?.locks ?? 0;
}

/** Whether one transaction can drop the schema: half of the server's lock table is left to others. */
export async function fitsOneDrop(client: Client, database: Database, schema: string): Promise<boolean> {
  return (await locksToDrop(client, schema)) < database.capabilities.lockTable / 2;
}

/** The statement that drops a schema and all that is in it. */
export const dropSchemaText = (schema: string): string => `drop schema ${identifier(schema)} cascade`;

const relationsPerDrop = 100;

/**
 * Drops a schema's tables, views and sequences, some in a transaction, so that the lock table holds them. What is left fits one.
 * A column's sequence goes with its table, and an identity's would not go alone.
 */
export async function emptySchema(database: Database, schema: string): Promise<void> {
  while (true) {
    const dropped = await withTransaction(database, async (client) => {
      const { rows } = await client.query<{ name: string; kind: string }>(
        `select c.relname as name, case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
           when 'f' then 'foreign table' else 'table' end as kind
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not exists (
           select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass
             and c.relkind = 'S' and d.deptype in ('a', 'i'))
         order by c.relkind in ('r', 'p'), c.relname limit $2`,
        [schema, relationsPerDrop],
      );
      for (const { name, kind } of rows)
        await client.query(`drop ${kind} if exists ${qualified(schema, name)} cascade`);
      return rows.length;
    });
    if (dropped === 0) return;
  }
}

/** Every schema that holds a table of this name, or whose comment begins like this. */
export async function schemasLike(
  client: Client,
  table: string,
  comment: string,
): Promise<{ schema: string; comment: string | null; hasTable: boolean }[]> {
  const { rows } = await client.query<{ schema: string; comment: string | null; hasTable: boolean }>(
    `select n.nspname as schema, d.description as comment, c.oid is not null as "hasTable"
     from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relname = $1 and c.relkind in ('r', 'p')
     left join pg_description d on d.objoid = n.oid and d.classoid = 'pg_namespace'::regclass and d.objsubid = 0
     where c.oid is not null or starts_with(d.description, $2) order by 1`,
    [table, comment],
  );
  return rows;
}
