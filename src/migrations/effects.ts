// The migrations room: what a statement changes when it runs, and in which schemas, as far as its text names them.

import { kindOf, type SchemaMention, schemasIn, strings } from "./lint-names.js";
import { nameOf } from "./reach.js";
import { type Node, visit } from "./walk.js";

/** How a statement touches an object: its definition, its rows, as the target of a foreign key, its rights or its comment. */
export type Effect = "definition" | "rows" | "reference" | "rights" | "comment";

export interface Touched {
  effect: Effect;
  /** What it does to it, for messages. */
  verb: string;
  /** As the config's `mayChange` has it. */
  name: string;
  /** Undefined for what is in no schema. */
  mention: SchemaMention | undefined;
}

const rowChanges = ["InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"];
// What runs the statements that are written in it: WITH … AS (INSERT …), EXPLAIN ANALYZE.
const running = new Set([
  ...rowChanges,
  ...["Select", "CreateTableAs", "Explain", "DeclareCursor", "Prepare", "Copy"].map((kind) => `${kind}Stmt`),
]);
// Where they keep the name of what they define or change.
const targets: Readonly<Record<string, readonly string[]>> = {
  CreateStmt: ["relation", "inhRelations"],
  AlterTableStmt: ["relation"],
  RenameStmt: ["relation", "object"],
  AlterObjectSchemaStmt: ["relation", "object"],
  AlterOwnerStmt: ["relation", "object"],
  AlterObjectDependsStmt: ["relation", "object"],
  IndexStmt: ["relation"],
  CreateTrigStmt: ["relation"],
  RuleStmt: ["relation"],
  CreatePolicyStmt: ["table"],
  AlterPolicyStmt: ["table"],
  CreateSeqStmt: ["sequence"],
  AlterSeqStmt: ["sequence"],
  ViewStmt: ["view"],
  TruncateStmt: ["relations"],
  RefreshMatViewStmt: ["relation"],
  CreateDomainStmt: ["domainname"],
  AlterDomainStmt: ["typeName"],
  CreateEnumStmt: ["typeName"],
  AlterEnumStmt: ["typeName"],
  CreateRangeStmt: ["typeName"],
  AlterTypeStmt: ["typeName"],
  CompositeTypeStmt: ["typevar"],
  CreateFunctionStmt: ["funcname"],
  AlterFunctionStmt: ["func"],
  DefineStmt: ["defnames"],
  CreateStatsStmt: ["defnames", "relations"],
  AlterStatsStmt: ["defnames"],
  CreateOpClassStmt: ["opclassname"],
  CreateOpFamilyStmt: ["opfamilyname"],
  AlterOpFamilyStmt: ["opfamilyname"],
  AlterOperatorStmt: ["opername"],
  CreateConversionStmt: ["conversion_name"],
  AlterCollationStmt: ["collname"],
  AlterTSDictionaryStmt: ["dictname"],
  AlterTSConfigurationStmt: ["cfgname"],
};

/** What a statement touches, if it names a schema for it. What it only reads or calls is not among it. */
export function touched(kind: string, node: Node): Touched[] {
  const found: Touched[] = [];
  const add: Add = (effect, ...mentions) => {
    for (const mention of mentions)
      found.push({ effect, verb: verbOf(kind, effect), name: nameOf(mention.schema, mention.name), mention });
  };
  const fields = targets[kind];
  const effect = wholes[kind];
  if (fields !== undefined) add("definition", ...named(kind, node, fields));
  if (effect !== undefined && !betweenTypes.includes(kindOf(node) ?? ""))
    add(effect, ...schemasIn({ [kind]: withoutArguments(node) }, "sql"));
  if (kind === "CreateForeignTableStmt") add("definition", ...named("CreateStmt", inner(node.base), ["relation"]));
  for (const schema of schemasOf(kind, node)) add(kind === "CommentStmt" ? "comment" : "definition", alone(schema));
  if (running.has(kind)) inRunning(kind, node, add);
  else if (definesTables.has(kind)) inDefinition(node, add);
  for (const name of acrossSchemas(kind, node))
    found.push({ effect: "definition", verb: verbOf(kind, "definition"), name, mention: undefined });
  return found;
}

function verbOf(kind: string, effect: Effect): string {
  if (effect === "reference") return "refers to";
  if (effect === "rows") return "writes rows of";
  if (effect !== "definition") return `changes the ${effect} of`;
  if (kind.startsWith("Drop")) return "drops";
  return kind.startsWith("Create") || kind === "ViewStmt" ? "creates" : "changes";
}

// What is in no schema, by the words of reach-locks.ts.
const globals: Readonly<Record<string, string>> = {
  PUBLICATION: "publication",
  FOREIGN_SERVER: "server",
  FDW: "foreign data wrapper",
  EVENT_TRIGGER: "event trigger",
  LANGUAGE: "language",
  ACCESS_METHOD: "access method",
};

// What is in no schema, and may take objects of all schemas along.
function acrossSchemas(kind: string, node: Node): string[] {
  if (kind === "DropStmt" && kindOf(node) === "EXTENSION")
    return strings(node.objects).map((name) => nameOf(null, name, "extension"));
  const global = globals[kindOf(node) ?? ""];
  if (global !== undefined && ["DropStmt", "RenameStmt", "AlterOwnerStmt"].includes(kind)) {
    const named = [strings(node.objects), strings([node.object]), text(node.subname)].find(({ length }) => length > 0);
    return (named ?? []).map((name) => nameOf(null, name, global));
  }
  if (kind === "DropdbStmt") return [nameOf(null, String(node.dbname), "database")];
  if (kind !== "DropOwnedStmt" && kind !== "ReassignOwnedStmt") return [];
  return [node.roles].flat().map((role) => {
    const { rolename } = (role as { RoleSpec?: { rolename?: string } }).RoleSpec ?? {};
    return nameOf(null, rolename ?? "current_user", "role");
  });
}

// Each name in them is that of a target.
const wholes: Readonly<Record<string, Effect>> = {
  DropStmt: "definition",
  CommentStmt: "comment",
  SecLabelStmt: "comment",
  GrantStmt: "rights",
  AlterDefaultPrivilegesStmt: "rights",
};

// They have no name but their types'.
const betweenTypes = ["CAST", "TRANSFORM"];

const definesTables = new Set(["CreateStmt", "AlterTableStmt", "CreateSchemaStmt"]);

function named(kind: string, node: Node, fields: readonly string[]): SchemaMention[] {
  const part = withoutArguments(Object.fromEntries(fields.map((field) => [field, node[field]])));
  const what = { objectType: node.objectType, renameType: node.renameType, removeType: node.removeType };
  return schemasIn({ [kind]: { ...part, ...what } }, "sql");
}

// The types in a function's name are only looked at.
function withoutArguments(node: Node): Node {
  return JSON.parse(JSON.stringify(node), (key, value) =>
    key === "objargs" || key === "objfuncargs" ? undefined : value,
  ) as Node;
}

function alone(schema: string): SchemaMention {
  return { schema, name: undefined, location: undefined, quoted: false };
}

function text(value: unknown): string[] {
  return typeof value === "string" ? [value] : [];
}

// Schemas that are changed themselves, or that something is moved into.
function schemasOf(kind: string, node: Node): string[] {
  switch (kind) {
    case "AlterObjectSchemaStmt":
      return text(node.newschema);
    case "ImportForeignSchemaStmt":
      return text(node.local_schema);
    case "CreateSchemaStmt":
      return node.schemaElts === undefined ? [] : text(node.schemaname);
    case "DropStmt":
      return kindOf(node) === "SCHEMA" ? strings(node.objects) : [];
    case "RenameStmt":
      return kindOf(node) === "SCHEMA" ? text(node.subname) : [];
    case "AlterOwnerStmt":
    case "CommentStmt":
      return kindOf(node) === "SCHEMA" ? strings([node.object]) : [];
    default:
      return [];
  }
}

type Add = (effect: Effect, ...mentions: SchemaMention[]) => void;

function inRunning(kind: string, node: Node, add: Add): void {
  visit({ [kind]: node }, (inside, key) => {
    if (rowChanges.includes(key)) add("rows", ...schemasIn({ relation: { ...inner(inside.relation) } }, "sql"));
    if (key === "CopyStmt" && inside.is_from === true) add("rows", ...schemasIn({ relation: inside.relation }, "sql"));
    // SELECT … INTO, CREATE TABLE … AS
    if (key === "intoClause" || key === "into") add("definition", ...schemasIn({ rel: inside.rel }, "sql"));
  });
}

// A table may refer to others, and become a part of one, or take one in.
function inDefinition(node: Node, add: Add): void {
  visit(node, (inside, key) => {
    if (key === "Constraint" && inside.contype === "CONSTR_FOREIGN")
      add("reference", ...schemasIn({ pktable: inside.pktable }, "sql"));
    if (key === "AlterTableCmd" && /Inherit|Partition/.test(String(inside.subtype)))
      add("definition", ...schemasIn({ def: inside.def }, "sql"));
  });
}

function inner(node: unknown): Node {
  return typeof node === "object" && node !== null ? (node as Node) : {};
}

/** The word for what drops objects of others that depend on it, if the statement does: everything that CASCADE may take along. */
export function cascades(kind: string, node: Node): boolean {
  if (kind === "GrantStmt" || kind === "GrantRoleStmt") return false;
  if (kind === "AlterTableStmt") return JSON.stringify(node.cmds ?? []).includes('"behavior":"DROP_CASCADE"');
  return node.behavior === "DROP_CASCADE";
}
