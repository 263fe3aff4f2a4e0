// What a migration changes outside of its tenant's schema is refused before it is committed, however it came to do it; and valid work passes.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Database, openDatabase } from "../../src/database/database.js";
import type { Reach } from "../../src/migrations/reach.js";
import { settingsOf } from "../database/settings.ts";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { oneTenant } from "./tenant.ts";

// shared: one of sharedSchemas. archive: some schema. loki: another tenant. ext: where extensions are.
const world = `
create schema shared; create schema archive; create schema loki; create schema ext;
create extension citext schema ext; create extension hstore schema ext;
create table shared.plans (id int primary key, name text, price int);
insert into shared.plans values (1, 'free', 0), (2, 'pro', 9);
create index plans_name on shared.plans (name);
create table shared.audit (id bigint generated always as identity, what text);
create sequence shared.numbers;
create table shared.events (id int, at date, primary key (id, at)) partition by range (at);
create table shared.events_2026 partition of shared.events for values from ('2026-01-01') to ('2027-01-01');
create table shared.customers (id int primary key, name text);
create view shared.plan_names as select name from shared.plans;
create materialized view shared.plan_count as select count(*) from shared.plans;
create type shared.mood as enum ('good', 'bad');
create function shared.note() returns trigger language plpgsql as $$ begin insert into shared.audit (what) values (tg_op); return new; end $$;
create procedure shared.forget() language plpgsql as $$ begin drop table archive.log; end $$;
create table archive.log (id int primary key, what text);
create function shared.wipe() returns void language sql as 'delete from archive.log';
create sequence archive.numbers;
create function archive.f() returns int language sql as 'select 1';
create type archive.kind as enum ('a');
create table loki.votes (id int primary key, tenantctl text);
create table loki.tenantctl_migrations (name text);
create publication feed;
create foreign data wrapper wrapper; create server far foreign data wrapper wrapper;
create domain shared.price as int;
create function archive.adopt() returns void language plpgsql as $$ begin execute format('alter table archive.log set schema %I', current_schema()); end $$;
create function archive.log_it() returns trigger language plpgsql as $$ begin insert into archive.log values (1, tg_op); return new; end $$;
`;

const own = "create table a (id int primary key, n int); insert into a values (1, 1);\n";
const run = (sql: string) => `${own}do $do$ begin ${sql}; end $do$;`;

/** [what it is, its SQL, what the message names] */
const refused: [string, string, string][] = [
  [
    "a table dropped by a name that leads to a shared one",
    "drop table if exists customers cascade",
    "drops shared.customers",
  ],
  [
    "… and made anew, as its own",
    "drop table if exists customers; create table customers (id int)",
    "drops shared.customers",
  ],
  ["a column of a shared table", "alter table plans add column vat int", "changes shared.plans"],
  ["a column that is dropped", "alter table plans drop column price", "changes shared.plans"],
  ["a default", "alter table plans alter price set default 1", "changes shared.plans"],
  ["not null", "alter table plans alter name set not null", "changes shared.plans"],
  ["a check", "alter table plans add check (price >= 0)", "changes shared.plans"],
  ["a rename", "alter table plans rename to plans_old", "changes shared.plans"],
  ["a renamed column", "alter table plans rename price to cost", "changes shared.plans"],
  ["an index", "create index plans_price on plans (price)", "changes shared.plans"],
  ["an index that is dropped", "drop index plans_name", "changes shared.plans"],
  ["a truncate", "truncate plans", "changes shared.plans"],
  [
    "a trigger on a shared table",
    "create trigger noted after insert on plans for each row execute function note()",
    "changes shared.plans",
  ],
  ["a policy", "create policy p on plans using (true)", "changes shared.plans"],
  ["row level security", "alter table plans enable row level security", "changes shared.plans"],
  ["a rule", "create rule r as on delete to plans do instead nothing", "changes shared.plans"],
  [
    "a foreign key of a shared table to its own",
    `${own}alter table audit add foreign key (id) references a not valid`,
    "changes shared.audit",
  ],
  [
    "a part of a shared partitioned table",
    "create table mine partition of events for values from ('2027-01-01') to ('2028-01-01')",
    "changes shared.events",
  ],
  ["a child of a shared table", "create table mine () inherits (plans)", "changes shared.plans"],
  ["a comment on a shared table", run("comment on table plans is 'mine'"), "changes shared.plans"],
  [
    "a shared view",
    run("execute 'create or replace view shared.plan_names as select name from shared.customers'"),
    "changes shared.plan_names",
  ],
  ["a shared view that is dropped", "drop view plan_names", "drops shared.plan_names"],
  ["a materialized view that is refreshed", "refresh materialized view plan_count", "changes shared.plan_count"],
  ["a shared sequence that is altered", "alter sequence numbers restart with 7", "changes shared.numbers"],
  ["a shared function that is dropped", "drop function wipe()", "drops shared.wipe"],
  ["a shared type that is dropped", "drop type mood", "drops shared.mood"],
  ["a function of another schema, in a DO block", run("drop function archive.f()"), "drops archive.f"],
  [
    "a type of another schema",
    run("alter type archive.kind owner to current_user; drop type archive.kind"),
    "drops archive.kind",
  ],
  ["a table of another schema, by EXECUTE", run("execute format('drop table %I.log', 'archive')"), "drops archive.log"],
  ["a table in another schema", run("execute 'create table archive.mine (n int)'"), "creates archive.mine"],
  ["a table that is moved there", run("execute 'alter table a set schema archive'"), "creates archive.a"],
  [
    "a table that is moved from there",
    run("execute format('alter table archive.log set schema %I', current_schema)"),
    "moves archive.log",
  ],
  ["rows of another schema", run("insert into archive.log values (1, 'x')"), "writes rows of archive.log"],
  ["rows of another schema, by a function that was there", `${own}select wipe()`, "writes rows of archive.log"],
  ["a drop by a procedure that was there", `${own}call forget()`, "drops archive.log"],
  [
    "rows of another schema, by a trigger",
    `create table a (n int); create trigger t after insert on a for each row execute function archive.log_it(); insert into a values (1)`,
    "writes rows of archive.log",
  ],
  ["rows of another tenant", run("delete from loki.votes"), "writes rows of loki.votes"],
  ["another tenant's table", run("drop table loki.votes"), "drops loki.votes"],
  ["another tenant's ledger", run("delete from loki.tenantctl_migrations"), "writes rows of loki.tenantctl_migrations"],
  [
    "in a subtransaction that stays",
    run("begin drop table archive.log; exception when division_by_zero then null; end"),
    "drops archive.log",
  ],
  ["after a savepoint", `${own}savepoint s; delete from archive.log; release s`, "writes rows of archive.log"],
  [
    "a foreign key to a schema that is not shared",
    run("execute 'create table b (n int references archive.log)'"),
    "changes archive.log",
  ],
  [
    "a shared table that is locked and changed",
    run("lock table plans in access exclusive mode; alter table plans alter price type bigint"),
    "changes shared.plans",
  ],
  [
    "rows of another schema, by a trigger that is put off to the commit",
    `${own}create constraint trigger t after insert on a deferrable initially deferred for each row execute function archive.log_it(); insert into a values (3, 3)`,
    "writes rows of archive.log",
  ],
  [
    "a table that is moved from there, by a function that was there",
    `${own}select archive.adopt()`,
    "moves archive.log",
  ],
  ["a shared function that is altered", "alter function note() security definer", "changes shared.note"],
  ["a shared domain that is altered", "alter domain price add check (value > 0)", "changes shared.price"],
  ["a shared domain's default", `${own}alter domain price set default 7`, "changes shared.price"],
  ["a shared type that is renamed", "alter type mood rename to humour", "changes shared.mood"],
  ["an extension that is dropped", run("drop extension hstore"), "drops extension hstore"],
  ["a schema that is dropped", run("create table archive.mine (); drop schema archive cascade"), "drops archive"],
  ["a view of another schema that goes by CASCADE", run("drop table archive.log cascade"), "drops archive.log"],
  [
    "a foreign key and a column at once",
    `create table b (p int references plans); ${"alter table plans add column vat int"}`,
    "changes shared.plans",
  ],
];

const passed: [string, string][] = [
  ["its own tables", `${own}alter table a add m int default 3; drop table a`],
  ["a foreign key to a shared table", "create table b (p int references plans)"],
  ["a foreign key to a shared table, added later", `${own}alter table a add foreign key (n) references plans`],
  ["… and dropped again", "create table b (p int references plans); drop table b"],
  [
    "a foreign key to a shared partitioned table",
    "create table b (id int, at date, foreign key (id, at) references events)",
  ],
  [
    "a right on a shared table beside a foreign key",
    "create table b (p int references plans); do $$ begin grant select on shared.plans to public; end $$",
  ],
  [
    "reading what is shared",
    `${own}create table c as select * from plans; insert into a select id + 7, price from plans`,
  ],
  ["locking shared rows", run("perform from plans for update")],
  ["reading what is not", run("perform from archive.log; perform from loki.votes")],
  [
    "rows of a shared table",
    run("insert into audit (what) values ('x'); update plans set price = price + 1; delete from customers"),
  ],
  [
    "rows of a shared partitioned table",
    run("insert into events values ((select count(*) from events), '2026-03-01')"),
  ],
  [
    "an audit trigger",
    `${own}create trigger t after insert on a for each row execute function note(); insert into a values (3, 3)`,
  ],
  [
    "numbers of sequences",
    run("perform nextval('numbers'); perform nextval('archive.numbers'); perform setval('archive.numbers', 9)"),
  ],
  [
    "types and defaults of others",
    "create table b (c ext.citext, h ext.hstore, m mood, k archive.kind default 'a', n int default archive.f())",
  ],
  ["a view of others", "create view v as select * from archive.log join plans using (id)"],
  ["a table like a shared one", "create table b (like plans including all); insert into b select * from plans"],
  ["a shared view that is read", "create materialized view m as select * from plan_names; refresh materialized view m"],
  ["temporary tables", "create temp table t as select * from plans; insert into t select * from plans; drop table t"],
  ["what is made and dropped again", run("execute 'create table archive.tmp ()'; execute 'drop table archive.tmp'")],
  [
    "what is rolled back",
    run("begin delete from archive.log; raise division_by_zero; exception when division_by_zero then null; end"),
  ],
  ["… to a savepoint", `${own}savepoint s; drop table archive.log; rollback to s`],
  [
    "a comment on an extension, or on public",
    "comment on extension citext is 'words'; comment on schema public is 'standard public schema'",
  ],
  ["a comment on a shared function", run("comment on function note() is 'audits'")],
  ["a table added to a publication", `${own}do $$ begin alter publication feed add table a; end $$`],
  ["ANALYZE of everything", `${own}analyze`],
  ["LOCK of a shared table", run("lock table plans in access exclusive mode")],
  ["LOCK of a shared table against writers", run("lock table plans in share mode; lock table plans in exclusive mode")],
  ["a cursor beside a foreign key", "declare c cursor for select 1; create table b (p int references plans)"],
  [
    "domains and functions of its own that are called like shared ones",
    "create domain price as int; alter domain price add check (value > 0); create function note() returns int language sql as 'select 1'; alter function note() stable; alter domain price rename to cost",
  ],
  [
    "a foreign key that is checked at the commit",
    `${own}create table b (n int references a deferrable initially deferred); insert into b values (7); insert into a values (7)`,
  ],
  [
    "partitions of its own",
    "create table e (id int, at date) partition by range (at); create table e1 partition of e default; insert into e values (1, now()); alter table e detach partition e1; drop table e1",
  ],
  [
    "enums, domains, operators and functions of its own that are dropped",
    `create type k as enum ('a'); create domain d as int check (value > 0); create function f(int, int) returns bool language sql as 'select true';
    create operator === (function = f, leftarg = int, rightarg = int); create table b (k k, d d); drop table b; drop type k; drop domain d; drop operator === (int, int); drop function f`,
  ],
  [
    "triggers, policies, rules and statistics of its own that are dropped",
    `${own}create trigger t after insert on a for each row execute function note(); create policy p on a using (true);
    create rule r as on delete to a do instead nothing; create statistics s on id, n from a; alter table a add constraint k check (n > 0);
    drop trigger t on a; drop policy p on a; drop rule r on a; drop statistics s; alter table a drop constraint k; alter table a drop column n cascade`,
  ],
  ["a large object", run("perform lo_unlink(lo_create(0))")],
  ["an index that is built anew", `${own}create index i on a (n); reindex table a; cluster a using i; truncate a`],
  ["a table that exists elsewhere", "create table if not exists customers (id int); drop table customers"],
  [
    "a cast between its own types",
    "create type k as (n int); create type l as (n int); create function f(k) returns l language sql as 'select row(1)::l'; create cast (k as l) with function f; drop cast (k as l); drop type k cascade",
  ],
];

const comment = "-- tenantctl-lint: may-change archive.log -- the archive is one for all\n";
const allowed: [string, string, string[]][] = [
  ["a table", run("insert into archive.log select count(*) + 10, current_schema from archive.log"), ["archive.log"]],
  ["its schema", run("insert into archive.log select count(*) + 10, current_schema from archive.log"), ["Archive"]],
  ["all in it", run("insert into archive.log select count(*) + 10, current_schema from archive.log"), ["archive.*"]],
  [
    "by a comment in the file",
    comment + run("insert into archive.log select count(*) + 10, current_schema from archive.log"),
    [],
  ],
  [
    "by a comment that allows what lint finds",
    `-- tenantctl-lint: allow hard-coded-schema\ninsert into archive.log select count(*) + 10 from archive.log;`,
    [],
  ],
  [
    "… in a DO block",
    `-- tenantctl-lint: allow hard-coded-schema\n${"do $$ begin insert into archive.log select count(*) + 10 from archive.log; end $$"}`,
    [],
  ],
];

// The third line of a file whose first two make a table.
const alone: [string, string, string | undefined][] = [
  ["rows of another schema", "delete from archive.log", "writes rows of archive.log"],
  ["a drop in a DO block", "do $$ begin drop table archive.log; end $$", "drops archive.log"],
  [
    "a drop in a DO block that speaks of a commit",
    "do $$ begin drop table archive.log; /* no commit */ end $$",
    "drops",
  ],
  ["a shared domain", "alter domain price set default 7", "changes shared.price"],
  ["an index on a shared table", "create index concurrently i on plans (price)", "changes shared.plans"],
  ["an index of a shared table", "drop index concurrently plans_name", "changes shared.plans"],
  ["a part of a shared table", "alter table events detach partition events_2026 concurrently", "changes shared.events"],
  ["an index of its own", "create index concurrently i on a (n);\ndrop index concurrently i;\nvacuum a", undefined],
  [
    "a DO block that commits",
    "do $$ begin insert into a values (1); commit; insert into a values (2); end $$",
    undefined,
  ],
  [
    "what only the server knows that it can't be in a transaction",
    "create table e (n int) partition by list (n);\ncreate index i on e (n);\nreindex table e",
    undefined,
  ],
  ["settings, and what they are for", "set lock_timeout = '1s';\nupdate plans set price = price", undefined],
];

const shared = (mayChange: string[] = []): { sharedSchemas: string[]; reach: Reach } => ({
  sharedSchemas: ["shared"],
  reach: { shared: ["shared"], mayChange },
});
// A table that others hold their transactions' locks on is waited for.
const lists = `select (select string_agg(c.oid::regclass || ' ' || c.relfilenode, ',' order by c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('shared', 'archive', 'loki')) as relations, (select count(*)::int from shared.plans) as plans`;

describe.each(servers())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let before: unknown;
  let count = 0;

  const nameOf = () => `thor ${++count}`;

  beforeAll(async () => {
    database = await createDatabase(server);
    await database.query(world);
    before = await database.query(lists);
  });

  test.each([
    ["drop publication feed", "drops publication feed"],
    ["drop server far", "drops server far"],
    ["alter publication feed rename to food", "changes publication feed"],
  ])("refused where nothing is shared: %s", async (sql, what) => {
    const reach: Reach = { shared: [], mayChange: [] };
    const tenant = await oneTenant(database, nameOf(), { "1_a.sql": sql }, { reach });
    await expect(tenant.migrate()).rejects.toMatchObject({
      code: "OUTSIDE_SCHEMA",
      message: expect.stringContaining(what),
    });
  });

  describe.each([
    ["with a second connection", true],
    ["with one connection", false],
  ] as const)("%s", (_, secondConnection) => {
    async function tenantOf(sql: string, mayChange: string[] = []) {
      return await oneTenant(database, nameOf(), { "1_a.sql": sql }, { database: opened, ...shared(mayChange) });
    }

    let opened: Database;
    beforeAll(async () => {
      opened = await openDatabase(settingsOf(database.url), { maxConnections: 2, direct: undefined });
      if (!secondConnection) opened.capabilities.secondConnection = false;
    });
    afterAll(() => opened.close());

    test.each(refused)("refused: %s", async (_, sql, what) => {
      const tenant = await tenantOf(sql);
      const failure = await tenant.failure();
      expect(`${failure.code}: ${failure.message}`).toMatch(/^OUTSIDE_SCHEMA: it /);
      expect(failure.message).toContain(what);
      expect(failure.hint).toContain('"mayChange": [');
      expect(failure.place).toMatchObject({ migration: "1_a" });
      expect(await database.query(lists)).toEqual(before);
      expect(await database.query("select from pg_namespace where nspname = $1", [tenant.work.tenant.schema])).toEqual(
        [],
      );
    });

    test("a migration that closes all cursors, ours too", async () => {
      const failure = await (await tenantOf(`close all; ${run("drop table archive.log")}`)).failure();
      expect(failure.code).toBe("OUTSIDE_SCHEMA");
      expect(failure.message).toContain(secondConnection ? "drops archive.log" : "closed all cursors");
      expect(await database.query(lists)).toEqual(before);
      expect(await (await tenantOf("close all; insert into shared.audit (what) values ('x')")).migrate()).toEqual([
        "1_a",
      ]);
    });

    test.each(alone)("transaction:false: %s", async (_, sql, what) => {
      const tenant = await tenantOf(`-- migrate:up transaction:false\ncreate table a (id int, n int);\n${sql}`);
      if (what === undefined) {
        expect(await tenant.migrate()).toEqual(["1_a"]);
        await database.query(`drop schema "${tenant.work.tenant.schema}" cascade`);
        return;
      }
      const failure = await tenant.failure();
      expect(failure).toMatchObject({ code: "OUTSIDE_SCHEMA", place: { migration: "1_a", line: 3 } });
      expect(failure.message).toContain(what);
      expect(await database.query(lists)).toEqual(before);
    });

    test.each(allowed)("allowed by name: %s", async (_, sql, names) => {
      const tenant = await tenantOf(sql, names);
      expect(await tenant.migrate()).toEqual(["1_a"]);
    });

    test.each(passed)("passes: %s", async (_, sql) => {
      const tenant = await tenantOf(sql);
      expect(await tenant.migrate()).toEqual(["1_a"]);
      await database.query(`drop schema "${tenant.work.tenant.schema}" cascade`);
    });
  });
});
