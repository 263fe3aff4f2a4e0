// The migrations room: lint looks at migration files for what goes wrong across a fleet of schemas, without a database.

import { readFile } from "node:fs/promises";
import type { Migration, MigrationFolder, SqlMigration } from "./files.js";
import { type Allowance, isWithin, readAllowances } from "./lint-allow.js";
import { type LintRule, lintRules } from "./lint-rules.js";
import { type LintScope, lintSection, type Spot } from "./lint-section.js";
import { lineAndColumnIn } from "./places.js";
import { madeName } from "./plain.js";
import type { Section } from "./sections.js";
import { parseStatements } from "./statements.js";

/** What lint found at one place. `line` and `column` count from 1; a column counts characters. */
export interface LintFinding {
  severity: "error" | "warning";
  rule: LintRule;
  file: string;
  line: number;
  column: number;
  message: string;
  hint: string;
}

export interface LintResult {
  /** There is no error among the findings. */
  ok: boolean;
  /** In the order of the files and of the lines in them. */
  findings: LintFinding[];
  /** How many SQL files were looked at. */
  files: number;
  /** How many modules were not: their SQL is known only when they run. */
  modules: number;
}

export interface LintOptions {
  /** Schemas that tenant migrations may name. */
  sharedSchemas?: readonly string[];
  /** Names of what tenant migrations may change outside of the tenant's schema. */
  mayChange?: readonly string[];
  /** Names of migrations that may look names up in the catalogs without a schema. */
  mayLookUp?: readonly string[];
  /** Schemas that belong to tenants: no migration may name them. */
  tenantSchemas?: Iterable<string>;
  /** Looks at the sections that migrate runs alone. */
  upOnly?: boolean;
  /** Whether a file is to be looked at; all are unless told otherwise. */
  chosen?: (file: string) => boolean;
  /** The known word that a mistyped one probably meant. */
  suggest?: (word: string, known: readonly string[]) => string | undefined;
}

type Suggest = NonNullable<LintOptions["suggest"]>;

/** Lints folders of migrations, in their order. */
export async function lintMigrations(
  folders: readonly (MigrationFolder & { shared: boolean })[],
  options: LintOptions = {},
): Promise<LintResult> {
  let made: Promise<Set<string>> | undefined;
  const scope = {
    sharedSchemas: options.sharedSchemas ?? [],
    tenantSchemas: new Set(options.tenantSchemas ?? []),
    mayChange: options.mayChange ?? [],
    mayLookUp: false,
    realNames: () => (made ??= realNames(folders.flatMap(({ migrations }) => migrations))),
  };
  const { chosen = () => true } = options;
  const result: LintResult = { ok: true, findings: [], files: 0, modules: 0 };
  for (const { shared, files, migrations, problems } of folders) {
    const byFile = new Map(migrations.map((migration) => [migration.file, migration]));
    for (const file of files.filter(chosen)) {
      const migration = byFile.get(file);
      for (const { line, message, hint: own } of problems.filter((problem) => problem.file === file)) {
        const hint = own ?? "migrate refuses it before anything is touched";
        result.findings.push({ severity: "error", rule: "invalid-file", file, line, column: 1, message, hint });
      }
      if (migration?.kind === "module") result.modules++;
      else result.files++;
      if (migration?.kind === "sql")
        for (const finding of await lintFile(migration, { ...scope, shared }, options)) result.findings.push(finding);
    }
  }
  result.ok = result.findings.every(({ severity }) => severity !== "error");
  return result;
}

// The names of all that the migrations make and others could take for it.
async function realNames(migrations: readonly Migration[]): Promise<Set<string>> {
  const names = new Set<string>();
  for (const migration of migrations) {
    if (migration.kind === "module") continue;
    const statements = await parseStatements(migration.up.text).catch(() => []);
    for (const name of statements.flatMap(({ kind, node }) => madeName(kind, node) ?? [])) names.add(name);
  }
  return names;
}

/** A finding, and the lines on which an allowing comment may stand for it. */
interface Placed extends LintFinding {
  lines: { from: number; to: number };
}

async function lintFile(migration: SqlMigration, whole: LintScope, options: LintOptions): Promise<LintFinding[]> {
  const { file, up } = migration;
  const { suggest = () => undefined } = options;
  const down = options.upOnly ? undefined : migration.down;
  const found: Placed[] = [];
  const { allowed, mayChange, unknown } = readAllowances(await readFile(file, "utf8"));
  const mayLookUp = options.mayLookUp?.includes(migration.name) ?? false;
  const scope = { ...whole, mayLookUp, mayChange: [...whole.mayChange, ...mayChange] };
  for (const [direction, section] of [["up", up] as const, ["down", down] as const]) {
    if (section === undefined) continue;
    const place = placer(file, section);
    for (const spot of await lintSection(section, direction, scope)) found.push(place(spot));
  }
  if (!scope.shared) found.push(...withoutDown(migration));
  const used = new Set<Allowance>();
  const left = found.filter((finding) => {
    const allowing = allowed.filter(({ rule, about }) => rule === finding.rule && isWithin(about, finding.lines));
    for (const one of allowing) used.add(one);
    return allowing.length === 0;
  });
  const comments: LintFinding[] = [
    ...unknown.map(({ word, what, line, column }) => ({
      severity: "error" as const,
      rule: "unknown-rule" as const,
      ...{ file, line, column },
      message: unknownWords(word, what, suggest),
      hint: "tenantctl-lint: allow <rule>, or allow-file <rule>; docs/lint.md has the rules",
    })),
    ...allowed
      .filter((one) => !used.has(one))
      .map(({ rule, line, column }) => ({
        severity: "warning" as const,
        rule: "unused-allow" as const,
        ...{ file, line, column },
        message: `nothing here is ${rule}`,
        hint: "take the comment out",
      })),
  ];
  return [...left.map(({ lines, ...finding }) => finding), ...comments].sort(
    (a, b) => a.line - b.line || a.column - b.column,
  );
}

function placer(file: string, section: Section): (spot: Spot) => Placed {
  const placeOf = lineAndColumnIn(section.text);
  const before = section.line - 1;
  return ({ severity, rule, message, hint, at, start, end }) => {
    const from = before + placeOf(start).line;
    const { line, column } = placeOf(at);
    const lines = { from, to: before + placeOf(end).line };
    return { severity, rule, file, line: before + line, column, message, hint, lines };
  };
}

function withoutDown({ file, up, down }: SqlMigration): Placed[] {
  const missing = down === undefined;
  const text = down?.text ?? "";
  if (!missing && text.replaceAll(/--.*$|[\s;]/gm, "") !== "") return [];
  return [
    {
      ...{ severity: "warning", rule: "no-down", file, column: 1 },
      line: Math.max(1, (missing ? up : (down ?? up)).line - 1),
      message: missing ? "it has no -- migrate:down section" : "its -- migrate:down section is empty",
      hint: missing ? "rollback refuses it for the whole fleet" : "rollback would undo nothing, and take it as undone",
      lines: { from: 1, to: Number.POSITIVE_INFINITY },
    },
  ];
}

function unknownWords(word: string, what: "rule" | "directive" | "name", suggest: Suggest): string {
  if (word === "") return `the comment names ${what === "rule" ? "no rule" : "nothing"}`;
  const near = suggest(word, what === "rule" ? lintRules : ["allow", "allow-file", "may-change"]);
  return `unknown ${what} ${JSON.stringify(word)}${near === undefined ? "" : `, did you mean ${near}?`}`;
}
