// Quoting: whatever a name or a text holds, the server reads it back as it was.
import fc from "fast-check";
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { identifier, literal, qualified, searchPath } from "../../src/database/quote.js";
import { createDatabase, servers } from "../support/database.ts";

const awkward = ["'", '"', "\\", "\n", "\r", ";", "--", "/*", "*/", "$$", "$1", "E'", "\\'", "%", "é", "🦊", "\u2028"];
const text = fc
  .array(fc.oneof(fc.constantFrom(...awkward), fc.string({ unit: "grapheme", maxLength: 4 })), { maxLength: 12 })
  .map((parts) => parts.join("").replaceAll("\0", ""))
  .filter((value) => !/\p{Surrogate}/u.test(value));
const name = text.filter((value) => value !== "" && Buffer.byteLength(value) <= 63);

describe.each(servers())("PostgreSQL $major", (server) => {
  let client: pg.Client;

  beforeAll(async () => {
    client = await (await createDatabase(server)).connect();
  });

  test.each(["on", "off"])("reads a literal back as it was, with standard_conforming_strings %s", async (setting) => {
    await client.query(`set standard_conforming_strings = ${setting}`);
    await fc.assert(
      fc.asyncProperty(text, async (value) => {
        const { rows } = await client.query(`select ${literal(value)} as value, length(${literal(value)}) as length`);
        expect(rows).toEqual([{ value, length: [...value].length }]);
      }),
      { numRuns: 150 },
    );
    await client.query("reset standard_conforming_strings");
  });

  test("a literal ends where it ends, also right behind a word", async () => {
    expect((await client.query(`select 1 as n where 'a\\b' =${literal("a\\b")}and true`)).rows).toEqual([{ n: 1 }]);
  });

  test("reads an identifier back as it was", async () => {
    await fc.assert(
      fc.asyncProperty(name, async (value) => {
        const { fields } = await client.query(`select 1 as ${identifier(value)}`);
        expect(fields.map((field) => field.name)).toEqual([value]);
      }),
      { numRuns: 150 },
    );
  });

  test("a qualified name names the table in that schema", async () => {
    await client.query(`create schema ${identifier('a"."b')}; create table ${qualified('a"."b', 'c"d')} (n int)`);
    const { rows } = await client.query("select schemaname, tablename from pg_tables where tablename like 'c%'");
    expect(rows).toEqual([{ schemaname: 'a"."b', tablename: 'c"d' }]);
  });

  test("a search_path keeps its schemas apart, whatever they are called", async () => {
    const schemas = ['a, "b', "$user x", "C", "ü"];
    for (const schema of schemas) await client.query(`create schema ${identifier(schema)}`);
    await client.query(`set search_path to ${searchPath(schemas)}`);
    expect((await client.query("select current_schemas(false)::text[] as schemas")).rows).toEqual([{ schemas }]);
    await client.query("reset search_path");
  });
});
