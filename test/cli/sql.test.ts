import { describe, expect, test } from "vitest";
import { openFleet, sql as run } from "../../src/fleet/index.js";
import { createDatabase, newest, servers, type TestDatabase } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { createProject, type ProjectContents, type TestProject } from "../support/project.ts";
import { sql } from "./shapes.ts";
import { expectRefusal } from "./traces.ts";

const tenants = { thor: {}, loki: { schema: "lo ki" }, odin: {} };

/** Three tenants with a table each, of one, two and three rows. */
async function polls(
  more: ProjectContents & { on?: TestDatabase } = {},
): Promise<{ database: TestDatabase; project: TestProject }> {
  const { on, ...contents } = more;
  const database = on ?? (await createDatabase());
  for (const [at, schema] of ['"thor"', '"lo ki"', '"odin"'].entries()) {
    await database.query(`create schema ${schema}`);
    await database.query(
      `create table ${schema}.polls (id bigint generated always as identity primary key, question text not null)`,
    );
    await database.query(`insert into ${schema}.polls (question) select 'q' || g from generate_series(1, ${at + 1}) g`);
  }
  return { database, project: await createProject({ database, tenants, ...contents }) };
}

/** What the command asks the core, without a process: its rows as objects of texts, and its errors. */
async function ask(
  project: TestProject,
  text: string,
  options: { write?: boolean; statementTimeoutMs?: number; lockTimeoutMs?: number } = {},
) {
  const fleet = await openFleet({ config: project.configFile, env: { HOME: project.folder }, concurrency: 2 });
  const rows: Record<string, string | null>[] = [];
  const keep: Parameters<typeof run>[2]["rows"] = (tenant, columns, batch) => {
    for (const row of batch)
      rows.push(Object.fromEntries([["tenant", tenant], ...columns.map(({ name }, at) => [name, row[at]])]));
    return undefined;
  };
  try {
    const { errors } = await run(fleet, {}, { text, ...options, rows: keep });
    return { rows, errors };
  } finally {
    await fleet.close();
  }
}

async function questions(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ question: string }>(
    `select 'thor ' || question as question from thor.polls union all select 'loki ' || question from "lo ki".polls
     union all select 'odin ' || question from odin.polls order by 1`,
  );
  return rows.map((row) => row.question);
}

const before = ["loki q1", "loki q2", "odin q1", "odin q2", "odin q3", "thor q1"];

describe("results of all tenants", () => {
  test.each(servers())("come in one table, in the fleet's order, on PostgreSQL $major", async (server) => {
    const { project } = await polls({ on: await createDatabase(server) });
    const result = await project.tenantctl(["sql", "--all", "select count(*) as polls, max(question) from polls"]);
    expect(result).toMatchObject({
      code: 0,
      stdout: "tenant  polls  max\nthor    1      q1\nloki    2      q2\nodin    3      q3\n",
    });
    expect(result.stderr).toMatch(/^3 tenants: 3 done, 3 rows \(.*\)\n$/);
  });

  test("as JSON keep their types as far as JavaScript can hold them", async () => {
    const { project } = await polls();
    const text = `select 1::int as i, 9007199254740993::bigint as b, 1.10::numeric as n, 0.5::float8 as f, 'NaN'::float8 as nan,
      true as yes, null as nothing, '{"a": [1, 12345678901234567890]}'::jsonb as doc, '{1,2}'::int[] as list, 'x"y' as t, 1 as i, 2 as tenant`;
    const result = await project.tenantctl(["sql", "thor", "--json", text]);
    expect(result.stdout).toContain('"doc":{"a": [1, 12345678901234567890]}');
    const found = sql.parse(result.json());
    expect(found.columns).toEqual([
      "tenant",
      "i",
      "b",
      "n",
      "f",
      "nan",
      "yes",
      "nothing",
      "doc",
      "list",
      "t",
      "i_2",
      "tenant_2",
    ]);
    expect(found.rows).toEqual([
      {
        tenant: "thor",
        i: 1,
        b: "9007199254740993",
        n: "1.10",
        f: 0.5,
        nan: "NaN",
        yes: true,
        nothing: null,
        doc: { a: [1, Number("12345678901234567890")] },
        list: "{1,2}",
        t: 'x"y',
        i_2: 1,
        tenant_2: 2,
      },
    ]);
  });

  test("as CSV tell NULL from an empty text, and quote", async () => {
    const { project } = await polls();
    const result = await project.tenantctl([
      "sql",
      "{thor,odin}",
      "--csv",
      `select null as a, '' as b, E'x,"y"\\nz' as c`,
    ]);
    expect(result.stdout).toBe('tenant,a,b,c\nthor,,"","x,""y""\nz"\nodin,,"","x,""y""\nz"\n');
  });

  test("whose columns differ have all of them, in the order in which they were met", async () => {
    const { database, project } = await polls();
    await database.query('alter table "lo ki".polls add column closed boolean default true');
    const text = "select * from polls where id = 1";
    const { stdout } = await project.tenantctl(["sql", "--all", "--csv", text]);
    expect(stdout).toBe("tenant,id,question,closed\nthor,1,q1,\nloki,1,q1,t\nodin,1,q1,\n");
    const json = sql.parse((await project.tenantctl(["sql", "--all", "--json", text])).json());
    expect(json.columns).toEqual(["tenant", "id", "question", "closed"]);
    expect(json.rows.map((row) => Object.keys(row).length)).toEqual([3, 4, 3]);
  });

  test("of several statements are the last ones that are rows; without any, what was done", async () => {
    const { project } = await polls({ tenants: { thor: {} } });
    const shown = async (text: string, write = false) => (await ask(project, text, { write })).rows;
    const reading = "select 1 as one; select 2 as two; set local work_mem = '8MB'";
    expect(await shown(reading)).toEqual([{ tenant: "thor", two: "2" }]);
    const setting = "set enable_seqscan = off; show enable_seqscan";
    expect(await shown(setting)).toEqual([{ tenant: "thor", enable_seqscan: "off" }]);
    const updating = "update polls set question = 'new'";
    expect(await shown(updating, true)).toEqual([{ tenant: "thor", command: "UPDATE 1" }]);
    const several = "insert into polls (question) values ('more') returning id; create table t (id int)";
    expect(await shown(several, true)).toEqual([{ tenant: "thor", id: "2" }]);
  });

  test("hide what could command a terminal", async () => {
    const { project } = await polls();
    const { stdout } = await project.tenantctl(["sql", "thor", "select E'a\\nb\\x1b[2Jc\\td' as t"]);
    expect(stdout).toBe("tenant  t\nthor    a↵b�[2Jc�d\n");
  });

  test("come whole when there are many, in order, while several tenants are asked at once", async () => {
    const { project } = await polls();
    const text = "select g, repeat('x', 100) as x from generate_series(1, 30000) g";
    for (const [format, head] of [
      ["--csv", 1],
      [undefined, 1],
    ] as const) {
      const { stdout } = await project.tenantctl(["sql", "--all", ...(format === undefined ? [] : [format]), text]);
      const lines = stdout.split("\n").slice(head, -1);
      expect(lines.map((line) => line.split(/,| +/).slice(0, 2).join(" "))).toEqual(
        ["thor", "loki", "odin"].flatMap((name) => Array.from({ length: 30_000 }, (_, at) => `${name} ${at + 1}`)),
      );
    }
  });

  test("--quiet prints them only where a format was asked for", async () => {
    const { project } = await polls();
    expect(await project.tenantctl(["sql", "--all", "--quiet", "select 1"])).toMatchObject({
      code: 0,
      stdout: "",
      stderr: "",
    });
    const csv = await project.tenantctl(["sql", "--all", "--quiet", "--csv", "select 1 as one"]);
    expect(csv).toMatchObject({ code: 0, stdout: "tenant,one\nthor,1\nloki,1\nodin,1\n", stderr: "" });
  });
});

describe("the text", () => {
  test("comes from a file or from stdin, and failures tell line and column in it", async () => {
    const { project } = await polls();
    await project.write("report.sql", "\ufeff-- votes\r\nselect 1;\r\nselect 'é', nope from polls\r\n-- end");
    const file = await project.tenantctl(["sql", "thor", "-f", "report.sql"]);
    expect(file).toMatchObject({ code: 1, stdout: "" });
    expect(file.stderr).toMatch(/^error: thor: column "nope" does not exist \(report\.sql:3:13, SQLSTATE 42703\)$/m);
    const stdin = await project.tenantctl(["sql", "--all", "-f", "-", "--csv"], {
      input: "select count(*) from polls -- end",
    });
    expect(stdin.stdout).toBe("tenant,count\nthor,1\nloki,2\nodin,3\n");
  });

  test("is given once, and tenants are named", async () => {
    const { project } = await polls();
    const refused = async (words: string[], error: RegExp, hint: RegExp) =>
      expectRefusal(await project.tenantctl(["sql", ...words]), { error, hint });
    await Promise.all([
      refused(["thor"], /which SQL/, /stdin/),
      refused(["--all"], /which SQL/, /stdin/),
      refused([], /which tenants/, /--all/),
      refused(["--all", "thor", "select 1"], /what is "select 1"/, /quoted/),
      refused(["thor", "select", "1"], /what is "1"/, /quoted/),
      refused(["thor", "select 1", "-f", "x.sql"], /what is "select 1"/, /quoted/),
      refused(["thor", "-f", "missing.sql"], /missing\.sql can't be read: ENOENT/, /stdin/),
      refused(["thr", "select 1"], /no tenant is called "thr"/, /thor/),
    ]);
  });
});

describe("a tenant's failure", () => {
  test("stops nobody else, is told with its SQLSTATE, and leaves no rows of its own", async () => {
    const { database, project } = await polls();
    await database.query('drop table "lo ki".polls');
    const result = await project.tenantctl(["sql", "--all", "--json", "select 1 as one; select count(*) from polls"]);
    expect(result.code).toBe(1);
    const found = sql.parse(result.json());
    expect(found.rows).toEqual([
      { tenant: "thor", count: "1" },
      { tenant: "odin", count: "3" },
    ]);
    expect(found.errors).toEqual([
      { tenant: "loki", error: expect.objectContaining({ code: "SQL", sqlState: "42P01", line: 1, column: 39 }) },
    ]);
    const late = "select id, 1 / (id - 2) as x from polls order by id";
    expect((await project.tenantctl(["sql", "odin", "--csv", late])).stdout).toBe("");
  });

  test("is a missing schema, not a look into a shared one", async () => {
    const { database, project } = await polls({ config: { sharedSchemas: ["public"] } });
    await database.query("create table public.polls (id int)");
    await database.query("drop schema odin cascade");
    const all = sql.parse((await project.tenantctl(["sql", "--all", "--json", "select count(*) from polls"])).json());
    expect(all.rows.map((row) => row.tenant)).toEqual(["thor", "loki"]);
    expect(all.errors).toMatchObject([{ tenant: "odin", error: { code: "SCHEMA_MISSING" } }]);
    expectRefusal(await project.tenantctl(["sql", "odin", "select 1"]), { error: /no schema "odin"/, hint: /migrate/ });
  });

  test("is a timeout of the statement or of a lock", async () => {
    const { database, project } = await polls();
    const holder = await database.connect();
    await holder.query("begin");
    await holder.query("lock table odin.polls");
    const found = await ask(project, "select count(*) from polls", { lockTimeoutMs: 100 });
    await holder.query("rollback");
    expect(found.rows).toHaveLength(2);
    expect(found.errors).toMatchObject([{ tenant: "odin", error: { sqlState: "55P03" } }]);
    const slow = await project.tenantctl(["sql", "thor", "select pg_sleep(60)", "--statement-timeout", "100ms"]);
    expect(slow).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/57014/) });
  });
});

describe("without --write nothing is written, whatever the text says:", () => {
  const refused: [string, RegExp][] = [
    ["insert into polls (question) values ('x')", /1:1: INSERT may write/],
    ["commit; insert into polls (question) values ('x')", /COMMIT would end/],
    ["select 1; end; insert into polls (question) values ('x')", /1:11: COMMIT would end/],
    ["rollback and chain; select 1", /ROLLBACK would end/],
    ["begin; select 1", /BEGIN would/],
    ["savepoint s", /SAVEPOINT/],
    ["prepare transaction 'x'", /PREPARE would/],
    ["set transaction read write; delete from polls", /SET TRANSACTION/],
    ["set transaction_read_only = off; delete from polls", /transaction_read_only/],
    ['set local "transaction_read_only" to off', /transaction_read_only/],
    ["set session characteristics as transaction read write", /session characteristics/],
    ["set default_transaction_read_only = off", /default_transaction_read_only/],
    ["reset all", /RESET ALL/],
    ["set role postgres", /role/],
    ["reset role", /role/],
    ["set session authorization postgres", /session_authorization/],
    ["set search_path = odin", /search_path/],
    ["set schema 'odin'", /search_path/],
    ["select set_config('transaction_read_only', 'off', true)", /transaction_read_only/],
    ["select pg_catalog.SET_CONFIG('ROLE', 'postgres', true)", /set_config of ROLE/],
    ["select set_config('ro' || 'le', 'postgres', true)", /not named in plain words/],
    ["select set_config(setting_name => 'role', new_value => 'x', is_local => true)", /not named in plain words/],
    ["with w as (insert into polls (question) values ('x') returning 1) select * from w", /INSERT may write/],
    ["explain analyze delete from polls", /DELETE may write/],
    ["select * into stolen from polls", /SELECT INTO may write/],
    ["create table t (id int)", /CREATE may write/],
    ["do $$ begin commit; end $$", /DO may write/],
    ["call anything()", /CALL may write/],
    ["copy polls from stdin", /COPY/],
    ["copy polls from program 'echo x'", /COPY/],
    ["copy polls to program 'cat >/tmp/stolen'", /COPY/],
    ["\\! touch ran", /\\! is for psql/],
    ["select 1 \\gexec", /syntax error/],
    ["select pg_advisory_lock(1)", /pg_advisory_xact_lock/],
    ["select pg_terminate_backend(1)", /more than read/],
    ["select lo_import('/etc/passwd')", /more than read/],
    ["select dblink_exec('dbname=postgres', 'drop table x')", /more than read/],
    ["listen x", /LISTEN/],
    ["discard all", /DISCARD/],
    ["vacuum polls", /VACUUM may write/],
    ["this is no sql", /1:1: syntax error/],
    ["select 'open", /unterminated/],
    ["-- nothing", /no statement/],
    ["", /no statement/],
  ];

  // One process for each would be slow: the core is asked, which is what the command asks.
  test("refused before anything is touched", async () => {
    const { database, project } = await polls();
    const fleet = await openFleet({ config: project.configFile, env: { HOME: project.folder } });
    const seen: string[] = [];
    for (const [text, why] of refused) {
      const error = await run(fleet, {}, { text, rows: () => undefined }).then(
        () => new Error(`not refused: ${text}`),
        (error: Error) => error,
      );
      expect(error, text).toMatchObject({ code: "SQL_REFUSED" });
      expect((error as unknown as { problems: string[] }).problems.join("\n"), text).toMatch(why);
      seen.push(text);
    }
    await fleet.close();
    expect(seen).toHaveLength(refused.length);
    expect(await questions(database)).toEqual(before);
  });

  test("told by the command line and in JSON, each at its place", async () => {
    const { database, project } = await polls();
    const text = "select 1;\ninsert into polls (question) values ('x');\n delete from polls";
    expectRefusal(await project.tenantctl(["sql", "--all", text]), {
      error: [/^error: 2:1: INSERT may write$/m, /^error: 3:2: DELETE may write$/m],
      hint: /--write/,
    });
    const json = await project.tenantctl(["sql", "--all", "--json", "commit"]);
    expect(json).toMatchObject({ code: 2, stderr: "" });
    expect(json.json()).toMatchObject({ error: { code: "SQL_REFUSED" } });
    expect(await questions(database)).toEqual(before);
  });

  test.each(servers())("refused by PostgreSQL $major itself, where only it can know", async (server) => {
    const { database, project } = await polls({ on: await createDatabase(server) });
    await database.query(`create function thor.sneaky(how text) returns int language plpgsql as $$ begin
      execute how; insert into thor.polls (question) values ('sneaked'); return 1; end $$`);
    for (const how of [
      "select 1",
      "set transaction read write",
      "set local transaction_read_only = off",
      "select set_config('transaction_read_only', 'off', false)",
      "update pg_settings set setting = 'off' where name = 'transaction_read_only'",
    ]) {
      const { errors } = await ask(project, `select thor.sneaky($x$${how}$x$)`);
      expect(
        errors.map(({ error }) => error.sqlState),
        how,
      ).toEqual(Array(3).fill(expect.stringMatching(/^(25006|25001|0A000|42501)$/)));
    }
    expect(await questions(database)).toEqual(before);
  });

  test("not even where backslashes mean something else to the server than to its parser", async () => {
    const { database, project } = await polls();
    await database.query(`alter database ${database.name} set standard_conforming_strings = off`);
    await database.query(`alter database ${database.name} set escape_string_warning = off`);
    const text = "select '\\', '; rollback; insert into thor.polls (question) values (chr(120)); commit; select --'";
    const result = await project.tenantctl(["sql", "thor", "--csv", text]);
    expect(result.code, result.stderr).toBe(0);
    expect(await questions(database)).toEqual(before);
  });

  test("and a session keeps nothing of it for the next tenant", async () => {
    const { project } = await polls();
    const { rows } = await ask(project, "show work_mem; set work_mem = '77MB'");
    expect(rows).toHaveLength(3);
    expect(new Set(rows.map((row) => row.work_mem)).size).toBe(1);
  });
});

describe("with --write", () => {
  test("a tenant's statements are done all or not at all", async () => {
    const { database, project } = await polls();
    await database.query('alter table "lo ki".polls add constraint short check (length(question) < 5)');
    const text =
      "insert into polls (question) values ('new'); update polls set question = 'longer' where question = 'new' returning id";
    const result = await project.tenantctl(["sql", "--all", "--write", "--csv", text]);
    expect(result).toMatchObject({ code: 1, stdout: "tenant,id\nthor,2\nodin,4\n" });
    expect(result.stderr).toMatch(/^error: loki: .*"short".* SQLSTATE 23514\)$/m);
    expect(await questions(database)).toEqual([...before, "odin longer", "thor longer"].sort());
  });

  test("a failure at commit leaves neither writes nor rows", async () => {
    const { database, project } = await polls({ tenants: { thor: {} } });
    await database.query("create table thor.votes (poll bigint references thor.polls deferrable initially deferred)");
    const found = await ask(project, "insert into votes values (99) returning poll", { write: true });
    expect(found.rows).toEqual([]);
    expect(found.errors).toMatchObject([{ tenant: "thor", error: { sqlState: "23503" } }]);
    expect(await database.query("select * from thor.votes")).toEqual([]);
  });

  test("a role and temporary tables that a function took on are not the next tenant's", async () => {
    const { database, project } = await polls();
    await database.query(`create function public.greedy() returns text language plpgsql as $$ begin
      if to_regclass('pg_temp.mine') is not null or current_user <> session_user then raise 'left by another tenant'; end if;
      create temporary table mine (); set role pg_monitor; return current_user; end $$`);
    const fleet = await openFleet({ config: project.configFile, env: { HOME: project.folder }, concurrency: 1 });
    const found = await run(fleet, {}, { text: "select public.greedy()", write: true, rows: () => undefined });
    await fleet.close();
    expect(found).toMatchObject({ ok: true, errors: [], summary: { done: 3, rows: 3 } });
  });

  test("what would leave the transaction, or stay in the session, is refused as well", async () => {
    const { database, project } = await polls();
    const fleet = await openFleet({ config: project.configFile, env: { HOME: project.folder } });
    const insert = "insert into polls (question) values ('x')";
    for (const text of [
      `${insert}; commit; ${insert}`,
      `${insert}; rollback to s`,
      `set role postgres; ${insert}`,
      `set search_path = odin; ${insert}`,
      `set work_mem = '1MB'; ${insert}`,
      `select set_config('work_mem', '1MB', false); ${insert}`,
      `create temp table x (id int); ${insert}`,
      `create temporary table x as select 1; ${insert}`,
      `prepare p as ${insert}`,
      `declare c cursor with hold for select 1; ${insert}`,
      `copy polls (question) from stdin;\n${insert}`,
      `select pg_try_advisory_lock_shared(1); ${insert}`,
      `set transaction isolation level serializable; ${insert}`,
    ]) {
      await expect(run(fleet, {}, { text, write: true, rows: () => undefined }), text).rejects.toMatchObject({
        code: "SQL_REFUSED",
      });
    }
    await fleet.close();
    expect(await questions(database)).toEqual(before);
  });
});

test.skipIf(!pgbouncerAvailable)(
  `behind a transaction pooler it works, and leaves nothing on its connections${pgbouncerNote}`,
  async () => {
    const { database } = await polls({ on: await createDatabase(newest()) });
    const { url } = await startPgbouncer(database, { poolSize: 1 });
    const project = await createProject({ database: url, tenants });
    const read = await ask(project, "set work_mem = '77MB'; select count(*) from polls");
    expect(read).toMatchObject({ rows: [{ count: "1" }, { count: "2" }, { count: "3" }], errors: [] });
    const left = `select current_setting('work_mem') <> '77MB' as clean, current_setting('transaction_read_only') as read_only,
      current_schema() as here`;
    const after = await ask(project, left, { write: true });
    expect(after.rows.at(-1)).toEqual({ tenant: "odin", clean: "t", read_only: "off", here: "odin" });
  },
);
