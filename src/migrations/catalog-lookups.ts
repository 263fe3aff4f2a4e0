// The migrations room: lookups of objects by name in PostgreSQL's catalogs, which find those of all tenants.

import { readFile } from "node:fs/promises";
import { literal } from "../database/quote.js";
import { type CatalogLookup, catalogLookupsIn } from "./catalog-blocks.js";
import { mentionsCatalogs } from "./catalog-columns.js";
import { placeOf } from "./failure.js";
import { readAllowances } from "./lint-allow.js";
import { bodyOf } from "./lint-bodies.js";
import { lineStart, unitsIn } from "./places.js";
import type { PreparedSql } from "./prepare.js";
import { isAllowed } from "./reach-written.js";
import { type ParsedStatement, parseStatements } from "./statements.js";

/** A lookup, and where it is. */
export interface PlacedLookup extends CatalogLookup {
  /** In UTF-16 units of the text. */
  at: number;
  /** The migration itself asks; what it only defines asks later. */
  runs: boolean;
}

const defining = [
  "ViewStmt",
  "CreateFunctionStmt",
  "RuleStmt",
  "CreateTrigStmt",
  "CreatePolicyStmt",
  "AlterPolicyStmt",
];

/**
 * The lookups that a statement of a text does, or that what it defines does.
 * @param units of the text, for the parser's offsets.
 */
export async function lookupsOf(
  text: string,
  statement: ParsedStatement,
  units = unitsIn(text),
): Promise<PlacedLookup[]> {
  const { start, end, kind, node } = statement;
  if (!mentionsCatalogs(text.slice(start, end))) return [];
  const runs = !defining.includes(kind);
  const found = catalogLookupsIn({ [kind]: node }).map((lookup) => ({
    ...lookup,
    at: lookup.location === undefined ? start : units(lookup.location),
    runs,
  }));
  const body = await bodyOf(text, statement).catch(() => undefined); // what can't be read is the server's to refuse
  for (const piece of body?.pieces ?? []) {
    for (const lookup of catalogLookupsIn(piece.tree)) {
      const before = unitsIn(piece.text)(lookup.location ?? 0);
      found.push({
        ...lookup,
        at: body?.start === undefined ? start : body.start + within(body.text, piece, before),
        runs,
      });
    }
  }
  return found;
}

// Of a piece of PL/pgSQL the parser keeps the line on which its statement begins.
function within(
  body: string,
  piece: { text: string; start: number | undefined; line: number },
  offset: number,
): number {
  if (piece.start !== undefined) return piece.start + offset;
  const line = piece.line + piece.text.slice(0, offset).split("\n").length - 1;
  const at = lineStart(body, line);
  return at + (/^[ \t]*/.exec(body.slice(at, at + 200))?.[0].length ?? 0);
}

/** Why it is wrong. */
export function lookupMessage({ catalog, column, value }: CatalogLookup): string {
  const what = value === undefined ? column : `${column} ${literal(value).trim()}`;
  return `${what} is looked up in ${catalog} without a schema: another tenant's is found as well`;
}

/** What to write instead. */
export function lookupHint({ tie }: CatalogLookup): string {
  return `add "and ${tie}", or use to_regclass or IF NOT EXISTS`;
}

/** A lookup of a migration that is about to run. */
export interface RefusedLookup {
  /** With file and line. */
  message: string;
  hint: string;
  migration: string;
}

/** The lookups of a migration that no comment in its file allows. */
export async function refusedLookups(prepared: PreparedSql): Promise<RefusedLookup[]> {
  const found: RefusedLookup[] = [];
  const { migration } = prepared;
  for (const { text, origin } of prepared.statements) {
    const lookups = origin === undefined ? [] : await lookupsWhileRunning(text);
    if (origin === undefined || lookups.length === 0) continue;
    const { allowed } = readAllowances(await readFile(migration.file, "utf8"));
    if (isAllowed(origin, allowed, ["catalog-lookup"])) continue;
    for (const lookup of lookups) {
      const message = `${lookupMessage(lookup)} (${migration.file}:${placeOf(origin, lookup.at).line})`;
      found.push({ message, hint: lookupHint(lookup), migration: migration.name });
    }
  }
  return found;
}

async function lookupsWhileRunning(text: string): Promise<PlacedLookup[]> {
  if (!mentionsCatalogs(text)) return [];
  const [statement] = await parseStatements(text).catch(() => []); // what can't be read is the server's to refuse
  return statement === undefined ? [] : (await lookupsOf(text, statement)).filter(({ runs }) => runs);
}
