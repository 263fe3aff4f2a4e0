// What would break the transaction or lead elsewhere is refused at load, with file and line; what only looks so is not.
import { describe, expect, test } from "vitest";
import { problemsOf } from "./folder.ts";

const first = "create table a (n int);\n\n/* one\n   two */ ";
const refused = (sql: string) => problemsOf({ "1_a.sql": `-- migrate:up\n${first}${sql};\nselect 1;\n` });

describe("refused, at the fifth line of the file:", () => {
  test.each([
    ["BEGIN", "begin"],
    ["START", "start transaction isolation level serializable"],
    ["COMMIT", "commit"],
    ["COMMIT", "end"],
    ["COMMIT", "commit and chain"],
    ["ROLLBACK", "rollback"],
    ["ROLLBACK", "abort"],
    ["PREPARE", "prepare transaction 'x'"],
    ["COMMIT PREPARED", "commit prepared 'x'"],
    ["search_path", "set search_path to x"],
    ["search_path", "SET SESSION Search_Path = x, y"],
    ["search_path", "set schema 'x'"],
    ["search_path", "reset search_path"],
    ["search_path", "set search_path to default"],
    ["search_path", "set search_path from current"],
    ["role", "set role x"],
    ["role", "reset role"],
    ["role", "set session role none"],
    ["session_authorization", "set session authorization x"],
    ["session_authorization", "reset session authorization"],
    ["RESET ALL", "reset all"],
    ["DISCARD", "discard all"],
    ["DISCARD", "discard temp"],
    ["set_config", "select set_config('search_path', 'x', false)"],
    ["set_config", "select pg_catalog.set_config('search_path', '', false)"],
    ["set_config", "select 1, lower(set_config('ROLE', 'x', false))"],
    ["set_config", "select set_config('search_path', 'x', true and false)"],
    ["set_config", "select set_config(name, 'x', false) from settings"],
    ["set_config", "with s as (select set_config('search_path', 'x', false)) insert into t select * from s"],
    ["set_config", "with s as (select set_config('search_path', 'x', false)) delete from t using s"],
    ["set_config", "create table t as select set_config('search_path', 'x', false)"],
    ["set_config", "explain analyze select set_config('search_path', 'x', false)"],
    ["COPY FROM STDIN", "copy a from stdin"],
    ["COPY FROM STDIN", "copy a (n) from stdin with (format csv)"],
    ["CONCURRENTLY", "create index concurrently on a (n)"],
  ])("%s in %s", async (word, sql) => {
    const problems = await refused(sql);
    expect(problems).toEqual([expect.stringContaining(word)]);
    expect(problems[0]).toMatch(/ \(1_a\.sql:5\)$/);
  });
});

describe("allowed:", () => {
  test.each([
    "savepoint a; release a; savepoint b; rollback to b",
    "set local search_path to x",
    "set local role x",
    "select set_config('search_path', 'x', true)",
    "select set_config('my.setting', 'x', false)",
    "set constraints all deferred",
    "set local statement_timeout = 0",
    "do $$ begin perform 1; commit; end $$",
    "create procedure p() language plpgsql as $$ begin commit; end $$",
    "create function f() returns int language sql set search_path = public begin atomic select 1; end",
    "create function f() returns void language sql as 'set search_path to x'",
    "select 'begin; commit; \\x', E'\\\\d', $x$ copy a from stdin; $x$",
    "insert into a values ('\n\\d is psql''s\n\\.\n')",
    "comment on table a is 'COPY a FROM stdin;'",
    "-- begin\n/* commit; /* rollback */ */ select 1",
    "copy a to stdout",
    "alter database x set search_path to y",
    "alter role x set search_path to y",
    "create index a_n on a (n)",
  ])("%s", async (sql) => {
    expect(await refused(sql)).toEqual([]);
  });

  test("what our parser can't read is left to the server", async () => {
    expect(await refused("create tabel b (n int)")).toEqual([]);
    expect(await refused("select 'open")).toEqual([]);
  });
});

test("every problem of every file is told at once", async () => {
  const problems = await problemsOf({
    "1_a.sql": "begin;\nselect 1;\ncommit;\n",
    "2_b.sql": "select 1;",
    "3_c.sql": "-- migrate:up\nset role x;\n",
  });
  expect(problems.map((problem) => /\(.*\)$/.exec(problem)?.[0])).toEqual([
    "(1_a.sql:1)",
    "(1_a.sql:3)",
    "(3_c.sql:2)",
  ]);
});

test("the line counts in a CRLF file with a BOM as elsewhere", async () => {
  const text = "\ufeff-- migrate:up\r\nselect 'é🦊';\r\n\r\n  -- why\r\n  begin;\r\n";
  expect(await problemsOf({ "1_a.sql": text })).toEqual([expect.stringContaining("(1_a.sql:5)")]);
});

test("a down section is judged when it is to run", async () => {
  const files = { "1_a.sql": "-- migrate:up\nselect 1;\n-- migrate:down\n\nrollback;\n" };
  expect(await problemsOf(files)).toEqual([]);
  expect(await problemsOf(files, "down")).toEqual([expect.stringContaining("(1_a.sql:5)")]);
});

test("outside of a transaction CONCURRENTLY is right, and BEGIN is still wrong", async () => {
  const text = (sql: string) => ({ "1_a.sql": `-- migrate:up transaction:false\n${sql};\n` });
  expect(await problemsOf(text("create index concurrently i on a (n)"))).toEqual([]);
  expect(await problemsOf(text("begin"))).toHaveLength(1);
  expect(await problemsOf(text("set search_path to x"))).toHaveLength(1);
});

describe("a dump of pg_dump", () => {
  const dump = `--
-- PostgreSQL database dump
--

\\restrict abc

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE TABLE public.a (
    n integer
);

COPY public.a (n) FROM stdin;
1
\\.

\\unrestrict abc
`;

  test("is refused at each line that only psql understands", async () => {
    const problems = await problemsOf({ "1_dump.sql": dump });
    expect(problems).toEqual([
      expect.stringMatching(/^\\restrict is for psql.*\(1_dump\.sql:5\)$/),
      expect.stringMatching(/^COPY FROM STDIN .*--inserts.*\(1_dump\.sql:14\)$/),
      expect.stringMatching(/^\\\. is for psql.*\(1_dump\.sql:16\)$/),
      expect.stringMatching(/^\\unrestrict is for psql.*\(1_dump\.sql:18\)$/),
    ]);
  });

  test("is refused for its search_path once those are gone", async () => {
    const text = dump.replace(/^\\.*\n/gm, "").replace(/^COPY.*\n1\n/m, "");
    expect(await problemsOf({ "1_dump.sql": text })).toEqual([
      expect.stringMatching(/search_path.*\(1_dump\.sql:7\)$/),
    ]);
  });
});
