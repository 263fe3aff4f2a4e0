// The migrations room: the schemas that a statement names, wherever PostgreSQL's grammar lets it name one.

import { type Node, visit } from "./walk.js";

/** A name with a schema before it, or a schema by itself. */
export interface SchemaMention {
  schema: string;
  /** What follows the schema; undefined where it stands alone. */
  name: string | undefined;
  /** The parser's byte offset; undefined where it keeps none. */
  location: number | undefined;
  /** In a string, whose text begins after a quote. */
  quoted: boolean;
}

/** What a text is looked at as: in PL/pgSQL, a.b.c may be a record's field. */
export type Language = "sql" | "plpgsql";

/** Every schema that a syntax tree names. */
export function schemasIn(tree: unknown, language: Language): SchemaMention[] {
  const mentions: SchemaMention[] = [];
  visit(tree, (node, key) => {
    mentions.push(
      ...named(node, key, language),
      ...alone(node, key),
      ...inStrings(node, key),
      ...inSearchPath(node, key),
    );
  });
  return mentions;
}

// Lists of names of which the last but one is a schema; other nodes have fields of the same names that are no lists.
const nameLists = [
  "funcname",
  "names",
  "typeName",
  "domainname",
  "defnames",
  "objname",
  "collname",
  "opclassname",
  "opfamilyname",
  "opclass",
  "collation",
  "name",
  "cfgname",
  "dictname",
  "conversion_name",
  "func_name",
] as const;

function named(node: Node, key: string, language: Language): SchemaMention[] {
  const location = number(node.location);
  if (typeof node.schemaname === "string" && typeof node.relname === "string")
    return [{ schema: node.schemaname, name: node.relname, location, quoted: false }];
  if (key === "ColumnRef") return language === "sql" ? qualified(strings(node.fields), 3, location) : [];
  const lists = nameLists.flatMap((field) => qualified(strings(node[field]), node.pct_type === true ? 3 : 2, location));
  return [...lists, ...objectsOf(node)];
}

// table.column and the like have one more name than a table.
const belongsToTable = ["COLUMN", "RULE", "TRIGGER", "POLICY", "TABCONSTRAINT"];

function objectsOf(node: Node): SchemaMention[] {
  const kind = kindOf(node);
  if (kind === undefined || kind === "SCHEMA") return [];
  const access = kind === "OPCLASS" || kind === "OPFAMILY"; // the access method comes first
  return [node.objects ?? node.object].flat().flatMap((object) => {
    const list = (object as { List?: { items?: unknown } } | undefined)?.List?.items;
    return qualified(strings(list).slice(access ? 1 : 0), belongsToTable.includes(kind) ? 3 : 2, undefined);
  });
}

/** What kind of object a DROP, COMMENT, ALTER … RENAME, OWNER TO or SET SCHEMA is about: `TABLE`. */
export function kindOf(node: Node): string | undefined {
  const kind = node.removeType ?? node.renameType ?? node.objtype ?? node.objectType;
  return typeof kind === "string" ? kind.replace("OBJECT_", "") : undefined;
}

function qualified(names: readonly string[], least: number, location: number | undefined): SchemaMention[] {
  const [schema, name] = names;
  return schema === undefined || names.length < least ? [] : [{ schema, name, location, quoted: false }];
}

// Where a schema stands by itself. What creates, renames or drops a schema is another rule's.
function alone(node: Node, key: string): SchemaMention[] {
  const schemas: unknown[] = [];
  if (key === "AlterObjectSchemaStmt") schemas.push(node.newschema);
  if (key === "ImportForeignSchemaStmt") schemas.push(node.local_schema);
  if (key === "ReindexStmt" && node.kind === "REINDEX_OBJECT_SCHEMA") schemas.push(node.name);
  if (key === "DefElem" && node.defname === "schemas") schemas.push(...strings((node.arg as Node | undefined)?.List));
  if (key === "GrantStmt" && (node.objtype === "OBJECT_SCHEMA" || node.targtype === "ACL_TARGET_ALL_IN_SCHEMA"))
    schemas.push(...strings(node.objects));
  if (key === "PublicationObjSpec" && node.pubobjtype === "PUBLICATIONOBJ_TABLES_IN_SCHEMA") schemas.push(node.name);
  return schemas.flatMap((schema) =>
    typeof schema === "string" ? [{ schema, name: undefined, location: undefined, quoted: false }] : [],
  );
}

// Functions that take a relation's name as text.
const takesName =
  /^(nextval|currval|setval|to_reg\w+|pg_get_serial_sequence|pg_(table|indexes|relation|total_relation)_size)$/;
const registered = /^reg(class|proc|procedure|oper|operator|type|config|dictionary|collation)$/;

function inStrings(node: Node, key: string): SchemaMention[] {
  const literal =
    key === "FuncCall" && takesName.test(strings(node.funcname).at(-1) ?? "")
      ? (node.args as unknown[] | undefined)?.[0]
      : key === "TypeCast" && registered.test(strings((node.typeName as Node | undefined)?.names).at(-1) ?? "")
        ? node.arg
        : undefined;
  const [mention] = split(textOf(literal));
  return mention === undefined ? [] : [{ ...mention, location: locationOf(literal), quoted: true }];
}

const qualifiedText = /^\s*(?:"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*))\s*\.\s*"?([^"\s(]*)/u;

function split(text: string | undefined): { schema: string; name: string | undefined }[] {
  const match = qualifiedText.exec(text ?? "");
  const schema = match?.[1]?.replaceAll('""', '"') ?? match?.[2]?.toLowerCase();
  return schema === undefined ? [] : [{ schema, name: match?.[3] }];
}

function inSearchPath(node: Node, key: string): SchemaMention[] {
  const [setting, ...values] =
    key === "FuncCall" && strings(node.funcname).at(-1) === "set_config"
      ? ((node.args as unknown[] | undefined) ?? []).slice(0, 2)
      : node.kind === "VAR_SET_VALUE"
        ? [node.name, ...[node.args].flat()]
        : [];
  if ((typeof setting === "string" ? setting : textOf(setting)) !== "search_path") return [];
  return values.flatMap((value) => {
    const text = textOf(value) ?? "";
    const schemas = key === "FuncCall" ? text.split(",").map((one) => one.trim().replaceAll('"', "")) : [text];
    return schemas
      .filter((schema) => schema !== "" && schema !== "$user")
      .map((schema) => ({ schema, name: undefined, location: locationOf(value), quoted: true }));
  });
}

/** The text of a string constant. */
export function textOf(node: unknown): string | undefined {
  const text = (node as { A_Const?: { sval?: { sval?: unknown } } } | undefined)?.A_Const?.sval?.sval;
  return typeof text === "string" ? text : undefined;
}

function locationOf(node: unknown): number | undefined {
  return number((node as { A_Const?: Node } | undefined)?.A_Const?.location);
}

/** The texts of a list of strings, or of the list in a node; none if it is something else. */
export function strings(list: unknown): string[] {
  const items = Array.isArray(list) ? list : (list as { items?: unknown } | undefined)?.items;
  if (!Array.isArray(items)) return [];
  return items.flatMap((item) => {
    const text = (item as { String?: { sval?: unknown } } | null)?.String?.sval;
    return typeof text === "string" ? [text] : [];
  });
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 ? value : undefined;
}
