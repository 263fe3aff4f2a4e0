// The migrations room: a query's blocks, and what each compares with the names of objects in PostgreSQL's catalogs.

import { type Catalog, type ColumnKind, catalogOf } from "./catalog-columns.js";
import { strings, textOf } from "./lint-names.js";
import type { Node } from "./walk.js";

/** A comparison with an object's name, in a block that says nothing of the object's schema. */
export interface CatalogLookup {
  /** `information_schema.columns`. */
  catalog: string;
  /** `table_name`. */
  column: string;
  /** What it is compared with, where that is a constant. */
  value: string | undefined;
  /** What would tie it to the tenant's schema. */
  tie: string;
  /** The parser's byte offset. */
  location: number | undefined;
}

/** The first such comparison of each block of a syntax tree. */
export function catalogLookupsIn(tree: unknown): CatalogLookup[] {
  const found: CatalogLookup[] = [];
  const blocks: unknown[] = [tree];
  for (let block = blocks.shift(); block !== undefined; block = blocks.shift()) {
    const { sources, comparisons, looksAtPath, inner } = readBlock(block);
    blocks.push(...inner);
    if (looksAtPath || ![...sources.values()].some(Boolean)) continue;
    const judged = comparisons.flatMap((comparison) => judge(comparison, sources));
    const [first] = judged.flatMap((one) => (one === "tied" ? [] : one));
    if (first !== undefined && !judged.includes("tied")) found.push(first);
  }
  return found;
}

/** What a block reads from, by the names that its columns may have before them; undefined for what is no catalog. */
type Sources = ReadonlyMap<string, Catalog | undefined>;

interface Comparison {
  left: unknown;
  right: unknown;
  /** It holds for one value, or for those of a list. */
  equal: boolean;
  /** It holds for what is like a pattern. */
  like: boolean;
}

interface Block {
  sources: Sources;
  comparisons: Comparison[];
  /** It asks whether an object is found by the search_path. */
  looksAtPath: boolean;
  /** Blocks within it. */
  inner: unknown[];
}

const blockKeys = new Set(["SelectStmt", "UpdateStmt", "DeleteStmt", "InsertStmt", "MergeStmt"]);

/** Whether it is a query by itself. Both sides of a UNION are; those of a JOIN, under the same keys, are not. */
function isBlock(node: Node, key: string): boolean {
  return blockKeys.has(key) || ((key === "larg" || key === "rarg") && node.limitOption !== undefined);
}

const comparing = /^(=|<>|!=|[<>]=?|!?~~?\*?|(not )?between.*|(not )?similar.*)$/i;

function readBlock(root: unknown): Block {
  const sources = new Map<string, Catalog | undefined>();
  const block: Block = { sources, comparisons: [], looksAtPath: false, inner: [] };
  eachNode(root, (node, key, negated) => {
    if (key === "RangeVar") {
      const { schemaname, relname, alias } = node as { schemaname?: string; relname?: string; alias?: Node };
      const name = String(alias?.aliasname ?? relname);
      sources.set(name, catalogOf(schemaname, relname ?? ""));
    }
    if (key === "FuncCall" && /^pg_\w+_is_visible$/.test(strings(node.funcname).at(-1) ?? "")) block.looksAtPath = true;
    const comparison = comparisonOf(node, key, negated);
    if (comparison !== undefined) block.comparisons.push(comparison);
    if (isBlock(node, key)) block.inner.push(node);
  });
  return block;
}

function comparisonOf(node: Node, key: string, negated: boolean): Comparison | undefined {
  if (key === "SubLink" && node.testexpr !== undefined) {
    const operator = strings(node.operName)[0] ?? "=";
    const equal = node.subLinkType === "ANY_SUBLINK" && operator === "=" && !negated;
    return { left: node.testexpr, right: undefined, equal, like: false };
  }
  const operator = strings(node.name).at(-1) ?? "";
  if (key !== "A_Expr" || !comparing.test(operator)) return undefined;
  const equal = operator === "=" && node.kind !== "AEXPR_DISTINCT" && !negated;
  return { left: node.lexpr, right: node.rexpr, equal, like: /^~~\*?$/.test(operator) && !negated };
}

/** The nodes of a tree that are in no block within it; those blocks themselves are among them. No recursion: trees are as deep as expressions are long. */
function eachNode(root: unknown, see: (node: Node, key: string, negated: boolean) => void): void {
  const waiting: [unknown, string, boolean][] = [[root, "", false]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [value, key, negated] = next;
    if (typeof value !== "object" || value === null) continue;
    const node = value as Node;
    if (!Array.isArray(value)) see(node, key, negated);
    if (!Array.isArray(value) && isBlock(node, key)) continue;
    const below = negated !== (key === "BoolExpr" && node.boolop === "NOT_EXPR");
    for (const [name, inner] of Object.entries(value).reverse())
      waiting.push([inner, Array.isArray(value) ? key : name, below]);
  }
}

interface Column {
  catalog: Catalog;
  name: string;
  kind: ColumnKind | undefined;
  location: number | undefined;
}

function judge({ left, right, equal, like }: Comparison, sources: Sources): ("tied" | CatalogLookup)[] {
  const sides = [
    [left, right],
    [right, left],
  ] as const;
  return sides.flatMap(([side, other]) => {
    const bare = bareColumn(side, sources);
    const value = textOf(withoutCasts(other));
    const joined = bareColumn(other, sources) !== undefined;
    const found: ("tied" | CatalogLookup)[] = [];
    let refersElsewhere = false;
    let registers = false;
    eachNode(side, (node, key) => {
      if (key === "ColumnRef" && strings(node.fields).at(-1) === foreignKeyTarget) refersElsewhere = true;
      if (registersObject(node, key)) registers = true;
      const column = key === "ColumnRef" ? columnOf(node, sources) : undefined;
      if (column === undefined || joined) return;
      const { catalog, name, kind, location } = column;
      if (kind === "name")
        found.push({ catalog: catalog.name, column: name, value, tie: catalog.tieFor(name), location });
      if (kind === "schema" && (equal || (like && !value?.includes("%")))) found.push("tied");
      if (kind === "oid" && equal && (bare !== undefined || isRow(side))) found.push("tied");
    });
    if (registers && equal && !refersElsewhere && bareName(other) !== foreignKeyTarget) found.push("tied");
    return found;
  });
}

/** A name or a number that is looked up by the search_path. */
function registersObject(node: Node, key: string): boolean {
  if (key === "TypeCast") return /^reg/.test(strings((node.typeName as Node | undefined)?.names).at(-1) ?? "");
  return key === "FuncCall" && /^to_reg/.test(strings(node.funcname).at(-1) ?? "");
}

// The table that a foreign key leads to may be a shared one.
const foreignKeyTarget = "confrelid";

function isRow(side: unknown): boolean {
  return (side as Node | undefined)?.RowExpr !== undefined;
}

/** A column of one of these catalogs that is all of an operand, but for casts. */
function bareColumn(side: unknown, sources: Sources): Column | undefined {
  const column = withoutCasts(side)?.ColumnRef as Node | undefined;
  return column === undefined ? undefined : columnOf(column, sources);
}

function bareName(side: unknown): string | undefined {
  return strings((withoutCasts(side)?.ColumnRef as Node | undefined)?.fields).at(-1);
}

function withoutCasts(side: unknown): Node | undefined {
  let node = side as Node | undefined;
  while (node?.TypeCast !== undefined) node = (node.TypeCast as Node).arg as Node | undefined;
  return node;
}

function columnOf({ fields, location }: Node, sources: Sources): Column | undefined {
  const names = strings(fields);
  const name = names.at(-1) ?? "";
  const place = typeof location === "number" ? location : undefined;
  const qualifier = names.at(-2);
  const catalog =
    qualifier === undefined
      ? [...sources.values()].find((one) => one?.kindOf(name) !== undefined)
      : sources.get(qualifier);
  return catalog === undefined ? undefined : { catalog, name, kind: catalog.kindOf(name), location: place };
}
