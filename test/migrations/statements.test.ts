// Splitting: a section's statements are what the server would see, whatever is between and within them.
import fc from "fast-check";
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import type { Section } from "../../src/migrations/sections.js";
import { parseSection } from "../../src/migrations/statements.js";
import { createDatabase, servers } from "../support/database.ts";

const sectionOf = (text: string): Section => ({ text, transaction: true, line: 1 });

async function split(text: string): Promise<string[] | undefined> {
  return (await parseSection(sectionOf(text))).statements?.map(({ start, end }) => text.slice(start, end));
}

test("statements are without semicolons, and without the comments before them", async () => {
  const text = "-- one\n/* two /* three */ */\nselect 1 -- a\n;;\n\nselect 'é🦊;', 2 ;select 3 -- last";
  expect(await split(text)).toEqual(["select 1 -- a\n", "select 'é🦊;', 2 ", "select 3 -- last"]);
});

test("nothing but comments is no statement", async () => {
  expect(await split("")).toEqual([]);
  expect(await split("-- nothing\n;;\n/* here */ ;")).toEqual([]);
});

test("bodies stay whole: $$, $tag$, BEGIN ATOMIC, quoted ones", async () => {
  const bodies = [
    "do $$ begin perform 1; perform ';'; end $$",
    "create function a() returns int language sql as $é$ select 1; select $$;$$; $é$",
    "create function b() returns int language sql begin atomic select 1; select case when true then 2 end; end",
    "create function c() returns int language sql as 'select '';'';'",
    'create table "a;b" ("c;" text default E\'\\\';\')',
  ];
  expect(await split(bodies.join(";\n"))).toEqual(bodies);
});

test("what can't be parsed is not split", async () => {
  expect(await split("select 1; create tabel a (n int)")).toBeUndefined();
  expect(await split("select $$ open")).toBeUndefined();
});

test("the parser goes on after a text that is too deep for it", async () => {
  await split(`select ${"(".repeat(200_000)}1${")".repeat(200_000)}`);
  await split(`select ${"1+".repeat(100_000)}1`);
  expect(await split("select 1; select 2")).toEqual(["select 1", "select 2"]);
});

test("five megabytes are split in a few seconds", async () => {
  const line = (n: number) => `insert into a values (${n}, 'é🦊 ${"x".repeat(140)}');\n`;
  const text = Array.from({ length: 30_000 }, (_, n) => line(n)).join("");
  expect(text.length).toBeGreaterThan(5_000_000 * 0.9);
  const statements = await split(text);
  expect(statements).toHaveLength(30_000);
  expect(statements?.at(-1)).toBe(line(29_999).slice(0, -2));
});

test("what looks through all indexes on some servers is known, with its line", async () => {
  const scanning = [
    "alter table a add n int default 1",
    "alter table a add n int not null default 1, add m int",
    "alter table only a add column n pg_catalog.bigserial",
    "alter table a add n serial4",
    "alter table a add n int generated always as identity",
    "alter table a add n int generated always as (m + 1) stored",
    "alter table a alter n type bigint",
    "alter table a alter n set expression as (m)",
    "alter type c alter attribute n type bigint",
    "alter domain d set not null",
    "alter domain d add check (value > 0)",
    "alter domain d validate constraint k",
  ];
  const flat = [
    "alter table a add n int",
    "alter table a add n int not null check (n > 0) unique references b",
    "alter table a add n int default null, add m int default null::int",
    "alter table a alter n set default 1, alter n set not null, add check (n > 0), drop m",
    "alter table a alter n add generated always as identity",
    "alter domain d add check (value > 0) not valid",
    "alter domain d set default 1",
    "create table a (n serial default 1)",
  ];
  const { indexScans } = await parseSection(sectionOf([...flat, ...scanning].join(";\n")));
  expect(indexScans).toEqual(scanning.map((_, index) => flat.length + index + 1));
});

const word = fc.constantFrom("é", "🦊", "a", ";", "$$", "--", "/*", "begin", "''", "\n", "\\", "$1", " ");
const words = (without: RegExp) =>
  fc.array(word, { maxLength: 8 }).map((parts) => parts.filter((part) => !without.test(part)).join(""));
const plain = words(/\$\$|''|\\/);
// each adds one row that holds a text
const statement = fc.oneof(
  plain.map((text) => `insert into log (said) values ('${text}')`),
  words(/\$\$/).map((text) => `insert into log (said) values ($$${text}$$)`),
  words(/\\/).map((text) => `insert into log (said) values (E'${text}\\n\\'')`),
  plain.map((text) => `do $do$ begin insert into log (said) values ('${text};'); perform 1; end $do$`),
  plain.map(
    (text) =>
      `create or replace procedure p() language sql begin atomic insert into log (said) values ('${text}'); select 1; end; call p()`,
  ),
  plain.map((text) => `insert into log (said) select case when true then '${text}' else ';' end`),
);
const gap = fc.constantFrom(";", ";\n", " ; -- é;\n", ";/* 🦊; /* nested; */ */", "\n;;\t;\n", "--;\n;");
const script = fc.array(fc.tuple(statement, gap), { minLength: 1, maxLength: 12 });

describe.each(servers())("PostgreSQL $major", (server) => {
  let client: pg.Client;

  beforeAll(async () => {
    client = await (await createDatabase(server)).connect();
    await client.query("create table log (id bigint generated always as identity, said text)");
  });

  async function said(texts: readonly string[]): Promise<string[]> {
    await client.query("begin; truncate log");
    for (const text of texts) await client.query(text);
    const { rows } = await client.query<{ said: string }>("select said from log order by id");
    await client.query("rollback");
    return rows.map((row) => row.said);
  }

  test("what was split does what the whole does", async () => {
    await fc.assert(
      fc.asyncProperty(script, fc.boolean(), async (parts, ended) => {
        const text = parts
          .map(([sql, between], at) => (at === parts.length - 1 && !ended ? sql : sql + between))
          .join("");
        const statements = await split(text);
        if (statements === undefined) throw new Error("not split");
        const whole = await said([text]);
        expect(whole.length).toBe(parts.length);
        expect(await said(statements)).toEqual(whole);
        expect(await said([statements.join("\n;\n")])).toEqual(whole);
      }),
      { numRuns: 120 },
    );
  });
});
