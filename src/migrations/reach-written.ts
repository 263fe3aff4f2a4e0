// The migrations room: changes outside of the tenant's schema that are written in a migration, found before the first tenant is touched.

import { readFile } from "node:fs/promises";
import type { Statement } from "../database/message.js";
import type { Touched } from "./effects.js";
import { type Origin, placeOf } from "./failure.js";
import { type Allowances, isWithin, readAllowances } from "./lint-allow.js";
import { bodyOf } from "./lint-bodies.js";
import { type SchemaMention, schemasIn } from "./lint-names.js";
import { placesIn } from "./lint-places.js";
import { unitsIn } from "./places.js";
import type { Prepared, PreparedSql } from "./prepare.js";
import { mayChange, nameOf, type Reach } from "./reach.js";
import { parseStatements } from "./statements.js";

/** How far migrations may reach, and for whom they are about to run. */
export interface WrittenScope extends Reach {
  /** The schemas of all tenants. */
  tenantSchemas: ReadonlySet<string>;
  /** The only schema that they run in; undefined where they run in several. */
  own: string | undefined;
}

/** A change that is refused: as a message and as `mayChange` would have it. */
export interface WrittenChange {
  message: string;
  name: string;
  /** It is in a tenant's schema, which nobody should allow. */
  ofTenant: boolean;
}

/** What a statement does to something that it names with a schema: refused, something to know of, or fine. */
function weigh({ effect, mention }: Touched, scope: WrittenScope): "refused" | "noted" | "fine" {
  if (mention === undefined) return "refused";
  const { schema, name } = mention;
  if (schema === scope.own || /^pg_/.test(schema) || schema === "information_schema") return "fine";
  const isTenants = scope.tenantSchemas.has(schema);
  const isShared = !isTenants && scope.shared.includes(schema);
  switch (effect) {
    case "definition":
      return "refused";
    case "rows":
      return isShared ? "noted" : "refused";
    case "reference":
      return isShared ? "fine" : "refused";
    case "rights":
      return isTenants ? "refused" : "fine";
    case "comment":
      return isTenants || name !== undefined ? "refused" : "fine";
  }
}

/** What of a migration is refused, and not allowed by name or by a comment in its file. */
export async function writtenChanges(prepared: PreparedSql, scope: WrittenScope): Promise<WrittenChange[]> {
  const found = prepared.statements.flatMap((statement) =>
    (statement.origin?.statement.touches ?? [])
      .filter((one) => weigh(one, scope) === "refused" && !mayChange(scope.mayChange, one.mention?.schema, one.name))
      .map((one) => ({ one, statement })),
  );
  if (found.length === 0) return [];
  const { mayChange: names, allowed } = await allowancesOf(prepared);
  const left = found.filter(
    ({ one, statement }) => !mayChange(names, one.mention?.schema, one.name) && !isAllowed(statement.origin, allowed),
  );
  return left.map(({ one, statement }) => ({
    name: one.name,
    message: messageOf(one, statement),
    ofTenant: scope.tenantSchemas.has(one.mention?.schema ?? ""),
  }));
}

function messageOf({ verb, name, mention }: Touched, { origin }: Statement<Origin>): string {
  const words = `a tenant's migration ${verb} ${name}`;
  if (origin === undefined) return words;
  const { section, statement } = origin;
  const place = placesIn(section.text, unitsIn(section.text), statement.start, statement.end);
  const { file, line } = placeOf(origin, mention === undefined ? 0 : place(mention) - statement.start);
  return `${words} (${file}:${line})`;
}

async function allowancesOf({ migration }: Pick<Prepared, "migration">): Promise<Allowances> {
  return readAllowances(await readFile(migration.file, "utf8"));
}

// What allows lint's finding that a statement names a schema allows what the statement does there.
const reachRules = ["hard-coded-schema", "writes-shared", "extension", "global-object"];

/** Whether a comment in the file allows one of these rules for a statement. */
export function isAllowed(
  origin: Origin | undefined,
  allowed: Allowances["allowed"],
  rules: readonly string[] = reachRules,
): boolean {
  if (origin === undefined) return false;
  const from = placeOf(origin, 0).line ?? 1;
  const to = placeOf(origin, origin.statement.end - origin.statement.start).line ?? from;
  return allowed.some(({ rule, about }) => rules.includes(rule) && isWithin(about, { from, to }));
}

/** The names of all that comments in a migration's file allow it to change. */
export async function allowedIn(prepared: Prepared): Promise<string[]> {
  const { mayChange: names, allowed } = await allowancesOf(prepared);
  if (prepared.kind === "module") return names;
  const statements = prepared.statements.filter(({ origin }) => isAllowed(origin, allowed));
  const mentions = await Promise.all(statements.map(({ text }) => mentionsIn(text)));
  return [...names, ...mentions.flat().map(({ schema, name }) => nameOf(schema, name))];
}

/** The names of all that comments about one statement allow it to change. */
export async function allowedAt(origin: Origin): Promise<string[]> {
  const { section, statement, migration } = origin;
  const { mayChange: names, allowed } = await allowancesOf({ migration });
  if (!isAllowed(origin, allowed)) return names;
  const mentions = await mentionsIn(section.text.slice(statement.start, statement.end));
  return [
    ...names,
    ...statement.changes.map(({ schema, name }) => nameOf(schema, name)),
    ...mentions.map(({ schema, name }) => nameOf(schema, name)),
  ];
}

async function mentionsIn(text: string): Promise<SchemaMention[]> {
  const mentions: SchemaMention[] = [];
  for (const statement of await parseStatements(text)) {
    mentions.push(...schemasIn({ [statement.kind]: statement.node }, "sql"));
    const body = await bodyOf(text, statement);
    for (const piece of body?.pieces ?? []) mentions.push(...schemasIn(piece.tree, "sql"));
  }
  return mentions.filter(({ name }) => name !== undefined);
}
