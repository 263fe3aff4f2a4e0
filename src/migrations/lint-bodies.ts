// The migrations room: the SQL inside of functions, procedures and DO blocks.

import { type Language, type SchemaMention, schemasIn, strings, textOf } from "./lint-names.js";
import { loadParser, type ParsedStatement, parseStatements } from "./statements.js";
import { type Node, visit } from "./walk.js";

/** One piece of SQL in a body, as the parser reads it. */
export interface BodyPiece {
  tree: unknown;
  /** Its text, to which the tree's locations belong. */
  text: string;
  /** Where it begins in the body; undefined where the parser keeps no more than a line. */
  start: number | undefined;
  /** The line of the body that it is on, from 1. */
  line: number;
}

export interface Body {
  language: Language;
  text: string;
  /** Where its text begins in the whole one; undefined where escapes make them differ. */
  start: number | undefined;
  pieces: BodyPiece[];
  /** The schemas in the types of its variables, by line. */
  types: { mention: SchemaMention; line: number }[];
}

/**
 * The body of a statement that has one as text, in SQL or PL/pgSQL; undefined for all others. BEGIN ATOMIC is a part of its statement's own tree.
 * @throws the parser's error.
 */
export async function bodyOf(text: string, statement: ParsedStatement): Promise<Body | undefined> {
  const { kind, node } = statement;
  if (kind !== "CreateFunctionStmt" && kind !== "DoStmt") return undefined;
  const options = new Map(
    [node.options ?? node.args ?? []].flat().map((option) => {
      const { defname, arg } = (option as { DefElem: { defname: string; arg?: Node } }).DefElem;
      return [defname, arg];
    }),
  );
  const source = [...strings(options.get("as")?.List), ...strings([options.get("as")])][0];
  const language = (strings([options.get("language")])[0] ?? "plpgsql").toLowerCase();
  if (source === undefined || (language !== "sql" && language !== "plpgsql")) return undefined;
  const start = text.indexOf(source, statement.start);
  const body = { language, text: source, start: start === -1 || source === "" ? undefined : start } as const;
  if (language === "sql") return { ...body, pieces: await sqlPieces(source), types: [] };
  return { ...body, ...(await plpgsqlPieces(text.slice(statement.start, statement.end))) };
}

async function sqlPieces(source: string): Promise<BodyPiece[]> {
  const statements = await parseStatements(source);
  return statements.map(({ kind, node }) => ({ tree: { [kind]: node }, text: source, start: 0, line: 1 }));
}

async function plpgsqlPieces(definition: string): Promise<Pick<Body, "pieces" | "types">> {
  const { parsePlPgSQLSync } = await loadParser();
  const found: { texts: string[]; line: number }[] = [];
  const types: { name: string; line: number }[] = [];
  let line = 1;
  let declaring = true; // all variables come first, and again where a statement uses them
  visit(parsePlPgSQLSync(definition), (node, key) => {
    if (key.startsWith("PLpgSQL_stmt")) declaring = false;
    if (typeof node.lineno === "number" && (declaring || key.startsWith("PLpgSQL_stmt"))) line = node.lineno;
    if (declaring && key === "PLpgSQL_type") types.push({ name: String(node.typname), line });
    if (key === "PLpgSQL_expr" && typeof node.query === "string") found.push({ texts: readings(node), line });
  });
  const pieces: BodyPiece[] = [];
  for (const { texts, line } of found) {
    for (const piece of await firstReading(texts)) {
      pieces.push({ ...piece, start: undefined, line });
      // EXECUTE of a constant is SQL as well.
      if (constantOf(piece.tree) !== undefined)
        for (const inner of await firstReading([constantOf(piece.tree) ?? ""]))
          pieces.push({ ...inner, start: undefined, line });
    }
  }
  return { pieces, types: await typeMentions(types) };
}

// A statement, an expression, or an assignment: the parser of plain SQL knows the first only.
function readings({ query, parseMode }: Node): string[] {
  const text = String(query);
  const value = /^[^=]*?:?=([\s\S]*)$/.exec(text)?.[1];
  return parseMode === 0 ? [text] : [`select ${text}`, ...(value === undefined ? [] : [`select ${value}`])];
}

// What plain SQL's parser can't read has nothing in it that could be looked at.
async function firstReading(texts: readonly string[]): Promise<{ tree: unknown; text: string }[]> {
  for (const text of texts) {
    try {
      return (await parseStatements(text)).map(({ kind, node }) => ({ tree: { [kind]: node }, text }));
    } catch {}
  }
  return [];
}

async function typeMentions(types: readonly { name: string; line: number }[]): Promise<Body["types"]> {
  const mentions: Body["types"] = [];
  for (const { name, line } of types) {
    if (!name.includes(".")) continue;
    const [type] = name.split("%");
    const least = /%type/i.test(name) ? 3 : 2; // table.column%type has no schema
    for (const { tree } of await firstReading([`select null::${type}`]))
      for (const mention of schemasIn(tree, "plpgsql"))
        if ((type ?? "").split(".").length >= least) mentions.push({ mention, line });
  }
  return mentions;
}

function constantOf(tree: unknown): string | undefined {
  const select = (tree as { SelectStmt?: { targetList?: { ResTarget?: { val?: unknown } }[] } }).SelectStmt;
  return select?.targetList?.length === 1 ? textOf(select.targetList[0]?.ResTarget?.val) : undefined;
}
