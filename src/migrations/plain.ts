// The migrations room: statements of which the text alone tells what they do: plain DDL, and what can't be within a transaction.

import { kindOf, strings } from "./lint-names.js";
import { outsideOnly } from "./lint-rules.js";
import { type Node, visit } from "./walk.js";

const plain = new Set(
  [
    ...["Index", "Comment", "CreateEnum", "AlterEnum", "CreateFunction", "CreateTrig", "Grant", "Rename", "Drop"],
    ...["View", "CreateSeq", "CompositeType", "AlterOwner", "CreatePolicy", "AlterPolicy"],
  ].map((kind) => `${kind}Stmt`),
);
// What is called to fill or check the rows that are there.
const known = new Set([
  "now",
  "gen_random_uuid",
  "nextval",
  "clock_timestamp",
  "statement_timestamp",
  "lower",
  "upper",
  "length",
]);

/** Whether a statement runs no code of anybody's, takes on no role and makes nothing temporary: the most of most migrations. */
export function isPlain(kind: string, node: Node): boolean {
  if (kind === "CreateStmt") return !isTemporary(node.relation);
  if (kind === "ViewStmt") return !isTemporary(node.view);
  if (kind === "CreateSeqStmt") return !isTemporary(node.sequence);
  if (kind === "AlterTableStmt") return callsNothing(node);
  return plain.has(kind);
}

function isTemporary(relation: unknown): boolean {
  return (relation as Node | undefined)?.relpersistence === "t";
}

function callsNothing(statement: Node): boolean {
  let calls = false;
  visit(statement, (node, key) => {
    if (key === "FuncCall" && !known.has(strings(node.funcname).at(-1) ?? "")) calls = true;
  });
  return !calls;
}

/** The name of the temporary table, view or sequence that a statement makes, if its name has no schema. */
export function temporaryName(kind: string, node: Node): string | undefined {
  const { relpersistence, schemaname, relname } = madeBy(kind, node);
  return relpersistence === "t" && schemaname === undefined && typeof relname === "string" ? relname : undefined;
}

/** The name of the table, view or sequence that a statement makes to stay. */
export function madeName(kind: string, node: Node): string | undefined {
  if (kind === "RenameStmt" && node.relation !== undefined && node.renameType !== "OBJECT_COLUMN")
    return typeof node.newname === "string" ? node.newname : undefined;
  const { relpersistence, relname } = madeBy(kind, node);
  return relpersistence !== "t" && typeof relname === "string" ? relname : undefined;
}

function madeBy(kind: string, node: Node): Node {
  const into = (node.into ?? node.intoClause) as Node | undefined;
  const made = { CreateStmt: node.relation, ViewStmt: node.view, CreateSeqStmt: node.sequence }[kind] ?? into?.rel;
  return (made ?? {}) as Node;
}

/** Whether a statement can be within a transaction. DO and CALL may commit by themselves: of CALL nobody knows. */
export function isTransactional(kind: string, node: Node, text: string): boolean {
  if (kind === "DoStmt") return !/\b(commit|rollback|call)\b/i.test(text.replaceAll(/--.*|\/\*[\s\S]*?\*\//g, ""));
  const never = ["CallStmt", "VariableSetStmt", "VariableShowStmt", "TransactionStmt"];
  return !never.includes(kind) && outsideOnly(kind, node) === undefined;
}

/** The relations that a statement changes which can't be within a transaction. */
export function changesAlone(kind: string, node: Node): { schema: string | undefined; name: string }[] {
  if (outsideOnly(kind, node) === undefined) return [];
  if (kind === "DropStmt")
    return [node.objects].flat().map((object) => {
      const names = strings((object as { List?: unknown } | undefined)?.List);
      return { schema: names.at(-2), name: names.at(-1) ?? "" };
    });
  if (kind !== "IndexStmt" && kind !== "AlterTableStmt") return [];
  const { schemaname, relname } = (node.relation ?? {}) as Node;
  return typeof relname === "string" ? [{ schema: schemaname as string | undefined, name: relname }] : [];
}

/** Something that is changed without a lock on it, and named without a schema. */
export interface Unlocked {
  catalog: string;
  /** What its columns in the catalog begin with. */
  prefix: string;
  name: string;
}

const unlocked: Readonly<Record<string, { catalog: string; prefix: string; field: string }>> = {
  AlterFunctionStmt: { catalog: "pg_proc", prefix: "pro", field: "func" },
  AlterDomainStmt: { catalog: "pg_type", prefix: "typ", field: "typeName" },
  AlterTypeStmt: { catalog: "pg_type", prefix: "typ", field: "typeName" },
  AlterStatsStmt: { catalog: "pg_statistic_ext", prefix: "stx", field: "defnames" },
  AlterCollationStmt: { catalog: "pg_collation", prefix: "coll", field: "collname" },
  AlterTSDictionaryStmt: { catalog: "pg_ts_dict", prefix: "dict", field: "dictname" },
  AlterTSConfigurationStmt: { catalog: "pg_ts_config", prefix: "cfg", field: "cfgname" },
};
const ofTypes = ["TYPE", "DOMAIN", "DOMCONSTRAINT"];

/** What a statement changes and leaves no lock on that would tell of it, where it names no schema: it may be found in a shared one. */
export function changesUnlocked(kind: string, node: Node): Unlocked[] {
  const renamesType = ["RenameStmt", "AlterOwnerStmt", "AlterObjectSchemaStmt"].includes(kind);
  const found =
    renamesType && ofTypes.includes(kindOf(node) ?? "")
      ? { catalog: "pg_type", prefix: "typ", field: "object" }
      : unlocked[kind];
  if (found === undefined) return [];
  const value = node[found.field];
  const { List, TypeName, objname } = (value ?? {}) as { List?: unknown; TypeName?: Node; objname?: unknown };
  const names = [value, List, TypeName?.names, objname].map(strings).find(({ length }) => length > 0) ?? [];
  const [name] = names;
  return name === undefined || names.length > 1 ? [] : [{ catalog: found.catalog, prefix: found.prefix, name }];
}
