// Registry room: the table that lists the tenants: where it is, which columns it has, how it is spoken to.

import path from "node:path";
import type { Config } from "../config/load.js";
import type { RegistryColumn, RegistryTable } from "../config/shape.js";
import { MEND_HINT } from "../config/source.js";
import type { Client } from "../database/database.js";
import { identifier, qualified } from "../database/quote.js";
import { ProblemsError, TenantctlError } from "../errors.js";
import { checkIdentifier, shown } from "./names.js";
import { parseRelation } from "./relation.js";
import { settingsProblems } from "./settings.js";
import { problemsIn, type Reserved, reservedBy, type Tenant } from "./tenants.js";

/** What we know of a tenant, in the order in which it is written. */
export const keys = ["name", "schema", "hosts", "labels", "state"] as const;

/** Where the config says that the table is. */
export interface Place {
  schema: string;
  name: string;
  /** As messages name it. */
  label: string;
  columns: Record<RegistryColumn, string>;
  /** The columns that the config names: they must be there. */
  named: readonly RegistryColumn[];
  /** Schemas that no tenant may have: the shared ones, and the one that this table is in. */
  reserved: Reserved;
}

/** @throws ProblemsError CONFIG_INVALID when the config's words are no table's or column's names. */
export function placeOf(config: Config, { table, columns = {} }: RegistryTable): Place {
  const { sharedSchemas } = config;
  const problems = settingsProblems(config);
  let relation: ReturnType<typeof parseRelation>;
  const read = problemsIn(() => {
    relation = parseRelation(table);
  });
  if (relation === undefined && read.length === 0)
    read.push(`${shown(table)} is no table's name: schema.table, as SQL writes it`);
  problems.push(...read.map((problem) => `tenants.table: ${problem}`));
  for (const [key, column] of Object.entries(columns)) {
    const wrong = problemsIn(() => checkIdentifier("column name", column));
    problems.push(...wrong.map((problem) => `tenants.columns.${key}: ${problem}`));
  }
  if (problems.length > 0 || relation === undefined) {
    const file = path.basename(config.file);
    throw new ProblemsError("CONFIG_INVALID", `${file} is not valid`, problems, { hint: MEND_HINT });
  }
  const schema = relation.schema ?? sharedSchemas[0] ?? "public";
  return {
    schema,
    name: relation.name,
    label: [schema, relation.name].map((part) => (/^[a-z_][a-z0-9_]*$/.test(part) ? part : identifier(part))).join("."),
    columns: { name: "name", schema: "schema", hosts: "hosts", labels: "labels", state: "state", ...columns },
    named: keys.filter((key) => key === "name" || columns[key] !== undefined),
    reserved: new Map([[schema, "holds the registry"], ...reservedBy(sharedSchemas)]),
  };
}

/** What a column can hold: an array, JSON, or one text. */
export type Kind = "list" | "json" | "text";

/** A table that was found, and how it is spoken to. */
export interface Table extends Place {
  quoted: string;
  kinds: ReadonlyMap<RegistryColumn, Kind>;
  /** `t."slug"` */
  column(key: RegistryColumn): string;
  /** The columns of a row, under the names that we have for them. */
  answers: string;
  select: string;
  /** @throws TenantctlError REGISTRY_INVALID when there is no column for something that this tenant has. */
  checkHolds(tenant: Tenant): void;
}

/** Finds the table and its columns. @throws TenantctlError REGISTRY_MISSING, REGISTRY_INVALID. */
export async function lookUp(client: Client, place: Place): Promise<Table> {
  const { rows } = await client.query<{ column: string | null; category: string | null; type: string | null }>(
    `select a.attname::text as column, b.typcategory::text as category, b.typname::text as type
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname::text = any($3::text[])
     left join pg_type d on d.oid = a.atttypid left join pg_type b on b.oid = coalesce(nullif(d.typbasetype, 0), d.oid)
     where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')`,
    [place.schema, place.name, Object.values(place.columns)],
  );
  if (rows.length === 0) throw missing(`the table ${place.label}, which lists the tenants, does not exist`);
  const found = new Map(rows.map((row) => [row.column, kindOf(row)]));
  const kinds = new Map(
    keys.flatMap((key) => {
      const kind = found.get(place.columns[key]);
      return kind === undefined ? [] : [[key, kind] as const];
    }),
  );
  const lacking = place.named.filter((key) => !kinds.has(key));
  if (lacking.length > 0) {
    const names = lacking.map((key) => shown(place.columns[key])).join(", ");
    throw new TenantctlError("REGISTRY_INVALID", `${place.label} has no column ${names}`, {
      hint: '"columns" of "tenants" in the config says what name, schema, hosts, labels and state are called there; only name must be there',
    });
  }
  return tableOf(place, kinds);
}

/** The error for a registry that is not there (yet). */
export function missing(message: string, cause?: unknown): TenantctlError {
  return new TenantctlError("REGISTRY_MISSING", message, {
    hint: "where a shared migration creates it: tenantctl migrate; tenantctl init --registry table writes one",
    cause,
  });
}

function kindOf({ category, type }: { category: string | null; type: string | null }): Kind {
  if (category === "A") return "list";
  return type === "json" || type === "jsonb" ? "json" : "text";
}

function tableOf(place: Place, kinds: ReadonlyMap<RegistryColumn, Kind>): Table {
  const quoted = qualified(place.schema, place.name);
  const column = (key: RegistryColumn) => `t.${identifier(place.columns[key])}`;
  const json = (key: RegistryColumn) => key === "hosts" || key === "labels";
  const answers = keys
    .filter((key) => kinds.has(key))
    .map((key) => (json(key) ? `to_jsonb(${column(key)}) as ${key}` : `${column(key)}::text as ${key}`))
    .join(", ");
  const lacks = (key: RegistryColumn, what: string) =>
    new TenantctlError("REGISTRY_INVALID", `${place.label} has no column for ${what}`, {
      hint: `add one to the table: ${identifier(place.columns[key])}`,
    });
  return {
    ...place,
    quoted,
    kinds,
    column,
    answers,
    select: `select ${answers} from ${quoted} as t`,
    checkHolds({ name, schema, hosts, labels, state }) {
      if (schema !== name && !kinds.has("schema")) throw lacks("schema", `the schema ${shown(schema)}`);
      if (hosts.length > 0 && !kinds.has("hosts")) throw lacks("hosts", "hosts");
      if (Object.keys(labels).length > 0 && !kinds.has("labels")) throw lacks("labels", "labels");
      if (state !== "active" && !kinds.has("state")) throw lacks("state", `the state ${state}`);
      if (hosts.length > 1 && kinds.get("hosts") === "text") {
        throw new TenantctlError("REGISTRY_INVALID", `${place.label} holds one host for each tenant`, {
          hint: `the column ${identifier(place.columns.hosts)} is a text; text[] holds several`,
        });
      }
    },
  };
}
