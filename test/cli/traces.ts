// Command tests: everything a command could have touched, so that "nothing was touched" can be looked at.
import { readFile } from "node:fs/promises";
import { expect } from "vitest";
import type { RunResult } from "../support/cli.ts";
import type { TestDatabase } from "../support/database.ts";
import type { TestProject } from "../support/project.ts";

/** All schemas, what is in them, and all comments. */
export async function catalogOf(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ object: string }>(
    `select format('%I %s', nspname, coalesce(obj_description(oid, 'pg_namespace'), '')) as object from pg_namespace
       where nspname !~ '^pg_' and nspname <> 'information_schema'
     union all
     select format('%I.%I %s %s', n.nspname, c.relname, c.relkind, coalesce(obj_description(c.oid, 'pg_class'), ''))
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
     order by 1`,
  );
  return rows.map((row) => row.object);
}

/** Schemas that are neither the server's nor ours. */
export async function tenantSchemas(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ nspname: string }>(
    `select nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public', 'tenantctl')
     order by nspname collate "C"`,
  );
  return rows.map((row) => row.nspname);
}

/** The names in a schema's ledger. */
export async function ledgerOf(database: TestDatabase, schema: string): Promise<string[]> {
  const quoted = `"${schema.replaceAll('"', '""')}"`;
  const rows = await database.query<{ name: string }>(`select name from ${quoted}.tenantctl_migrations order by name`);
  return rows.map((row) => row.name);
}

/** Runs `act`, and expects database and config file to be after it what they were before. */
export async function untouched<T>(
  database: TestDatabase,
  project: Pick<TestProject, "configFile">,
  act: () => Promise<T>,
): Promise<T> {
  const look = async () => ({ catalog: await catalogOf(database), config: await textOf(project.configFile) });
  const before = await look();
  const value = await act();
  expect(await look()).toEqual(before);
  return value;
}

async function textOf(file: string): Promise<string | undefined> {
  return await readFile(file, "utf8").catch(() => undefined);
}

export interface Refusal {
  /** The exit code. Default: 2. */
  code?: number;
  /** What the line after `error: ` says; several lines: several patterns. */
  error: RegExp | RegExp[];
  hint: RegExp;
}

/** Expects an expected error: its exit code, one line for each thing that is wrong, one hint, and nothing else. */
export function expectRefusal(result: RunResult, { code = 2, error, hint }: Refusal): void {
  const lines = result.stderr.split("\n").filter((line) => line !== "");
  const errors = lines.slice(0, -1);
  const patterns = Array.isArray(error) ? error : [error];
  expect(result).toMatchObject({ code, stdout: "" });
  expect(lines.at(-1)).toMatch(/^hint: /);
  expect(lines.at(-1)).toMatch(hint);
  expect(
    errors.every((line) => line.startsWith("error: ")),
    result.stderr,
  ).toBe(true);
  for (const pattern of patterns) expect(errors.join("\n")).toMatch(pattern);
  expect(errors).toHaveLength(patterns.length);
}
