// The migrations room: what a transaction holds locks on outside of its tenant's schema, as the catalog has it now and as it was before.

import { literal } from "../database/quote.js";

/** A lock that a tenant's migration may hold only on what is its own. `catalog` and `oid` are the object's, a relation's are of pg_class. */
export interface Suspect {
  catalog: string;
  oid: string;
  mode: string;
}

/** Where an object is, and under which name a person knows it: an index is its table's, a trigger too. */
export interface Place {
  catalog: string;
  oid: string;
  /** Null for what is in no schema. */
  schema: string | null;
  name: string;
  /** pg_class's word for a kind of relation; of other objects what SQL calls them where they are in no schema: `extension`. */
  kind: string;
  /** It belongs to an extension, or its schema does. */
  ofExtension: boolean;
  /** Its row, where it is in no schema and can be compared. */
  row: string | null;
}

/**
 * Lists the suspects, on the connection whose transaction it is. Reads of all kinds pass, and row changes in shared schemas; most
 * transactions hold nothing that is left.
 * The tenant's own relations are suspects where they seem to have been moved into its schema: what says where such a one is is younger than
 * what was made with it and never changes, its system columns.
 */
export function suspectsText(schema: string, shared: readonly string[]): string {
  const schemas = (list: readonly string[]) =>
    `(select coalesce(array_agg(n.oid), '{}') from pg_catalog.pg_namespace n where n.nspname in (${list.join(", ")}))`;
  // Looked up row by row, by pg_class's index: a join could read all of pg_class, in which every tenant's tables are.
  return `select coalesce(l.classid, 1259)::pg_catalog.regclass::text as catalog, coalesce(l.objid, l.relation)::text as oid, l.mode
    from pg_catalog.pg_locks l
    left join lateral (select c.relnamespace, c.relkind from pg_catalog.pg_class c where c.oid = l.relation offset 0) c on true
    where l.pid = pg_catalog.pg_backend_pid() and l.locktype in ('relation', 'object') and l.database <> 0
      and l.mode not in ('AccessShareLock', 'RowShareLock') and (l.classid is null or l.mode <> 'ShareUpdateExclusiveLock')
      and (c.relnamespace is null or c.relnamespace <> all (${schemas(["'pg_catalog'", "'pg_toast'", literal(schema)])} || pg_catalog.pg_my_temp_schema())
        or l.mode = 'AccessExclusiveLock' and c.relnamespace = any (${schemas([literal(schema)])} || '{}'::pg_catalog.oid[]) and exists (select from pg_catalog.pg_depend d
          where d.classid = 1259 and d.objid = l.relation and d.objsubid = 0 and d.refclassid = 2615 and d.xmin <> coalesce((select a.xmin
            from pg_catalog.pg_attribute a where a.attrelid = l.relation and a.attnum = case when c.relkind in ('v', 'c') then 1 else -1 end), '0'::pg_catalog.xid)))
      and (c.relkind is null or l.mode <> 'RowExclusiveLock' or c.relkind <> 'S' and c.relnamespace <> all (${schemas([literal(schema), ...shared.map(literal)])} || '{}'::oid[]))`;
}

// The schema's row of pg_namespace is n, the object is o. What belongs to an extension depends on it in this way.
const member = (catalog: string, oid: string) =>
  `exists (select from pg_catalog.pg_depend e where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = ${oid} and e.deptype = 'e')`;

interface InSchema {
  namespace: string;
  name: string;
  kind?: string;
  joins?: string;
  /** The table that it is a part of, null where it is of none. */
  table?: string;
}

function inSchema(catalog: string, { namespace, name, kind = "''", joins = "", table }: InSchema) {
  const members = [
    member(catalog, "o.oid"),
    member("pg_namespace", "n.oid"),
    ...(table === undefined ? [] : [member("pg_class", table)]),
  ];
  return `select '${catalog}' as catalog, o.oid::text as oid, n.nspname::text as schema, (${name})::text as name, (${kind})::text as kind,
    ${members.join(" or ")} as "ofExtension", null::text as row
    from pg_catalog.${catalog} o ${joins} join pg_catalog.pg_namespace n on n.oid = ${namespace}`;
}

// What is a table's, by the table; what is an extension's is so by its table as well.
function ofTable(catalog: string, relation: string, joins = "") {
  return inSchema(catalog, {
    namespace: "c.relnamespace",
    name: "c.relname",
    table: "c.oid",
    joins: `${joins} join pg_catalog.pg_class c on c.oid = ${relation}`,
  });
}

const named = (catalog: string, prefix: string) =>
  inSchema(catalog, { namespace: `o.${prefix}namespace`, name: `o.${prefix}name` });

function ofFamily(catalog: string, prefix: string) {
  const joins = `join pg_catalog.pg_opfamily f on f.oid = o.${prefix}family`;
  return inSchema(catalog, { namespace: "f.opfnamespace", name: "f.opfname", joins });
}

function global(catalog: string, name: string, kind: string) {
  return `select '${catalog}' as catalog, o.oid::text as oid, null::text as schema, (${name})::text as name, '${kind}' as kind,
    ${member(catalog, "o.oid")} as "ofExtension", pg_catalog.to_jsonb(o)::text as row from pg_catalog.${catalog} o`;
}

const places: Readonly<Record<string, string>> = {
  pg_class: inSchema("pg_class", {
    namespace: "o.relnamespace",
    name: "coalesce(t.relname, o.relname)",
    kind: "o.relkind",
    table: "i.indrelid",
    joins:
      "left join pg_catalog.pg_index i on i.indexrelid = o.oid left join pg_catalog.pg_class t on t.oid = i.indrelid",
  }),
  pg_type: inSchema("pg_type", {
    namespace: "o.typnamespace",
    name: "coalesce(c.relname, b.typname, o.typname)",
    table: "c.oid",
    joins:
      "left join pg_catalog.pg_class c on c.oid = o.typrelid left join pg_catalog.pg_type b on b.typarray = o.oid and b.typarray <> 0",
  }),
  pg_proc: named("pg_proc", "pro"),
  pg_constraint: inSchema("pg_constraint", {
    namespace: "o.connamespace",
    name: "coalesce(c.relname, t.typname, o.conname)",
    table: "c.oid",
    joins: "left join pg_catalog.pg_class c on c.oid = o.conrelid left join pg_catalog.pg_type t on t.oid = o.contypid",
  }),
  // A foreign key has triggers on both of its tables, and is the one's alone that has the key.
  pg_trigger: ofTable(
    "pg_trigger",
    "coalesce(k.conrelid, o.tgrelid)",
    "left join pg_catalog.pg_constraint k on k.oid = o.tgconstraint and o.tgisinternal",
  ),
  pg_rewrite: ofTable("pg_rewrite", "o.ev_class"),
  pg_policy: ofTable("pg_policy", "o.polrelid"),
  pg_attrdef: ofTable("pg_attrdef", "o.adrelid"),
  pg_publication_rel: ofTable("pg_publication_rel", "o.prrelid"),
  pg_statistic_ext: named("pg_statistic_ext", "stx"),
  pg_operator: named("pg_operator", "opr"),
  pg_opclass: named("pg_opclass", "opc"),
  pg_opfamily: named("pg_opfamily", "opf"),
  pg_amop: ofFamily("pg_amop", "amop"),
  pg_amproc: ofFamily("pg_amproc", "amproc"),
  pg_collation: named("pg_collation", "coll"),
  pg_conversion: named("pg_conversion", "con"),
  pg_ts_config: named("pg_ts_config", "cfg"),
  pg_ts_dict: named("pg_ts_dict", "dict"),
  pg_ts_parser: named("pg_ts_parser", "prs"),
  pg_ts_template: named("pg_ts_template", "tmpl"),
  pg_namespace: global("pg_namespace", "o.nspname", "schema"),
  pg_extension: global("pg_extension", "o.extname", "extension"),
  pg_publication: global("pg_publication", "o.pubname", "publication"),
  pg_language: global("pg_language", "o.lanname", "language"),
  pg_foreign_server: global("pg_foreign_server", "o.srvname", "server"),
  pg_foreign_data_wrapper: global("pg_foreign_data_wrapper", "o.fdwname", "foreign data wrapper"),
  pg_event_trigger: global("pg_event_trigger", "o.evtname", "event trigger"),
  pg_am: global("pg_am", "o.amname", "access method"),
};

/** The catalogs whose objects can be told apart by whose they are. */
export const knownCatalogs: readonly string[] = Object.keys(places);

// What is asked about, as a text that may be known only when it is executed: a cursor's query is fixed before that.
const asked = (list: string) => `pg_catalog.unnest(pg_catalog.string_to_array(${list}, ',')::pg_catalog.oid[])`;

/** Tells where objects of these catalogs are; `list` is an SQL text of oids, with commas between them. */
export function placesText(catalogs: readonly string[], list: string): string {
  return catalogs
    .flatMap((catalog) => (places[catalog] === undefined ? [] : [places[catalog]]))
    .map((text) => `${text} where o.oid in (select ${asked(list)})`)
    .join(" union all ");
}

// Rows of a catalog that are a table's, in a fixed order.
const rowsOf = (catalog: string, where: string, without = "") =>
  `(select pg_catalog.jsonb_agg(r order by r) from (select pg_catalog.to_jsonb(x)${without} as r from pg_catalog.${catalog} x where ${where}) s)`;

/**
 * Tells what tables are made of, as a hash: what a foreign key that came or went, rights and statistics leave as it was. `list` as above.
 */
export function statesText(list: string): string {
  const parts = [
    "pg_catalog.to_jsonb(c) - '{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,relacl,relhastriggers,relhasindex,relhasrules,relhassubclass}'::text[]",
    rowsOf("pg_attribute", "x.attrelid = c.oid and x.attnum > 0", " - 'attacl'::text"),
    rowsOf("pg_attrdef", "x.adrelid = c.oid"),
    rowsOf("pg_index", "x.indrelid = c.oid"),
    rowsOf("pg_policy", "x.polrelid = c.oid"),
    rowsOf("pg_trigger", "x.tgrelid = c.oid and not x.tgisinternal"),
    rowsOf("pg_constraint", "x.conrelid = c.oid"),
    rowsOf("pg_rewrite", "x.ev_class = c.oid"),
    rowsOf("pg_inherits", "x.inhrelid = c.oid"),
    rowsOf("pg_inherits", "x.inhparent = c.oid"),
    rowsOf("pg_statistic_ext", "x.stxrelid = c.oid"),
    rowsOf("pg_description", "x.objoid = c.oid and x.classoid = 1259"),
  ];
  return `select c.oid::text as oid, pg_catalog.md5(pg_catalog.jsonb_build_array(${parts.join(", ")})::text) as state
    from pg_catalog.pg_class c where c.oid in (select ${asked(list)})`;
}
