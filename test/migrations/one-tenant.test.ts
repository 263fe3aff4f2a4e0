// One tenant is one transaction: at the old version or at the new one, never between.
import { describe, expect, test } from "vitest";
import { lockKey } from "../../src/database/transaction.js";
import { createDatabase, servers } from "../support/database.ts";
import { oneTenant } from "./tenant.ts";

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a failure leaves no trace, not even the schema", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": "create table a ()",
      "2_b.sql": "create table b ();\nselect nowhere",
    });
    expect(await tenant.failure()).toMatchObject({ code: "SQL", sqlState: "42703" });
    expect(await database.query("select 1 from pg_namespace where nspname = 'thor'")).toEqual([]);
    expect(tenant.done).toEqual([]);
  });

  test('a commit after each migration keeps those before the failure, with `transaction: "migration"`', async () => {
    const tenant = await oneTenant(await createDatabase(server), "thor", {
      "1_a.sql": "create table a ()",
      "2_b.sql": "create table b ()",
      "3_c.sql": "select nowhere",
      "4_d.sql": "create table d ()",
    });
    expect(await tenant.failure({ commit: "migration" })).toMatchObject({ place: { migration: "3_c" } });
    expect(tenant.done).toEqual(["1_a", "2_b"]);
    expect(await tenant.names()).toEqual(["1_a", "2_b"]);
    expect(await tenant.relations()).toEqual(["a", "b"]);
  });

  test("a constraint that is checked at commit fails the tenant, and nothing stays", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": `create table a (id int primary key, other int references a deferrable initially deferred);
                  insert into a values (1, 2)`,
    });
    expect(await tenant.failure()).toMatchObject({ code: "SQL", sqlState: "23503" });
    expect(await database.query("select 1 from pg_namespace where nspname = 'thor'")).toEqual([]);
    expect(tenant.done).toEqual([]);
  });

  test("an enum value is used by a later migration: a commit comes between", async () => {
    const database = await createDatabase(server);
    const old = { "1_a.sql": "create type mood as enum ('sad'); create table t (m mood)" };
    await (await oneTenant(database, "thor", old)).migrate();
    const tenant = await oneTenant(database, "thor", {
      ...old,
      "2_b.sql": "create table b ()",
      "3_c.sql": "alter type mood add value 'ok'",
      "4_d.sql": "create table d ()",
      "5_e.sql": "insert into t values ('ok')",
      "6_f.sql": "create table f ()",
    });
    expect(await tenant.migrate({ expectLedger: true })).toEqual(["2_b", "3_c", "4_d", "5_e", "6_f"]);
    expect(await database.query("select m from thor.t")).toEqual([{ m: "ok" }]);
    expect(await tenant.names()).toEqual(["1_a", "2_b", "3_c", "4_d", "5_e", "6_f"]);
  });

  test("two enum values, each used at once, and one added by a module", async () => {
    const database = await createDatabase(server);
    const old = { "1_a.sql": "create type mood as enum ('sad'); create table t (m mood)" };
    await (await oneTenant(database, "thor", old)).migrate();
    const tenant = await oneTenant(database, "thor", {
      ...old,
      "2_b.sql": "alter type mood add value 'ok'",
      "3_c.sql": "insert into t values ('ok')",
      "4_d.mjs": `export const up = ({ client }) => client.query("alter type mood add value 'fine'");`,
      "5_e.sql": "insert into t values ('fine')",
    });
    expect(await tenant.migrate({ expectLedger: true })).toEqual(["2_b", "3_c", "4_d", "5_e"]);
  });

  test("an enum value that its own migration uses is the author's to part", async () => {
    const database = await createDatabase(server);
    const old = { "1_a.sql": "create type mood as enum ('sad'); create table t (m mood)" };
    await (await oneTenant(database, "thor", old)).migrate();
    const tenant = await oneTenant(database, "thor", {
      ...old,
      "2_b.sql": "alter type mood add value 'ok';\ninsert into t values ('ok')",
    });
    expect(await tenant.failure({ expectLedger: true })).toMatchObject({
      sqlState: "55P04",
      hint: expect.stringContaining("migration of its own"),
    });
    expect(await tenant.names()).toEqual(["1_a"]);
  });

  test("a tenant that is created uses enum values too, and takes all of it back when it fails", async () => {
    const database = await createDatabase(server);
    await database.query("create schema lib; create type lib.mood as enum ('sad')");
    const files = {
      "1_a.sql": "alter type lib.mood add value 'ok'",
      "2_b.sql": "create table t (m lib.mood); insert into t values ('ok')",
    };
    const failing = await oneTenant(database, "thor", { ...files, "3_c.sql": "select nowhere" });
    expect(await failing.failure({ creating: true })).toMatchObject({ sqlState: "42703" });
    expect(await database.query("select 1 from pg_namespace where nspname = 'thor'")).toEqual([]);
    await database.query("drop schema lib cascade; create schema lib; create type lib.mood as enum ('sad')");
    const tenant = await oneTenant(database, "thor", files);
    expect(await tenant.migrate({ creating: true })).toEqual(["1_a", "2_b"]);
    expect(await database.query("select obj_description('thor'::regnamespace) as comment")).toEqual([
      { comment: null },
    ]);
  });

  test("a schema that somebody else creates, before a tenant that is created is tried again, stays", async () => {
    const database = await createDatabase(server);
    await database.query("create schema lib; create type lib.mood as enum ('sad')");
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": "alter type lib.mood add value 'ok'",
      "2_b.sql": "create table t (m lib.mood); insert into t values ('ok')",
    });
    const { prepare } = tenant.work;
    tenant.work.prepare = async (...asked) => {
      const [lock] = await database.query(`select pg_try_advisory_xact_lock(${lockKey("thor")}) as free`);
      if (lock?.free)
        await database.query("create schema if not exists thor; create table if not exists thor.theirs ()");
      return await prepare(...asked);
    };
    expect(await tenant.failure({ creating: true })).toMatchObject({ code: "SCHEMA_EXISTS" });
    expect(await tenant.relations()).toEqual(["theirs"]);
  });

  test.each([
    ["a transaction", "begin; select pg_advisory_xact_lock"],
    ["a session", "select pg_advisory_lock"],
  ])("somebody else at this schema, in %s, is LOCKED", async (_, text) => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", { "1_a.sql": "create table a ()" });
    const other = await database.connect();
    await other.query(`${text}(${lockKey("thor")})`);
    expect(await tenant.failure()).toMatchObject({ code: "LOCKED" });
    await other.end();
    await expect.poll(() => tenant.migrate().catch((error: { code: string }) => error.code)).toEqual(["1_a"]);
  });

  test("a table that somebody holds is a lock timeout, with its place", async () => {
    const database = await createDatabase(server);
    const old = { "1_a.sql": "create table a ()" };
    await (await oneTenant(database, "thor", old)).migrate();
    const files = { ...old, "2_b.sql": "alter table a add column n int" };
    const timeouts = { lockTimeoutMs: 100, statementTimeoutMs: 0 };
    const tenant = await oneTenant(database, "thor", files, { timeouts });
    const other = await database.connect();
    await other.query("begin; select * from thor.a");
    expect(await tenant.failure({ expectLedger: true })).toMatchObject({
      sqlState: "55P03",
      place: { migration: "2_b" },
      hint: expect.stringContaining("--lock-timeout"),
    });
  });

  test("a statement that takes too long is cancelled", async () => {
    const timeouts = { lockTimeoutMs: 1000, statementTimeoutMs: 150 };
    const files = { "1_a.sql": "select pg_sleep(5)" };
    const tenant = await oneTenant(await createDatabase(server), "thor", files, { timeouts });
    expect(await tenant.failure()).toMatchObject({ sqlState: "57014" });
  });

  test("names are looked up in the tenant's schema, then in the shared ones, in order", async () => {
    const database = await createDatabase(server);
    await database.query(
      "create schema one; create schema two; create table one.t as select 1 as n; create table two.t as select 2 as n; create table two.u as select 3 as n; create table public.p ()",
    );
    const sharedSchemas = ["one", "two"];
    const files = { "1_a.sql": "create table found as select t.n as t, u.n as u from t, u" };
    const tenant = await oneTenant(database, "thor", files, { sharedSchemas });
    await tenant.migrate();
    expect(await database.query("select * from thor.found")).toEqual([{ t: 1, u: 3 }]);
    const other = await oneTenant(database, "loki", { "1_a.sql": "select * from p" }, { sharedSchemas });
    expect(await other.failure()).toMatchObject({ sqlState: "42P01" });
  });

  test("a search_path that a migration sets is gone for the next", async () => {
    const database = await createDatabase(server);
    await database.query("create schema elsewhere");
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": "set local search_path to elsewhere; create table a ()",
      "2_b.sql": "create table b ()",
      "3_c.sql": "do $$ begin perform set_config('search_path', 'elsewhere', false); end $$; create table c ()",
      "4_d.sql": "create table d ()",
    });
    await tenant.migrate();
    expect(await tenant.relations()).toEqual(["b", "d"]);
  });

  test("a role that a migration takes on for itself is gone for the next, and for the ledger", async () => {
    const database = await createDatabase(server);
    const owner = await database.createRole();
    await database.query(`grant create on database ${database.name} to ${owner.name}`);
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": `create table a (); grant create, usage on schema thor to ${owner.name}`,
      "2_b.sql": `set local role ${owner.name}; create table b ()`,
      "3_c.sql": "create table c ()",
      "4_d.sql": `do $$ begin perform set_config('role', '${owner.name}', true); end $$; create table d ()`,
      "5_e.sql": "create table e ()",
    });
    await tenant.migrate();
    const owners = await database.query(
      "select relname as name, relowner::regrole::text as owner from pg_class where relname in ('b', 'c', 'd', 'e') order by 1",
    );
    expect(owners.map(({ name, owner: role }) => [name, role === "postgres" ? "us" : "them"])).toEqual([
      ["b", "them"],
      ["c", "us"],
      ["d", "them"],
      ["e", "us"],
    ]);
  });

  test("the role that a login role is set to by default stays that", async () => {
    const database = await createDatabase(server);
    const owner = await database.createRole("nologin");
    const login = await database.createRole();
    await database.query(
      `grant create on database ${database.name} to ${owner.name}; grant ${owner.name} to ${login.name}`,
    );
    await database.query(`alter role ${login.name} set role = '${owner.name}'`);
    const files = { "1_a.sql": "set local role none; create schema x", "2_b.sql": "create table b ()" };
    await database.query(`grant create on database ${database.name} to ${login.name}`);
    const tenant = await oneTenant(database, "thor", files, { url: login.url });
    await tenant.migrate();
    const [row] = await database.query("select tableowner as owner from pg_tables where tablename = 'b'");
    expect(row).toEqual({ owner: owner.name });
  });

  test("a temporary table does not get in the way of the next migration, nor of the next tenant", async () => {
    const database = await createDatabase(server);
    const files = {
      "1_a.sql": "create temp table staging as select 1 as n; create table a as select * from staging",
      "2_b.sql": "create temp table staging as select 2 as n; create table b as select * from staging",
      "3_c.mjs": "export const up = ({ client }) => client.query('create temp table staging (n int)');",
      "4_d.sql": "create table pg_temp.staging (n int)",
      "5_e.sql": "create temp table staging (n int)",
      "6_f.sql": "create table staging (n int)",
    };
    const tenant = await oneTenant(database, "thor", files);
    await tenant.migrate();
    const { database: same } = tenant;
    const next = await oneTenant(database, "loki", files, { database: same });
    await next.migrate();
    expect(
      await database.query(
        "select a.n as a, b.n as b, (select count(*)::int from loki.staging) as c from loki.a, loki.b",
      ),
    ).toEqual([{ a: 1, b: 2, c: 0 }]);
  });
});
