// The migrations room: what lint finds in one section of a migration, and where.

import { lookupHint, lookupMessage, lookupsOf } from "./catalog-lookups.js";
import { touched } from "./effects.js";
import { scansIndexes } from "./index-scans.js";
import { type Body, bodyOf } from "./lint-bodies.js";
import { securityDefiner } from "./lint-definer.js";
import { type Language, type SchemaMention, schemasIn, textOf } from "./lint-names.js";
import { placesIn } from "./lint-places.js";
import {
  cascade,
  extension,
  globalObject,
  grantPublic,
  type LintRule,
  outsideOnly,
  setContext,
  type Verdict,
  wholeDatabase,
} from "./lint-rules.js";
import { lineStart, unitsIn } from "./places.js";
import { temporaryName } from "./plain.js";
import { mayChange } from "./reach.js";
import type { Section } from "./sections.js";
import { clientLines, type ParsedStatement, parseStatements, refuse } from "./statements.js";
import { type Node, visit } from "./walk.js";

/** Whose migrations these are, and which schemas they may name. */
export interface LintScope {
  shared: boolean;
  sharedSchemas: readonly string[];
  tenantSchemas: ReadonlySet<string>;
  /** Names of what tenant migrations may change outside of the tenant's schema. */
  mayChange: readonly string[];
  /** This migration may look names up in the catalogs without a schema. */
  mayLookUp: boolean;
  /** The tables and views that any of the migrations makes. */
  realNames(): Promise<ReadonlySet<string>>;
}

/** What was found, in UTF-16 units of the section's text: at a place, in a statement. */
export interface Spot extends Verdict {
  severity: "error" | "warning";
  rule: LintRule;
  at: number;
  start: number;
  end: number;
}

type Note = (severity: Spot["severity"], rule: LintRule, verdict: Verdict | undefined, at?: number) => void;

/** Looks at a section's statements, one by one and together. Never throws for what is wrong with the SQL. */
export async function lintSection(section: Section, direction: "up" | "down", scope: LintScope): Promise<Spot[]> {
  const { text } = section;
  const spots: Spot[] = [];
  const seen = new Set<string>();
  let statements: ParsedStatement[];
  try {
    statements = await parseStatements(text);
  } catch (error) {
    return unreadable(section, error);
  }
  const units = unitsIn(text);
  const together = createTogether(section, statements, direction);
  for (const statement of statements) {
    const { start, end, kind, node } = statement;
    const note: Note = (severity, rule, verdict, at) => {
      if (verdict === undefined) return;
      const place = at ?? (verdict.location === undefined ? start : units(verdict.location));
      const key = `${rule} ${place}`;
      if (seen.has(key)) return;
      seen.add(key);
      spots.push({ ...verdict, severity, rule, at: place, start, end });
    };
    lintAlone(kind, node, section, direction, scope, note);
    together(statement, note);
    note("error", "temporary-name", await temporary(kind, node, scope));
    lintNames(statement, (from, to) => placesIn(text, units, from, to), scope, note);
    await lintBody(statement, text, scope, note);
    if (scope.mayLookUp) continue;
    for (const lookup of await lookupsOf(text, statement, units)) {
      const severity = lookup.runs && !scope.shared ? "error" : "warning";
      note(severity, "catalog-lookup", { message: lookupMessage(lookup), hint: lookupHint(lookup) }, lookup.at);
    }
  }
  return spots;
}

function lintAlone(kind: string, node: Node, section: Section, direction: string, scope: LintScope, note: Note): void {
  const global = globalObject(kind, node);
  const outside = section.transaction ? outsideOnly(kind, node) : undefined;
  if (outside !== undefined && (scope.shared || global === undefined)) {
    note("error", "not-in-transaction", {
      message: `${outside} can't run in a transaction`,
      hint: `a migration of its own, with -- migrate:${direction} transaction:false`,
    });
  }
  const refusal = outside === undefined ? refuse(kind, node, section.transaction) : undefined;
  if (refusal !== undefined)
    note("error", "refused", { message: refusal, hint: "migrate refuses it before anything is touched" });
  else note("warning", "set-context", setContext(kind, node));
  note("error", "security-definer", securityDefiner(kind, node));
  if (scope.shared) {
    if (direction === "up") note("error", "cascade", cascade(kind, node)); // it is never rolled back
    return;
  }
  note("error", "extension", extension(kind, node));
  note("error", "global-object", global);
  note("warning", "whole-database", wholeDatabase(kind, node));
  note("warning", "grant-public", grantPublic(kind, node));
  if (direction === "up" && scansIndexes(kind, node)) {
    note("warning", "scans-all-indexes", {
      message:
        "some servers look through all indexes of the database for it, once for each tenant: N tenants cost N times N",
      hint: "add the column without a default, set default, fill it, set not null; another type: a new column (docs/servers.md)",
    });
  }
}

async function temporary(kind: string, node: Node, scope: LintScope): Promise<Verdict | undefined> {
  const name = temporaryName(kind, node);
  if (name === undefined || !(await scope.realNames()).has(name)) return undefined;
  return {
    message: `the temporary ${name} is called like a real one, to which the name alone leads`,
    hint: "call it otherwise: temporary tables come last in the search_path",
  };
}

// What only shows when statements are seen one after the other.
function createTogether(section: Section, statements: readonly ParsedStatement[], direction: "up" | "down") {
  const made = new Set<string>();
  const values = new Set<string>();
  const inside = section.transaction ? undefined : couldBeInside(statements);
  return ({ kind, node, start }: ParsedStatement, note: Note): void => {
    if (start === inside?.start) {
      note("warning", "partly-transactional", {
        message: "nothing takes this back when a later statement fails, and it needs no transaction:false",
        hint: `keep only what needs it under -- migrate:${direction} transaction:false, the rest in a migration of its own`,
      });
    }
    if (kind === "IndexStmt" && node.concurrent === true && made.has(nameOf(node.relation))) {
      note("warning", "concurrent-on-new-table", {
        message:
          "nobody uses a table that is made in the same migration: CONCURRENTLY costs the transaction, for nothing",
        hint: "CREATE INDEX without CONCURRENTLY, in the transaction that makes the table",
      });
    }
    if (kind === "CreateStmt") made.add(nameOf(node.relation));
    if (kind === "CreateTableAsStmt") made.add(nameOf((node.into as Node | undefined)?.rel));
    if (!section.transaction) return;
    if (values.size > 0) {
      visit(node, (constant, key) => {
        const value = key === "A_Const" ? textOf({ A_Const: constant }) : undefined;
        if (value === undefined || !values.has(value)) return;
        note("error", "enum-value-used", {
          message: `the enum value ${JSON.stringify(value)} is added by this migration, and can be used only after its commit`,
          hint: "put its use into a migration of its own: a commit comes between",
          location: constant.location as number | undefined,
        });
      });
    }
    if (kind === "AlterEnumStmt" && node.oldVal === undefined && typeof node.newVal === "string")
      values.add(node.newVal);
  };
}

function nameOf(relation: unknown): string {
  return String((relation as Node | undefined)?.relname ?? "");
}

// Of several statements outside of a transaction the first that could be in one. DO and CALL may commit by themselves, and an
// enum's value may be used only after a commit.
function couldBeInside(statements: readonly ParsedStatement[]): ParsedStatement | undefined {
  const work = statements.filter(({ kind }) => kind !== "VariableSetStmt" && kind !== "VariableShowStmt");
  if (work.length < 2 || work.some(({ kind }) => kind === "AlterEnumStmt")) return undefined;
  return work.find(({ kind, node }) => !["DoStmt", "CallStmt"].includes(kind) && outsideOnly(kind, node) === undefined);
}

function lintNames(
  { kind, node, start, end }: ParsedStatement,
  placesBetween: (start: number, end: number) => ReturnType<typeof placesIn>,
  scope: LintScope,
  note: Note,
): void {
  const place = placesBetween(start, end);
  for (const mention of schemasIn({ [kind]: node }, "sql")) {
    const verdict = judge(mention, scope);
    if (verdict !== undefined) note("error", "hard-coded-schema", verdict, place(mention));
  }
  if (scope.shared) return;
  const again = placesBetween(start, end);
  for (const { effect, name, mention } of touched(kind, node)) {
    if (mention === undefined || !scope.sharedSchemas.includes(mention.schema)) continue;
    if ((effect !== "rows" && effect !== "definition") || mayChange(scope.mayChange, mention.schema, name)) continue;
    note(
      effect === "rows" ? "warning" : "error",
      "writes-shared",
      {
        message:
          effect === "rows"
            ? `${name} is shared, and each tenant's migration would write to it`
            : `${name} is shared, and this would run once for each tenant`,
        hint: "put it into a shared migration",
      },
      again(mention),
    );
  }
}

async function lintBody(statement: ParsedStatement, text: string, scope: LintScope, note: Note): Promise<void> {
  let body: Body | undefined;
  try {
    body = await bodyOf(text, statement);
  } catch (error) {
    return note("warning", "syntax", {
      message: `its body can't be read, and was not looked at: ${messageOf(error)}`,
      hint: "the server may see it otherwise",
    });
  }
  if (body === undefined) return;
  const { language, text: source, start } = body;
  const search = placesIn(source, unitsIn(source));
  const name = (mention: SchemaMention, offset: () => number) => {
    const verdict = judge(mention, scope);
    if (verdict === undefined) return;
    note("error", "hard-coded-schema", verdict, start === undefined ? statement.start : start + offset());
  };
  for (const { mention, line } of body.types)
    name(mention, () => search({ ...mention, location: undefined }, lineStart(source, line)));
  for (const piece of body.pieces) {
    for (const mention of schemasIn(piece.tree, language as Language)) {
      const exact = piece.start === undefined ? undefined : mention.location;
      const from = lineStart(source, piece.line);
      name(mention, () => search({ ...mention, location: exact }, from));
    }
    const [[kind, node] = ["", {}]] = Object.entries(piece.tree as Record<string, Node>);
    const inBody = start === undefined ? statement.start : start + lineStart(source, piece.line);
    if (scope.shared && statement.kind === "DoStmt") note("error", "cascade", cascade(kind, node), inBody);
    if (statement.kind !== "DoStmt") continue;
    const local = kind === "VariableSetStmt" ? { ...node, is_local: true } : node;
    const at = start === undefined ? undefined : start + lineStart(source, piece.line);
    note("warning", "set-context", setContext(kind, local), at);
  }
}

function judge({ schema, name, quoted }: SchemaMention, scope: LintScope): Verdict | undefined {
  const whose = scope.tenantSchemas.has(schema);
  const full = name === undefined ? JSON.stringify(schema) : `${schema}.${name}`;
  if (!scope.shared && mayChange(scope.mayChange, schema, full)) return undefined;
  if (scope.shared) {
    if (!whose) return undefined;
    return {
      message: `${full} is one tenant's, and shared migrations are for all`,
      hint: "what each tenant has is made by tenant migrations",
    };
  }
  const known = ["information_schema", "tenantctl", ...scope.sharedSchemas].includes(schema) || /^pg_/.test(schema);
  if (known && !whose) return undefined;
  const leave = `leave ${JSON.stringify(schema)} out: the search_path leads to the tenant's`;
  const without =
    name === undefined && quoted
      ? "leave it out; in a function, SET search_path FROM CURRENT is its own tenant's"
      : leave;
  return whose
    ? { message: `${full} is one tenant's, and every tenant's migration would use it`, hint: without }
    : {
        message: `${full} names one schema, for all tenants`,
        hint: `${without}; if all tenants share it, add it to "sharedSchemas"`,
      };
}

function unreadable(section: Section, error: unknown): Spot[] {
  const { text } = section;
  const hint = "nothing else in this section was looked at";
  const forPsql = clientLines(section).map(({ message, line }): Spot => {
    const at = lineStart(text, line - section.line + 1);
    return { severity: "error", rule: "refused", message, hint, at, start: at, end: at };
  });
  if (forPsql.length > 0) return forPsql;
  const { sqlDetails } = error as { sqlDetails?: { cursorPosition?: number } };
  const at = Array.from(text)
    .slice(0, sqlDetails?.cursorPosition ?? 0)
    .join("").length;
  return [{ severity: "error", rule: "syntax", message: messageOf(error), hint, at, start: at, end: at }];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
