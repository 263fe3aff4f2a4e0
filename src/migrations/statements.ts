// The migrations room: a section's statements, as PostgreSQL's own parser sees them, and those we refuse to run.

import { identifier } from "../database/quote.js";
import { cascades, type Touched, touched } from "./effects.js";
import { scansIndexes } from "./index-scans.js";
import { lineAndColumnIn, unitsIn } from "./places.js";
import { changesAlone, changesUnlocked, isPlain, isTransactional, temporaryName, type Unlocked } from "./plain.js";
import type { Section } from "./sections.js";
import { type Node, visit } from "./walk.js";

/** One statement of a section. Offsets count UTF-16 units in the section's text. */
export interface SectionStatement {
  start: number;
  end: number;
  /** The name of the index that it builds concurrently, where it has one. */
  buildsIndex: string | undefined;
  /** It can be within a transaction: neither does PostgreSQL refuse that, nor may it commit by itself. */
  transactional: boolean;
  /** It changes nothing but what it names, and names nothing outside of the tenant's schema. */
  confined: boolean;
  /** What it changes and names with a schema. */
  touches: Touched[];
  /** Of what can't be within a transaction: the relations that it changes, as it names them. */
  changes: { schema: string | undefined; name: string }[];
  /** What it changes without a schema before its name and without a lock that would tell of it. */
  unlocked: Unlocked[];
}

/** A statement of which nothing is known but where it is. */
export function unknownStatement(start: number, end: number): SectionStatement {
  const nothing = { touches: [], changes: [], unlocked: [] };
  return { start, end, buildsIndex: undefined, transactional: true, confined: false, ...nothing };
}

export interface ParsedSection {
  /** Undefined: the parser can't read it, and the server judges it as one piece. */
  statements: SectionStatement[] | undefined;
  /** It adds a value to an enum, which may be used only after a commit. */
  addsEnumValue: boolean;
  /** It runs no code of anybody's, and leaves the session as it was. */
  plain: boolean;
  /** It says when constraints are checked, or may do so. */
  setsConstraints: boolean;
  /** Names of temporary tables that it makes. */
  temporary: string[];
  /** What takes back what a statement of it does to the session, and would outlive the migration. */
  tidyTexts: string[];
  /** Lines, in the file, of what takes longer on some servers the more indexes the database has. */
  indexScans: number[];
  /** What would break the transaction or the schema, each with its line in the file. */
  refusals: { message: string; line: number }[];
}

type Parser = {
  parseSync(text: string): { stmts?: { stmt_location?: number; stmt_len?: number; stmt: unknown }[] };
  parsePlPgSQLSync(text: string): unknown;
};

let parser: Promise<Parser> | undefined;

export async function loadParser(): Promise<Parser> {
  parser ??= (async () => {
    const module = await import("libpg-query");
    await module.loadModule();
    return module as unknown as Parser;
  })();
  return await parser;
}

/** One statement of any text. Offsets count UTF-16 units in it. */
export interface ParsedStatement {
  start: number;
  end: number;
  /** The parser's name for it: `SelectStmt`. */
  kind: string;
  node: Node;
}

/** Splits a text into its statements. @throws the parser's error, whose `sqlDetails.cursorPosition` counts characters from 0. */
export async function parseStatements(text: string): Promise<ParsedStatement[]> {
  const { parseSync } = await loadParser();
  const raw = text === "" ? [] : (parseSync(text).stmts ?? []);
  const toUnits = unitsIn(text);
  return raw.map(({ stmt_location = 0, stmt_len, stmt }) => {
    const start = skipSpace(text, toUnits(stmt_location));
    const end = stmt_len === undefined || stmt_len === 0 ? text.length : toUnits(stmt_location + stmt_len);
    const [kind, node] = Object.entries(stmt as Record<string, Node>)[0] ?? ["", {}];
    return { start, end, kind, node };
  });
}

/** Parses a section with PostgreSQL's parser. Never throws: what can't be parsed is left to the server. */
export async function parseSection(section: Section): Promise<ParsedSection> {
  const parsed: ParsedSection = {
    statements: undefined,
    addsEnumValue: false,
    plain: false,
    setsConstraints: /\bconstraints\b/i.test(section.text),
    temporary: [],
    tidyTexts: [],
    indexScans: [],
    refusals: [],
  };
  let statements: ParsedStatement[];
  try {
    statements = await parseStatements(section.text);
  } catch {
    parsed.refusals = clientLines(section);
    parsed.addsEnumValue = /add\s+value/i.test(section.text);
    return parsed;
  }
  const placeOf = lineAndColumnIn(section.text);
  parsed.plain = !/pg_temp/i.test(section.text) && statements.every(({ kind, node }) => isPlain(kind, node));
  parsed.statements = statements.map(({ start, end, kind, node }) => {
    const line = () => section.line - 1 + placeOf(start).line;
    parsed.tidyTexts.push(...tidy(kind, node));
    if (scansIndexes(kind, node)) parsed.indexScans.push(line());
    const refusal = refuse(kind, node, section.transaction);
    if (refusal) parsed.refusals.push({ message: refusal, line: line() });
    if (kind === "AlterEnumStmt" && node.newVal !== undefined && node.oldVal === undefined) parsed.addsEnumValue = true;
    const buildsIndex =
      kind === "IndexStmt" && node.concurrent === true && typeof node.idxname === "string" ? node.idxname : undefined;
    const temporary = temporaryName(kind, node);
    if (temporary !== undefined) parsed.temporary.push(temporary);
    const touches = touched(kind, node);
    return {
      ...{ start, end, buildsIndex, touches },
      transactional: isTransactional(kind, node, section.text.slice(start, end)),
      confined: isPlain(kind, node) && !cascades(kind, node) && touches.length === 0,
      changes: changesAlone(kind, node),
      unlocked: changesUnlocked(kind, node),
    };
  });
  return parsed;
}

// What calls the functions in it; a view or a function with a call in its body does not.
const calling = new Set(
  ["Select", "Call", "Insert", "Update", "Delete", "Merge", "CreateTableAs", "Explain"].map((kind) => `${kind}Stmt`),
);

/** Why the loader refuses a statement, if it does. */
export function refuse(kind: string, node: Node, transaction: boolean): string | undefined {
  if (kind === "TransactionStmt") return refuseTransaction(String(node.kind));
  if (kind === "VariableSetStmt") return refuseSetting(node);
  if (kind === "CopyStmt" && node.is_from === true && node.filename === undefined) {
    return "COPY FROM STDIN has no input here: use INSERT, or a module";
  }
  if (kind === "DiscardStmt") return "DISCARD would take the search_path away";
  if (calling.has(kind) && setsConfig(node)) {
    return "set_config of search_path or role for the session would outlive the migration: pass true as its third argument, or leave it out";
  }
  // A DO block or a function may still do it at run time: the search_path is set again before each migration.
  if (transaction && kind === "IndexStmt" && node.concurrent === true) {
    return "CREATE INDEX CONCURRENTLY can't run in a transaction: write -- migrate:up transaction:false";
  }
  return undefined;
}

// Settings belong to the session, which goes on to other tenants, or, behind a pooler, to other clients.
function tidy(kind: string, node: Node): string[] {
  if (kind !== "VariableSetStmt" || node.is_local === true || node.name === undefined) return [];
  if (node.kind === "VAR_SET_MULTI") {
    const characteristics = ["isolation", "read_only", "deferrable"];
    return node.name === "TRANSACTION" ? [] : characteristics.map((name) => `reset default_transaction_${name}`);
  }
  return [`reset ${String(node.name).split(".").map(identifier).join(".")}`];
}

function refuseTransaction(kind: string): string | undefined {
  const savepoints = ["TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO"];
  if (savepoints.includes(kind)) return undefined;
  const word = kind.replace("TRANS_STMT_", "").replaceAll("_", " ");
  return `${word} would end or nest the transaction that tenantctl opens: leave it out`;
}

function refuseSetting(node: Node): string | undefined {
  if (node.is_local === true) return undefined;
  const name = String(node.name ?? "");
  if (node.kind === "VAR_RESET_ALL") return "RESET ALL would take the search_path away";
  if (!["search_path", "role", "session_authorization"].includes(name)) return undefined;
  return `${name} set for the session would lead later statements elsewhere: leave it out, or use SET LOCAL`;
}

// Looks for set_config('search_path' | 'role', …) whose third argument is not a plain true, anywhere in a statement.
function setsConfig(statement: Node): boolean {
  let found = false;
  visit(statement, (node, key) => {
    const { funcname, args } = node as { funcname?: { String?: { sval?: string } }[]; args?: unknown[] };
    if (key !== "FuncCall" || funcname?.at(-1)?.String?.sval !== "set_config") return;
    const [name, , local] = args ?? [];
    const setting = constant(name, "sval");
    const touches =
      setting === undefined || ["search_path", "role", "session_authorization"].includes(String(setting).toLowerCase());
    found ||= touches && constant(local, "boolval") !== true;
  });
  return found;
}

function constant(node: unknown, kind: "sval" | "boolval"): unknown {
  const constant = (node as { A_Const?: Record<string, Node> } | undefined)?.A_Const;
  return constant?.[kind]?.[kind];
}

// The parser stops at what only psql understands; these lines deserve a better word than a syntax error.
export function clientLines(section: Pick<Section, "text" | "line">): { message: string; line: number }[] {
  const refusals = [];
  for (const [index, line] of section.text.split("\n").entries()) {
    if (/^\\[a-z!.]/i.test(line))
      refusals.push({
        message: `${line.trim().split(/\s/)[0]} is for psql, no SQL: take it out`,
        line: section.line + index,
      });
    else if (/^copy\b.*\bfrom\s+stdin\b/i.test(line)) {
      refusals.push({
        message: "COPY FROM STDIN has no input here: use INSERT (pg_dump --inserts), or a module",
        line: section.line + index,
      });
    }
  }
  return refusals;
}

// A statement's location includes the space and comments before it.
function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length) {
    if (/\s/.test(text[at] ?? "")) at++;
    else if (text.startsWith("--", at)) at = text.indexOf("\n", at) === -1 ? text.length : text.indexOf("\n", at);
    else if (text.startsWith("/*", at)) at = skipBlockComment(text, at);
    else return at;
  }
  return at;
}

function skipBlockComment(text: string, from: number): number {
  let depth = 0;
  let at = from;
  do {
    if (text.startsWith("/*", at)) [depth, at] = [depth + 1, at + 2];
    else if (text.startsWith("*/", at)) [depth, at] = [depth - 1, at + 2];
    else at++;
  } while (depth > 0 && at < text.length);
  return at;
}
