// Registry room: rows of the database as a registry's entries: all of them right, or none.

import { pathInWords } from "../config/problems.js";
import type { TenantEntry, TenantState } from "../config/shape.js";
import { ProblemsError } from "../errors.js";
import { shown } from "./names.js";
import { checkEntry, type Reserved, readTenants, type Tenant, tenantOf } from "./tenants.js";

/** A row, as a table or a query gives it; a column that is not there is undefined. */
export type Row = Partial<Record<"name" | "schema" | "hosts" | "labels" | "state", unknown>>;

/**
 * Reads rows as entries.
 *
 * @param from where they are from, for messages.
 * @throws ProblemsError REGISTRY_INVALID that names every row that is none.
 */
export function entriesOf(rows: readonly Row[], from: string): Map<string, TenantEntry> {
  const problems: string[] = [];
  const entries = new Map<string, TenantEntry>();
  for (const [index, row] of rows.entries()) {
    const name = textOf(row.name);
    if (name === undefined) {
      problems.push(`row ${index + 1}: its name must be text, not ${nounOf(row.name)}`);
      continue;
    }
    if (entries.has(name)) problems.push(`${pathInWords([name])}: the name is there twice`);
    entries.set(
      name,
      entryOfRow(name, row, (key, message) => problems.push(`${pathInWords([name, ...key])}: ${message}`)),
    );
  }
  refuse(problems, from);
  return entries;
}

/**
 * Reads rows as the tenants that they are.
 *
 * @throws ProblemsError REGISTRY_INVALID with every row that is wrong, and every collision.
 */
export function tenantsOfRows(rows: readonly Row[], reserved: Reserved, from: string) {
  const { problems, ...owners } = readTenants(entriesOf(rows, from), reserved, []);
  refuse(problems, from);
  return owners;
}

/** A row by itself: the tenant that it is, unless there are problems. */
export interface ReadRow {
  tenant: Tenant | undefined;
  problems: readonly string[];
}

/** Reads one row, whoever else there is. It throws nothing, whatever the row holds. */
export function readRow(row: Row, reserved: Reserved): ReadRow {
  const name = textOf(row.name);
  if (name === undefined)
    return { tenant: undefined, problems: [`a row's name must be text, not ${nounOf(row.name)}`] };
  const problems: string[] = [];
  const wrong = (key: readonly PropertyKey[], message: string) =>
    problems.push(`${pathInWords([name, ...key])}: ${message}`);
  const entry = entryOfRow(name, row, wrong);
  const tenant = tenantOf(name, entry);
  checkEntry(tenant, entry, reserved, (message, ...key) => wrong(key, message));
  return { tenant: problems.length === 0 ? tenant : undefined, problems };
}

/** Entries of a config as rows. */
export function rowsOf(entries: ReadonlyMap<string, TenantEntry>): Row[] {
  return Array.from(entries, ([name, entry]) => ({ name, ...entry }));
}

const problemsShown = 50;

/** @throws ProblemsError REGISTRY_INVALID with these problems, if there are any; of very many, the first. */
export function refuse(problems: readonly string[], from: string): void {
  if (problems.length === 0) return;
  const more = problems.length - problemsShown;
  const lines = problems.slice(0, problemsShown).map((problem) => `${from}: ${problem}`);
  if (more > 0) lines.push(`${from}: … and ${more} more`);
  const all = problems.length === 1 ? "a row that is no tenant" : `${problems.length} things that are wrong`;
  throw new ProblemsError("REGISTRY_INVALID", `the registry has ${all}`, lines, {
    hint: "nothing was touched; mend the rows, and try again",
  });
}

function entryOfRow(
  name: string,
  row: Row,
  wrong: (key: readonly PropertyKey[], message: string) => void,
): TenantEntry {
  const entry: TenantEntry = {};
  if (given(row.schema)) {
    const schema = textOf(row.schema);
    if (schema === undefined) wrong(["schema"], `must be text, not ${nounOf(row.schema)}`);
    else if (schema !== name) entry.schema = schema; // the rules for names are the stricter ones, and cheaper to ask
  }
  if (given(row.hosts)) {
    const hosts = Array.isArray(row.hosts) ? row.hosts : [row.hosts];
    const bad = hosts.findIndex((host) => typeof host !== "string");
    if (bad >= 0) wrong(["hosts", bad], `must be text, not ${nounOf(hosts[bad])}`);
    else entry.hosts = hosts as string[];
  }
  if (given(row.labels)) {
    if (typeof row.labels !== "object" || Array.isArray(row.labels)) {
      wrong(["labels"], `must be an object of texts, not ${nounOf(row.labels)}`);
    } else {
      const bad = Object.entries(row.labels as object).find(([, value]) => typeof value !== "string");
      if (bad) wrong(["labels", bad[0]], `must be text, not ${nounOf(bad[1])}`);
      else entry.labels = row.labels as Record<string, string>;
    }
  }
  if (given(row.state)) {
    if (isState(row.state)) entry.state = row.state;
    else wrong(["state"], `must be active, suspended or archived, not ${shown(String(row.state))}`);
  }
  return entry;
}

function given(value: unknown): boolean {
  return value !== null && value !== undefined;
}

// An integer that serves as a name or schema is no guess.
function textOf(value: unknown): string | undefined {
  return typeof value === "string" || Number.isSafeInteger(value) ? String(value) : undefined;
}

function isState(word: unknown): word is TenantState {
  return word === "active" || word === "suspended" || word === "archived";
}

function nounOf(value: unknown): string {
  if (!given(value)) return "null";
  if (Array.isArray(value)) return "a list";
  return { string: "text", object: "an object", boolean: "true or false" }[String(typeof value)] ?? `a ${typeof value}`;
}
