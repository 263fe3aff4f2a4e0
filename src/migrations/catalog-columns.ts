// The migrations room: PostgreSQL's catalogs of what lies in schemas, and which of their columns tell an object's name, its schema, its number.

/** One catalog, as a query names it. */
export interface Catalog {
  /** For messages: `information_schema.columns`. */
  name: string;
  /** What a column of it is; undefined for one that says nothing of where an object lies. */
  kindOf(column: string): ColumnKind | undefined;
  /** What ties a query that compares this column to one schema. */
  tieFor(column: string): string;
}

/** A column with an object's name, with its schema, or with the number of the object that it belongs to. */
export type ColumnKind = "name" | "schema" | "oid";

// Their columns begin alike: relname, relnamespace.
const prefixes: Readonly<Record<string, string>> = {
  pg_class: "rel",
  pg_type: "typ",
  pg_constraint: "con",
  pg_proc: "pro",
  pg_operator: "opr",
  pg_collation: "coll",
  pg_opclass: "opc",
  pg_opfamily: "opf",
  pg_conversion: "con",
  pg_ts_config: "cfg",
  pg_ts_dict: "dict",
  pg_ts_parser: "prs",
  pg_ts_template: "tmpl",
  pg_statistic_ext: "stx",
};

// What belongs to a table or a type, and has no schema of its own.
const parts: Readonly<Record<string, { name: string; tie: string }>> = {
  pg_attribute: { name: "attname", tie: "attrelid = 'the_table'::regclass" },
  pg_trigger: { name: "tgname", tie: "tgrelid = 'the_table'::regclass" },
  pg_policy: { name: "polname", tie: "polrelid = 'the_table'::regclass" },
  pg_rewrite: { name: "rulename", tie: "ev_class = 'the_table'::regclass" },
  pg_enum: { name: "enumlabel", tie: "enumtypid = 'the_type'::regtype" },
};

const views: Readonly<Record<string, readonly string[]>> = {
  pg_tables: ["tablename"],
  pg_views: ["viewname"],
  pg_matviews: ["matviewname"],
  pg_indexes: ["indexname", "tablename"],
  pg_sequences: ["sequencename"],
  pg_policies: ["policyname", "tablename"],
  pg_rules: ["rulename", "tablename"],
  pg_stats: ["tablename", "attname"],
  pg_stats_ext: ["tablename", "statistics_name"],
  pg_publication_tables: ["tablename"],
};
const statistics = /^pg_stat(io)?_(xact_)?(all|user|sys)_(tables|indexes|sequences|functions)$/;
const statisticsNames = ["relname", "indexrelname", "funcname"];

// Of information_schema: x_name lies in x_schema, but for these.
const schemaOf: Readonly<Record<string, string>> = {
  ...{ table_name: "table_schema", column_name: "table_schema", foreign_table_name: "foreign_table_schema" },
  ...{ constraint_name: "constraint_schema", unique_constraint_name: "unique_constraint_schema" },
  ...{ routine_name: "routine_schema", specific_name: "specific_schema", parameter_name: "specific_schema" },
  ...{ trigger_name: "trigger_schema", event_object_table: "event_object_schema" },
  ...{ event_object_column: "event_object_schema", sequence_name: "sequence_schema", domain_name: "domain_schema" },
  ...{ view_name: "view_schema", object_name: "object_schema", udt_name: "udt_schema", attribute_name: "udt_schema" },
  ...{ user_defined_type_name: "user_defined_type_schema" },
};
const schemas = new Set(Object.values(schemaOf));

// Also where another catalog only refers to the object: a join over them leads from one to the other.
const oids = new Set(
  `oid attrelid conrelid contypid conindid conparentid indrelid indexrelid tgrelid polrelid ev_class adrelid enumtypid typrelid reltype
   stxrelid inhrelid inhparent partrelid seqrelid objid objoid refobjid relid indexrelid funcid`.split(/\s+/),
);

/** Whether a text could ask a catalog. */
export function mentionsCatalogs(text: string): boolean {
  return /\b(information_schema|pg_[a-z])/i.test(text);
}

/** The catalog that a relation's name leads to; undefined for a relation that is none. */
export function catalogOf(schema: string | undefined, relation: string): Catalog | undefined {
  if (schema === "information_schema") return inInformationSchema(relation);
  if (!relation.startsWith("pg_") || (schema !== undefined && schema !== "pg_catalog")) return undefined;
  const prefix = prefixes[relation];
  if (prefix !== undefined) {
    const tie = `${prefix}namespace = current_schema()::regnamespace`;
    return catalog(relation, [`${prefix}name`], [`${prefix}namespace`], tie);
  }
  const part = parts[relation];
  if (part !== undefined) return catalog(relation, [part.name], [], part.tie);
  const names = statistics.test(relation) ? statisticsNames : (views[relation] ?? []);
  return catalog(relation, names, ["schemaname", "nspname"], "schemaname = current_schema()");
}

function catalog(name: string, names: readonly string[], inSchemas: readonly string[], tie: string): Catalog {
  return {
    name,
    kindOf(column) {
      if (names.includes(column)) return "name";
      if (inSchemas.includes(column)) return "schema";
      return oids.has(column) ? "oid" : undefined;
    },
    tieFor: () => tie,
  };
}

function inInformationSchema(relation: string): Catalog {
  const isSchema = (column: string) => (relation === "schemata" ? column === "schema_name" : schemas.has(column));
  return {
    name: `information_schema.${relation}`,
    kindOf: (column) => (Object.hasOwn(schemaOf, column) ? "name" : isSchema(column) ? "schema" : undefined),
    tieFor: (column) => `${schemaOf[column]} = current_schema()`,
  };
}
