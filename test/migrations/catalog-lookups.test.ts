// Lookups in the catalogs by an object's name alone: in a fleet of schemas another tenant's object answers.
import { describe, expect, test } from "vitest";
import { readFolder } from "../../src/migrations/files.js";
import { lintMigrations } from "../../src/migrations/lint.js";
import { folderOf } from "./folder.ts";

async function found(sql: string, { shared = false, mayLookUp = [] as string[] } = {}): Promise<string[]> {
  const folder = await folderOf({ "1_it.sql": `-- migrate:up\n${sql}\n-- migrate:down\nselect 1;\n` });
  const { findings } = await lintMigrations([{ shared, ...(await readFolder(folder)) }], { mayLookUp });
  return findings
    .filter(({ rule }) => rule === "catalog-lookup")
    .map(({ severity, line, column, message }) => `${severity} ${line}:${column} ${message}`);
}

/** The whole finding, from the second line of a file on. */
const finding = (place: string, what: string, catalog: string) =>
  `${place} ${what} is looked up in ${catalog} without a schema: another tenant's is found as well`;
const asked = (query: string) => `do $$ begin\n  if not exists (${query}) then\n    null;\n  end if;\nend $$;`;

const lookups: [query: string, what: string, catalog: string][] = [
  [
    "select 1 from information_schema.columns where table_name = 'a' and column_name = 'n'",
    "table_name 'a'",
    "information_schema.columns",
  ],
  [
    "select from information_schema.columns c where 'n' = c.column_name",
    "column_name 'n'",
    "information_schema.columns",
  ],
  ["select from information_schema.tables where table_name in ('a', 'b')", "table_name", "information_schema.tables"],
  ["select from information_schema.tables where table_name like 'a%'", "table_name 'a%'", "information_schema.tables"],
  [
    "select from information_schema.tables where lower(table_name) = 'a'",
    "table_name 'a'",
    "information_schema.tables",
  ],
  ["select from information_schema.tables where table_name = 'a'::text", "table_name 'a'", "information_schema.tables"],
  [
    "select from information_schema.table_constraints where constraint_name = 'k' and table_catalog = current_database()",
    "constraint_name 'k'",
    "information_schema.table_constraints",
  ],
  [
    "select from information_schema.table_constraints t join information_schema.key_column_usage k on k.constraint_name = t.constraint_name and k.table_schema = t.table_schema where t.table_name = 'a'",
    "table_name 'a'",
    "information_schema.table_constraints",
  ],
  [
    "select from information_schema.tables where table_name = 'a' and table_schema not in ('pg_catalog', 'information_schema')",
    "table_name 'a'",
    "information_schema.tables",
  ],
  [
    "select from information_schema.tables where table_name = 'a' and not (table_schema = 'pg_catalog')",
    "table_name 'a'",
    "information_schema.tables",
  ],
  [
    "select from information_schema.tables where table_name = 'a' and table_schema like 'tenant%'",
    "table_name 'a'",
    "information_schema.tables",
  ],
  [
    "select from information_schema.routines where routine_name = 'f'",
    "routine_name 'f'",
    "information_schema.routines",
  ],
  [
    "select from information_schema.triggers where trigger_name = 't'",
    "trigger_name 't'",
    "information_schema.triggers",
  ],
  ["select 1 from pg_type where typname = 'mood'", "typname 'mood'", "pg_type"],
  ["select 1 from pg_catalog.pg_class where relname = 'a' and relkind = 'r'", "relname 'a'", "pg_class"],
  ["select c.oid::regclass from pg_class c where c.relname = 'a'", "relname 'a'", "pg_class"],
  ["select 1 from pg_constraint where conname = 'k'", "conname 'k'", "pg_constraint"],
  ["select 1 from pg_constraint where conname = 'k' and confrelid = 'plans'::regclass", "conname 'k'", "pg_constraint"],
  [
    "select 1 from pg_constraint where conname = 'k' and pg_get_constraintdef(oid) like '%x%'",
    "conname 'k'",
    "pg_constraint",
  ],
  [
    "select 1 from pg_constraint c join pg_class t on t.oid = c.conrelid where t.relname = 'a' and c.conname = 'k'",
    "relname 'a'",
    "pg_class",
  ],
  [
    "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relname = 'a'",
    "relname 'a'",
    "pg_class",
  ],
  ["select 1 from pg_class c join pg_depend d on d.objid = c.oid where c.relname = 'a'", "relname 'a'", "pg_class"],
  [
    "select 1 from pg_constraint where conrelid = (select oid from pg_class where relname = 'a') and conname = 'k'",
    "relname 'a'",
    "pg_class",
  ],
  ["select 1 from pg_indexes where indexname = 'i'", "indexname 'i'", "pg_indexes"],
  ["select 1 from pg_tables where tablename = any(array['a'])", "tablename", "pg_tables"],
  ["select 1 from pg_views where viewname is not distinct from 'v'", "viewname 'v'", "pg_views"],
  ["select 1 from pg_proc where proname = 'f'", "proname 'f'", "pg_proc"],
  ["select 1 from pg_trigger where tgname = 't' and not tgisinternal", "tgname 't'", "pg_trigger"],
  ["select 1 from pg_policies where policyname = 'p'", "policyname 'p'", "pg_policies"],
  ["select 1 from pg_attribute where attname = 'n' and attnum > 0", "attname 'n'", "pg_attribute"],
  [
    "select 1 from pg_enum e join pg_type t on t.oid = e.enumtypid where t.typname = 'mood' and e.enumlabel = 'sad'",
    "typname 'mood'",
    "pg_type",
  ],
  ["select 1 from pg_stat_user_tables where relname = 'a'", "relname 'a'", "pg_stat_user_tables"],
  ["with x as (select 1 from pg_class where relname = 'a') select from x", "relname 'a'", "pg_class"],
  ["select 1 union all select 2 from pg_class where relname = 'a'", "relname 'a'", "pg_class"],
  [
    "select 1 from pg_class where relname in (select tablename from pg_tables where schemaname = current_schema())",
    "relname",
    "pg_class",
  ],
];

describe("finds", () => {
  test.each(lookups)("%s", async (query, what, catalog) => {
    const plain = await found(`${query};`);
    expect(plain.map((text) => text.replace(/2:\d+/, "2:n"))).toEqual([finding("error 2:n", what, catalog)]);
    expect(await found(asked(query))).toEqual([finding("error 3:3", what, catalog)]);
  });

  test("each block of a query once, and each of several statements", async () => {
    const both = "select 1 from pg_class where relname = 'a' or relname = 'b'";
    expect(await found(`${both};\n${both} union ${both};`)).toHaveLength(3);
  });

  test("at its line and column", async () => {
    expect(await found("select 'é',\n  1 from pg_type where\n  typname = 'mood';")).toEqual([
      finding("error 4:3", "typname 'mood'", "pg_type"),
    ]);
    expect(await found("do $$ begin\n  perform 1\n  from pg_type\n  where typname = 'mood';\nend $$;")).toEqual([
      finding("error 5:3", "typname 'mood'", "pg_type"),
    ]);
  });

  test.each([
    [
      "EXECUTE of a constant",
      "do $$ begin\n  execute 'select 1 from pg_type where typname = ''mood''';\nend $$;",
      "error 3:3",
    ],
    [
      "a variable",
      "do $$ declare v text := 'mood';\nbegin\n  perform 1 from pg_type where typname = v;\nend $$;",
      "error 4:3",
    ],
    ["UPDATE", "update a set n = 1 from pg_type\nwhere typname = 'mood';", "error 3:7"],
    [
      "INSERT",
      "insert into a select 1\nwhere not exists (select 1 from pg_type where typname = 'mood');",
      "error 3:47",
    ],
    ["CREATE TABLE AS", "create table b as select 1 from pg_type\nwhere typname = 'mood';", "error 3:7"],
  ])("in %s", async (_, sql, place) => {
    expect(await found(sql)).toEqual([expect.stringMatching(new RegExp(`^${place} typname`))]);
  });

  test.each([
    [
      "PL/pgSQL",
      "create function f() returns int language plpgsql as $$ begin\n  return (select 1 from pg_type where typname = 'mood');\nend $$;",
      "3:3",
    ],
    [
      "SQL",
      "create function f() returns int language sql as $$\n  select 1 from pg_type where typname = 'mood';\n$$;",
      "3:31",
    ],
    [
      "BEGIN ATOMIC",
      "create function f() returns int language sql begin atomic\n  select 1 from pg_type where typname = 'mood'; end;",
      "3:31",
    ],
    ["a view", "create view v as\n  select 1 as n from pg_type where typname = 'mood';", "3:36"],
  ])("as a warning: in what a migration only defines, %s", async (_, sql, place) => {
    expect(await found(sql)).toEqual([finding(`warning ${place}`, "typname 'mood'", "pg_type")]);
  });

  test("as a warning: in a shared migration, which runs once", async () => {
    const query = "select 1 from pg_type where typname = 'mood'";
    expect(await found(asked(query), { shared: true })).toEqual([finding("warning 3:3", "typname 'mood'", "pg_type")]);
  });
});

const free = [
  "select 1 from information_schema.columns where table_schema = current_schema() and table_name = 'a'",
  "select 1 from information_schema.columns c where c.table_name = 'a' and c.table_schema = current_schema",
  "select 1 from information_schema.columns where (table_schema, table_name) = (current_schema(), 'a')",
  "select 1 from information_schema.columns where table_name = 'a' and table_schema in (select current_schema())",
  "select 1 from information_schema.columns where table_name = 'a' and table_schema = any(current_schemas(false))",
  "select 1 from information_schema.columns where table_name = 'a' and current_schema() = lower(table_schema)",
  "select 1 from information_schema.tables t where t.table_schema = current_schema() and exists (select 1 from information_schema.columns c where c.table_schema = t.table_schema and c.table_name = t.table_name and c.column_name = 'n')",
  "select 1 from information_schema.tables where table_schema || '.' || table_name = current_schema() || '.a'",
  "select 1 from information_schema.table_constraints t join information_schema.key_column_usage k using (constraint_schema, constraint_name) where t.table_schema = current_schema() and t.table_name = 'a'",
  "select 1 from information_schema.schemata where schema_name = 'x'",
  "select 1 from (select * from information_schema.columns where table_schema = current_schema()) c where c.table_name = 'a'",
  "select table_name from information_schema.tables where table_schema = current_schema()",
  "select 1 from pg_constraint where conname = 'k' and conrelid = 'a'::regclass",
  "select 1 from pg_constraint where conname = 'k' and conrelid::regclass::text = 'a'",
  "select 1 from pg_constraint where conname = 'k' and conrelid = to_regclass('a')",
  "select 1 from pg_constraint where conname = 'k' and connamespace = current_schema()::regnamespace",
  "select 1 from pg_constraint c join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace where n.nspname = current_schema() and t.relname = 'a' and c.conname = 'k'",
  "select 1 from pg_constraint where conname = 'k' and confrelid = 'plans'::regclass and conrelid = 'a'::regclass",
  "select 1 from pg_class where relname = 'a' and relnamespace = (select oid from pg_namespace where nspname = current_schema())",
  "select 1 from pg_class where relname = 'a' and relnamespace in (select oid from pg_namespace where nspname = current_schema())",
  "select 1 from pg_class c where c.relname = 'a' and pg_table_is_visible(c.oid)",
  "select 1 from pg_type where typname = 'mood' and pg_catalog.pg_type_is_visible(oid)",
  "select 1 from pg_class where oid = 'a'::regclass and relname = 'a'",
  "select 1 from pg_enum where enumlabel = 'sad' and enumtypid = 'mood'::regtype",
  "select 1 from pg_attribute where attrelid = 'a'::regclass and attname = 'n' and not attisdropped",
  "select 1 from pg_trigger where tgname = 't' and tgrelid = 'a'::regclass",
  "select 1 from pg_indexes where schemaname = current_schema() and indexname = 'i'",
  "select 1 from pg_roles where rolname = 'app'",
  "select 1 from pg_user where usename = 'app'",
  "select 1 from pg_extension where extname = 'citext'",
  "select 1 from pg_available_extensions where name = 'citext'",
  "select 1 from pg_namespace where nspname = 'common'",
  "select 1 from pg_settings where name = 'work_mem'",
  "select 1 from pg_database where datname = 'x'",
  "select 1 from pg_language where lanname = 'plpgsql'",
  "select 1 from pg_stat_activity where usename = 'x'",
  "select to_regclass('a'), 'pg_class where relname = 1' -- information_schema.columns where table_name = 'a'",
  "select 1 from columns where table_name = 'a' and pg_backend_pid() > 0",
  "select 1 from audit a, pg_class c where a.table_name = 'a' and c.oid = a.id",
];

describe("leaves alone", () => {
  test.each(free)("%s", async (query) => {
    expect(await found(`${query}\n;`)).toEqual([]);
    expect(await found(asked(`${query}\n`))).toEqual([]);
  });

  test("a schema in a variable or a parameter", async () => {
    const text = "select 1 from pg_tables where tablename = 'a' and schemaname = s";
    expect(await found(`do $$ declare s text := current_schema(); begin perform 1 from (${text}) x; end $$;`)).toEqual(
      [],
    );
    expect(await found(`create function f(s text) returns int language sql as $$ ${text} $$;`)).toEqual([]);
  });

  test("what a comment, or the config, allows", async () => {
    const query = "select 1 from pg_type where typname = 'mood'";
    expect(await found(`-- tenantctl-lint: allow catalog-lookup -- of all\n${asked(query)}`)).toEqual([]);
    expect(await found(asked(query), { mayLookUp: ["1_it"] })).toEqual([]);
  });

  test("what can't be read, and an expression of thousands of terms", async () => {
    expect(await found("do $$ begin pg_class !; end $$;")).toEqual([]);
    const terms = Array.from({ length: 5000 }, (_, n) => `n = ${n}`).join(" or ");
    expect(await found(`select 1 from pg_class where ${terms};`)).toEqual([]);
  });
});
