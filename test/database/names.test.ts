// Names: what the rules let through is, on a real server, the schema of that very name and nothing else.
import fc from "fast-check";
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { identifier, literal, searchPath } from "../../src/database/quote.js";
import { TenantctlError } from "../../src/errors.js";
import { checkSchemaName, checkTenantName } from "../../src/registry/names.js";
import { createDatabase, servers } from "../support/database.ts";

const pieces = [
  "a",
  "Z",
  "0",
  "_",
  ".",
  "-",
  '"',
  "'",
  "\\",
  ";",
  " ",
  "\n",
  "\0",
  "$user",
  "pg_",
  "public",
  "é",
  "ß",
  "🦊",
];
const anything = fc.oneof(
  fc.string({ unit: "binary", maxLength: 70 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.array(fc.constantFrom(...pieces), { maxLength: 20 }).map((parts) => parts.join("")),
  fc.constantFrom(
    '"; drop table victim; --',
    "'; drop table victim; --",
    "x; drop table victim",
    "a".repeat(63),
    "a".repeat(64),
    "é".repeat(31),
    "é".repeat(32),
    "\ud83e",
    "$user",
    "information_schema",
    "tenantctl",
    "__proto__",
    "constructor",
    "NULL",
    "default",
    "none",
  ),
);

function admitted(check: (name: string) => void, name: string): boolean {
  try {
    check(name);
    return true;
  } catch (error) {
    if (error instanceof TenantctlError && error.code === "NAME_INVALID") return false;
    throw error;
  }
}

describe.each(servers())("PostgreSQL $major", (server) => {
  let client: pg.Client;

  beforeAll(async () => {
    client = await (await createDatabase(server)).connect();
    await client.query("create table public.victim (n int)");
  });

  test.each([
    ["tenant", checkTenantName],
    ["schema", checkSchemaName],
  ])("a %s name is refused, or is that very schema", async (_, check) => {
    await fc.assert(
      fc.asyncProperty(anything, async (name) => {
        if (!admitted(check, name)) return;
        await client.query(`begin; create schema ${identifier(name)}; set local search_path to ${searchPath([name])}`);
        await client.query("create table here (n int)");
        const { rows } = await client.query(
          `select n.nspname as schema, n.nspname = ${literal(name)} as same, current_schema() as current
             from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relname = 'here'`,
        );
        expect(rows).toEqual([{ schema: name, same: true, current: name }]);
        await client.query("rollback");
      }),
      { numRuns: 250 },
    );
    expect((await client.query("select to_regclass('public.victim') is not null as there")).rows).toEqual([
      { there: true },
    ]);
  });

  test("every tenant name is a schema name", () => {
    fc.assert(fc.property(anything, (name) => !admitted(checkTenantName, name) || admitted(checkSchemaName, name)));
  });
});
