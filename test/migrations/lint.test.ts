// Lint: each rule finds what it is for, where it is, and leaves its near misses alone.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readFolder } from "../../src/migrations/files.js";
import { type LintFinding, type LintOptions, type LintResult, lintMigrations } from "../../src/migrations/lint.js";
import { type LintRule, lintRules } from "../../src/migrations/lint-rules.js";
import { visit } from "../../src/migrations/walk.js";
import { nearest } from "../../src/registry/suggest.js";
import { createDatabase, servers } from "../support/database.ts";
import { folderOf } from "./folder.ts";

const schemas = { sharedSchemas: ["common"], tenantSchemas: ["odin"] };

async function lintFiles(
  files: Record<string, string>,
  options: LintOptions & { shared?: boolean } = {},
): Promise<LintResult> {
  const { shared = false, ...rest } = options;
  const folder = { shared, ...(await readFolder(await folderOf(files))) };
  return await lintMigrations([folder], { ...schemas, suggest: nearest, ...rest });
}

/** Lints one file whose up section, from line 2 on, is this; it has a down section. */
async function lintUp(sql: string, options?: LintOptions & { shared?: boolean; outside?: boolean }) {
  const { outside = false, ...rest } = options ?? {};
  const text = `-- migrate:up${outside ? " transaction:false" : ""}\n${sql}\n-- migrate:down\nselect 1;\n`;
  return (await lintFiles({ "1_it.sql": text }, rest)).findings;
}

const placesOf = (findings: readonly LintFinding[]) =>
  findings.map(({ severity, rule, line, column }) => `${severity} ${rule} ${line}:${column}`);

interface Case {
  rule: LintRule;
  what: string;
  sql: string;
  /** `line:column` of each finding, and its severity where it is not an error. */
  at: string[];
  shared?: boolean;
  outside?: boolean;
}

const error = (rule: LintRule, what: string, sql: string, ...at: string[]): Case => ({ rule, what, sql, at });
const shared = (rule: LintRule, what: string, sql: string, ...at: string[]): Case => ({
  ...error(rule, what, sql, ...at),
  shared: true,
});
const schema = (what: string, sql: string, ...at: string[]) => error("hard-coded-schema", what, sql, ...at);

const body = (language: string, text: string) => `create function f() returns int language ${language} as ${text};`;

const outside = [
  "create index concurrently on a (n)",
  "drop index concurrently i",
  "reindex index concurrently i",
  "reindex (concurrently) table a",
  "reindex schema public",
  "vacuum a",
  "cluster",
  "alter table parent detach partition part concurrently",
];

const found: Case[] = [
  error("refused", "BEGIN", "select 1;\nbegin;", "3:1"),
  error("refused", "session search_path", "set search_path to common;", "2:1"),
  error("refused", "psql's lines", "select 1;\n\\connect x", "3:1"),
  error("syntax", "what can't be parsed", "select 1;\n  create tabel a ();", "3:10"),
  error("syntax", "after characters beyond ASCII", "select 'é🦊'; selec 1;", "2:14"),

  schema("a table", "create table thor.a (n int);", "2:14"),
  schema("a table of a known tenant", "select 'é🦊', n from\n  odin.a;", "3:3"),
  schema("public", "insert into public.a values (1);", "2:13"),
  schema("quoted", 'select * from "Th""or" . a;', "2:15"),
  schema("nextval in a default", "create table a (n int default nextval('thor.s'));", "2:40"),
  schema("regclass literals", "select 'thor.a'::regclass, cast('\"T\".a' as regclass);", "2:9", "2:34"),
  schema("types", "create table a (n thor.e, m thor.e[]);", "2:19", "2:29"),
  schema("columns with their schema", "create policy p on a using (thor.a.n = 1);", "2:29"),
  schema("%TYPE with a schema", "create function f(n thor.a.n%type) returns int language sql return 1;", "2:21"),
  schema("functions", "create index on a (thor.f(n));", "2:20"),
  schema("function definitions", "create function thor.f() returns int language sql return 1;", "2:17"),
  schema("enum types", "alter type thor.e add value 'x';", "2:12"),
  schema("dropped objects", "drop table a, thor.b;\ndrop trigger t on thor.a;", "2:15", "3:19"),
  schema("each of two alike", "drop table thor.a;\ndrop table thor.a;", "2:12", "3:12"),
  schema("dropped functions, once", "drop function thor.f(thor.e);", "2:15", "2:22"),
  schema("operators and collations", "select a operator(thor.+) b collate thor.c;", "2:10", "2:29"),
  schema("references", "create table a (n int references thor.b);", "2:34"),
  schema("trigger functions", "create trigger t before insert on a execute function thor.f();", "2:54"),
  schema("SET SCHEMA", "alter table a set schema thor;", "2:26"),
  schema("GRANT ON SCHEMA", "grant usage on schema thor to app;", "2:23"),
  schema("ALL TABLES IN SCHEMA", "grant select on all tables in schema thor to app;", "2:38"),
  schema("default privileges", "alter default privileges in schema thor grant select on tables to app;", "2:36"),
  schema("comments", "comment on column thor.a.n is 'x';", "2:19"),
  schema("operator classes", "drop operator class thor.o using btree;", "2:21"),
  schema("a function's search_path", "alter function f() set search_path = common, thor;", "2:46"),
  schema("SQL bodies", body("sql", "$$\n  select 'é🦊';\n  select n from thor.a\n$$"), "4:17"),
  schema("quoted bodies", body("sql", "'select n from thor.a'"), "2:64"),
  schema("bodies with escapes", body("sql", "'select n from thor.a where m = ''x'''"), "2:1"),
  schema("BEGIN ATOMIC", "create procedure p() language sql begin atomic delete from thor.a; end;", "2:60"),
  schema("DO, with a constant EXECUTE", "do $$ begin\n  execute 'drop table thor.a';\nend $$;", "3:23"),
  schema(
    "PL/pgSQL bodies",
    body(
      "plpgsql",
      `$$
declare
  value thor.e; -- thor.e
  r thor.a%rowtype;
begin
  if exists (select from thor.a) then value := thor.f(); end if;
  perform thor.f();
  select n into strict value from thor.a;
end $$`,
    ),
    "4:9",
    "5:5",
    "7:26",
    "7:48",
    "8:11",
    "9:35",
  ),
  schema(
    "a loop's query before its body",
    body(
      "plpgsql",
      "$$\ndeclare r record;\nbegin\n  for r in select n from thor.a loop\n    delete from thor.a;\n  end loop;\nend $$",
    ),
    "5:26",
    "6:17",
  ),
  { ...schema("a tenant's, in shared migrations", "select n from odin.a, other.b;", "2:15"), shared: true },

  error(
    "security-definer",
    "without search_path",
    "create function f() returns int security definer language sql\nas $$ select 1 $$;",
    "2:33",
  ),
  ...(
    [
      ["DEFAULT as search_path", "set search_path to default", "2:33"],
      ["without pg_temp", "set search_path = common", "2:50"],
      ["pg_temp in front", "set search_path = pg_temp, common", "2:50"],
      ["pg_temp in front and last", "set search_path = pg_temp, common, pg_temp", "2:50"],
      ["pg_temp in one text", "set search_path = 'common, pg_temp'", "2:50"],
      ["pg_temp in another letter case", 'set search_path = common, "PG_TEMP"', "2:50"],
      ["the last of two", "set search_path = common, pg_temp set search_path = common", "2:84"],
    ] as const
  ).map(([what, path, at]) =>
    error(
      "security-definer",
      what,
      `create function f() returns int security definer ${path} language sql as $$ select 1 $$;`,
      at,
    ),
  ),
  error("security-definer", "ALTER FUNCTION", "alter function f() security definer;", "2:20"),
  error("security-definer", "a procedure", "alter procedure p() security definer set search_path = common;", "2:38"),
  {
    ...error(
      "security-definer",
      "in shared migrations",
      "create function common.f() returns int language sql security definer set search_path = common as $$ select 1 $$;",
      "2:70",
    ),
    shared: true,
  },
  error("extension", "CREATE EXTENSION", "create extension if not exists citext;", "2:1"),
  error(
    "extension",
    "DROP and ALTER EXTENSION",
    "drop extension citext; alter extension citext update;",
    "2:1",
    "2:24",
  ),
  ...[
    "create schema x",
    "drop schema x",
    "alter schema x rename to y",
    "create role x",
    "alter role x nologin",
    "alter role x set a to b",
    "grant x to y",
    "drop owned by x",
    "create database x",
    "alter database x set a to b",
    "create tablespace x location '/x'",
    "create event trigger x on ddl_command_end execute function f()",
    "create publication x for all tables",
    "alter publication x set table a",
    "create subscription x connection 'y' publication z",
    "alter system set a = b",
    "create language x handler f",
    "create cast (a as b) without function",
    "create foreign data wrapper x",
    "create server x foreign data wrapper y",
    "create user mapping for x server y",
    "alter default privileges grant select on tables to x",
    "grant connect on database x to y",
    "comment on role x is 'y'",
    "alter database x owner to y",
    "drop server x",
  ].map((sql) => error("global-object", sql.toUpperCase(), `select 1; ${sql};`, "2:11")),
  { ...error("whole-database", "VACUUM, ANALYZE", "vacuum; analyze;", "warning 2:1", "warning 2:9"), outside: true },
  error("grant-public", "to PUBLIC", "grant select on a to app, public;", "warning 2:1"),
  error("catalog-lookup", "a name without a schema", "select 1 from pg_type where typname = 'e';", "2:29"),
  shared("cascade", "a column", "alter table a drop column n cascade;", "2:1"),
  shared("cascade", "an extension", "select 1;\ndrop extension if exists hstore cascade;", "3:1"),
  shared("cascade", "a table in a DO block", "do $$ begin\n  drop table a cascade;\nend $$;", "3:1"),
  shared("cascade", "TRUNCATE", "truncate a cascade;", "2:1"),
  error("temporary-name", "a table", "create table a (n int);\ncreate temp table a (n int);", "3:1"),
  error("temporary-name", "AS", "create table a (n int);\ncreate temp table a as select 1 as n;", "3:1"),
  error("temporary-name", "a renamed table", "alter table b rename to a;\ncreate temp view a as select 1;", "3:1"),

  error("set-context", "SET LOCAL", "set local search_path to common;", "warning 2:1"),
  error("set-context", "SET LOCAL ROLE", "set local role x;", "warning 2:1"),
  error("set-context", "set_config", "select 1, set_config('search_path', 'common', true);", "warning 2:11"),
  error("set-context", "in a DO block", "do $$ begin\n  set search_path to common;\nend $$;", "warning 3:1"),
  ...outside.map((sql) => error("not-in-transaction", sql.toUpperCase(), `select 1;\n${sql};`, "3:1")),
  { ...error("not-in-transaction", "in shared migrations", "create database x;", "2:1"), shared: true },
  {
    ...error(
      "partly-transactional",
      "a table beside an index",
      "create index concurrently on b (n);\ncreate table a ();",
      "warning 3:1",
    ),
    outside: true,
  },
  {
    ...error(
      "concurrent-on-new-table",
      "CONCURRENTLY",
      "create table a (n int);\ncreate index concurrently on a (n);",
      "warning 3:1",
    ),
    outside: true,
  },
  error(
    "enum-value-used",
    "in a default",
    "alter type e add value 'é';\nalter table a alter s set default 'é';",
    "3:35",
  ),
  error("scans-all-indexes", "a default", "alter table a add n int default 1;", "warning 2:1"),
  error("scans-all-indexes", "another type", "alter table a alter n type text;", "warning 2:1"),
  error("writes-shared", "DDL", "alter table common.a add n int;\ndrop view common.v;", "2:13", "3:11"),
  error("writes-shared", "rows", "insert into common.a values (1);", "warning 2:13"),
];

describe("finds", () => {
  test.each(found)("$rule: $what", async ({ rule, sql, at, shared = false, outside = false }) => {
    const findings = await lintUp(sql, { shared, outside });
    const places = at.map((place) =>
      place.includes(" ") ? place.replace(" ", ` ${rule} `) : `error ${rule} ${place}`,
    );
    expect(placesOf(findings).filter((place) => place.includes(` ${rule} `))).toEqual(places);
    for (const { message, hint } of findings)
      expect([message, hint]).toEqual([expect.stringMatching(/./), expect.stringMatching(/./)]);
  });
});

// what any of the rules could take for its own
const fine: [what: string, sql: string, options?: { shared?: boolean; outside?: boolean }][] = [
  ["CASCADE in a tenant's own schema", "drop table if exists a cascade;"],
  ["a drop in a shared migration that the server checks", "drop extension hstore;", { shared: true }],
  ["rights that are taken with CASCADE", "revoke select on a from x cascade;", { shared: true }],
  ["a temporary table of a name of its own", "create table a (n int);\ncreate temp table b (n int);"],
  [
    "SECURITY DEFINER with an empty search_path",
    "create function f() returns int language sql security definer set search_path = '' as $$ select 1 $$;",
  ],
  ["unqualified names", "create table a (n int, s text);\ninsert into a select x.n from b x;\ndrop table a;"],
  [
    "shared schemas and the catalog",
    "create table a (n common.e, m int references common.b default pg_catalog.abs(1)); select * from information_schema.tables, tenantctl.runs, pg_temp.x;",
  ],
  ["table.column", "select a.n from a; comment on column a.n is 'x'; drop trigger t on a; drop policy p on a;"],
  ["a.column%TYPE", "create function f(n a.n%type) returns int language sql return 1;"],
  [
    "schemas in texts and comments",
    "insert into a values ('thor.a', 'x.y'); -- thor.a\nselect nextval('s'), 'a'::regclass /* thor.b */;",
  ],
  ["records in PL/pgSQL", body("plpgsql", "$$ declare r record; begin r.n := r.m; return r.x.y; end $$")],
  ["a column's type in PL/pgSQL", body("plpgsql", "$$ declare v a.n%type; begin return 1; end $$")],
  ["other languages", body("plpython3u", "$$ thor.a $$")],
  [
    "FROM CURRENT",
    "create function f() returns int language sql security definer set search_path from current as $$ select 1 $$;",
  ],
  [
    "pg_temp last, and an empty search_path",
    `create function f() returns int language sql security definer set search_path = common, pg_temp as $$ select 1 $$;
create function g() returns int language sql security definer set search_path = '' as $$ select 1 $$; create procedure p() language sql security definer set search_path = "pg_temp" as $$ select 1 $$;`,
  ],
  [
    "ALTER FUNCTION with pg_temp, or without SECURITY DEFINER",
    "alter function f() security definer set search_path from current; alter function f() security invoker; alter function f() set search_path = common;",
  ],
  [
    "SECURITY DEFINER, BEGIN ATOMIC",
    "create function f() returns int security definer language sql begin atomic select 1; end;",
  ],
  ["SECURITY INVOKER", "create function f() returns int language sql security invoker as $$ select 1 $$;"],
  ["its own tables in a publication", "alter publication x add table a; alter publication x drop table a;"],
  [
    "objects in the schema",
    "create type e as enum ('x'); create domain d as int; create sequence s; comment on table a is 'x';",
  ],
  ["GRANT to a role, REVOKE from PUBLIC", "grant select on a to app; revoke all on a from public;"],
  ["SET LOCAL of other settings", "set local work_mem to '64MB'; select set_config('a.b', 'c', true);"],
  ["ANALYZE of a table", "analyze a; create index on a (n); drop index i; reindex table a;"],
  ["one statement outside", "create index concurrently on a (n);", { outside: true }],
  ["settings beside it", "set lock_timeout to '1s'; create index concurrently on a (n);", { outside: true }],
  ["DO and CALL outside", "call p(); do $$ begin commit; end $$;", { outside: true }],
  ["an enum's value used outside", "alter type e add value 'x'; insert into a values ('x');", { outside: true }],
  ["an enum's value renamed, and used", "alter type e rename value 'y' to 'x'; insert into a values ('x');"],
  ["an enum's other value used", "alter type e add value 'x'; insert into a values ('y');"],
  ["a column without a default", "alter table a add n int, add m text not null; alter table a alter n set default 1;"],
  [
    "reading and referring to what is shared",
    "select * from common.a; create view v as select * from common.a; create index on a (common.f(n));",
  ],
  [
    "extensions, roles and other schemas in shared migrations",
    "create extension citext; create role x; create schema y; insert into y.a values (1); alter table y.a add n int default 1; grant select on a to public;",
    { shared: true },
  ],
];

test.each(fine)("leaves alone: %s", async (_what, sql, options) => {
  expect(await lintUp(sql, options)).toEqual([]);
});

describe("down sections", () => {
  const lint = async (text: string, shared = false) =>
    placesOf((await lintFiles({ "1_it.sql": text }, { shared })).findings);

  test("missing or empty ones are warned of", async () => {
    expect(await lint("select 1;\n")).toEqual(["warning no-down 1:1"]);
    expect(await lint("\n-- migrate:up\nselect 1;\n")).toEqual(["warning no-down 2:1"]);
    expect(await lint("-- migrate:up\nselect 1;\n-- migrate:down\n\n-- nothing\n;\n")).toEqual(["warning no-down 3:1"]);
    expect(await lint("-- migrate:up\nselect 1;\n-- migrate:down")).toEqual(["warning no-down 3:1"]);
  });

  test("are looked at as the others, and for shared migrations are not missed", async () => {
    expect(await lint("-- migrate:up\nselect 1;\n-- migrate:down\ndrop table thor.a;\n")).toEqual([
      "error hard-coded-schema 4:12",
    ]);
    expect(await lint("select 1;\n", true)).toEqual([]);
  });
});

describe("files", () => {
  test("that the loader refuses are found with file and line, and the others are linted", async () => {
    const { findings, files, modules, ok } = await lintFiles({
      "1_twice.sql": "-- migrate:up\nselect 1;\n-- migrate:up\nselect 2;\n",
      "2_a.sql": "-- migrate:up\ncreate schema x;\n-- migrate:down\nselect 1;\n",
      "2_b.ts": "export const up = () => {};",
      "strange.sql": "select 1;",
    });
    const places = findings.map(({ rule, file, line }) => `${rule} ${file.replace(/.*\//, "")}:${line}`);
    expect(places).toEqual([
      "invalid-file 1_twice.sql:3",
      "global-object 2_a.sql:2",
      "invalid-file 2_b.ts:1",
      "invalid-file strange.sql:1",
    ]);
    expect({ files, modules, ok }).toEqual({ files: 3, modules: 1, ok: false });
  });

  test("with CRLF and a BOM have the same places", async () => {
    const text = "\ufeff-- migrate:up\r\nselect 'é';\r\n  create schema x;\r\n-- migrate:down\r\nselect 1;\r\n";
    expect(placesOf((await lintFiles({ "1_it.sql": text })).findings)).toEqual(["error global-object 3:3"]);
  });
});

describe("comments", () => {
  const up = async (sql: string) => placesOf(await lintUp(sql));

  test("allow a rule on a statement's line, or on the line before it", async () => {
    expect(await up("create schema x; -- tenantctl-lint: allow global-object")).toEqual([]);
    expect(await up("-- tenantctl-lint: allow global-object\n\n-- it is\ncreate schema x;")).toEqual([]);
    expect(
      await up("create table a (\n  n thor.e -- tenantctl-lint: allow hard-coded-schema -- it is the same for all\n);"),
    ).toEqual([]);
    expect(
      await up("-- tenantctl-lint: allow hard-coded-schema, extension\ncreate extension a; create table thor.b ();"),
    ).toEqual([]);
  });

  test("allow nothing on other lines, and other rules never", async () => {
    const line = "create schema x; -- tenantctl-lint: allow global-object";
    expect(await up(`${line}\ncreate schema y;`)).toEqual(["error global-object 3:1"]);
    expect(await up("-- tenantctl-lint: allow extension\ncreate schema x;")).toEqual([
      "warning unused-allow 2:1",
      "error global-object 3:1",
    ]);
  });

  test("allow a rule in the whole file, above the sections, where no checksum sees them", async () => {
    const text = "-- tenantctl-lint: allow-file no-down, global-object\n-- migrate:up\nselect 1;\ncreate schema x;\n";
    expect((await lintFiles({ "1_it.sql": text })).findings).toEqual([]);
  });

  test("allow a missing or empty down section wherever they are", async () => {
    const files = {
      "1_it.sql": "-- tenantctl-lint: allow no-down\n\nselect 1;\n",
      "2_it.sql": "-- migrate:up\nselect 1;\n-- migrate:down\n-- tenantctl-lint: allow no-down -- the rows are gone\n",
    };
    expect((await lintFiles(files)).findings).toEqual([]);
  });

  test("that allow nothing, or what nobody knows, are found", async () => {
    const findings = await lintUp(
      "  -- tenantctl-lint: allow extensoin, no-down\nselect 1; -- tenantctl-lint: alow x\n-- tenantctl-lint: allow",
    );
    expect(
      findings.map(({ severity, rule, line, column, message }) => `${severity} ${rule} ${line}:${column} ${message}`),
    ).toEqual([
      'error unknown-rule 2:3 unknown rule "extensoin", did you mean extension?',
      "warning unused-allow 2:3 nothing here is no-down",
      'error unknown-rule 3:11 unknown directive "alow", did you mean allow?',
      "error unknown-rule 4:1 the comment names no rule",
    ]);
  });
});

test("a setting for the session is refused, and not warned of as well", async () => {
  const findings = await lintUp("select set_config('search_path', '', false);");
  expect(placesOf(findings)).toEqual(["error refused 2:1"]);
});

test("a body that can't be read is told, and stops nothing", async () => {
  const sql = `${body("plpgsql", "$$ begin retrun 1 end $$")}\ncreate schema x;`;
  expect(placesOf(await lintUp(sql))).toEqual(["warning syntax 2:1", "error global-object 3:1"]);
});

test("the place is right after thousands of rows, too", async () => {
  const rows = Array.from({ length: 2_000 }, (_, n) => `insert into a values (${n}, 'é ${"x".repeat(100)}');`).join(
    "\n",
  );
  expect(placesOf(await lintUp(`${rows}\ndrop table thor.a;`))).toEqual(["error hard-coded-schema 2002:12"]);
});

test("a dump whose every row names its schema is told row by row, on one line or on many", async () => {
  const rows = Array.from({ length: 10_000 }, (_, i) => `insert into public.a values ('é', ${i});`);
  const lines = await lintUp(rows.join("\n"));
  expect(lines).toHaveLength(rows.length);
  expect(lines.at(-1)).toMatchObject({ rule: "hard-coded-schema", line: 1 + rows.length, column: 13 });
  const one = await lintUp(rows.join(" "));
  expect(one).toHaveLength(rows.length);
  expect(one.at(-1)).toMatchObject({ line: 2, column: rows.slice(0, -1).join(" ").length + 1 + 13 });
});

test("a syntax tree of any depth is walked through", () => {
  let tree: unknown = { FuncCall: { last: true } };
  for (let depth = 0; depth < 100_000; depth++) tree = { A_Expr: { lexpr: tree } };
  const keys = new Set<string>();
  visit(tree, (_node, key) => keys.add(key));
  expect([...keys]).toEqual(["", "A_Expr", "lexpr", "FuncCall"]);
});

test("the example is clean", async () => {
  const read = (folder: string) => readFolder(fileURLToPath(new URL(`../../migrations/${folder}`, import.meta.url)));
  const folders = [
    { shared: true, ...(await read("shared")) },
    { shared: false, ...(await read("tenant")) },
  ];
  const result = await lintMigrations(folders, { sharedSchemas: ["public"], tenantSchemas: ["thor", "potter"] });
  expect(result).toMatchObject({ ok: true, findings: [], modules: 0 });
});

test("every rule has its section in the docs", async () => {
  const docs = await readFile(new URL("../../docs/lint.md", import.meta.url), "utf8");
  expect([...docs.matchAll(/^### `(.*)`/gm)].map((match) => match[1]).sort()).toEqual([...lintRules].sort());
});

describe.each(servers())("PostgreSQL $major agrees", (server) => {
  test("on what can't run in a transaction, and on enum values", async () => {
    const client = await (await createDatabase(server)).connect();
    await client.query("create table a (n int); create index i on a (n)");
    await client.query("create table parent (n int) partition by list (n); create type e as enum ('w')");
    await client.query("create table part partition of parent for values in (1)");
    const state = async (...statements: string[]) => {
      await client.query("begin");
      const failed = async () => {
        for (const sql of statements) await client.query(sql);
      };
      const code = await failed().then(
        () => "none",
        (error: { code: string }) => error.code,
      );
      await client.query("rollback");
      return code;
    };
    for (const sql of [...outside, "create database x", "drop database x", "alter system set work_mem = '4MB'"])
      expect([sql, await state(sql)]).toEqual([sql, "25001"]);
    expect(await state("alter type e add value 'x'", "select 'x'::e")).toBe("55P04");
    expect(await state("alter type e rename value 'w' to 'x'", "select 'x'::e")).toBe("none");
  });

  test("on SECURITY DEFINER: without a search_path it reads where its caller is, FROM CURRENT where it was made", async () => {
    const client = await (await createDatabase(server)).connect();
    const made = (name: string, options: string) =>
      `create function ${name}() returns text language sql security definer ${options}`;
    for (const schema of ["thor", "odin"]) {
      await client.query(`begin; create schema ${schema}; set local search_path to ${schema}; create table a as select '${schema}' as whose;
        ${made("found", "as $$ select whose from a $$")}; ${made("current", "set search_path from current as $$ select whose from a $$")};
        ${made("atomic", "begin atomic select whose from a; end")}; commit`);
    }
    const { rows } = await client
      .query("begin; set local search_path to odin; select thor.found(), thor.current(), thor.atomic()")
      .then((results) => (results as unknown as { rows: unknown[] }[])[2] ?? { rows: [] });
    expect(rows).toEqual([{ found: "odin", current: "thor", atomic: "thor" }]);
    await client.query("commit");
  });
});
