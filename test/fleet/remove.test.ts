// remove-tenant: the data stays unless told otherwise, and nothing of anybody else goes with it.
import { beforeAll, describe, expect, test } from "vitest";
import { type Fleet, migrate, removeTenant, status } from "../../src/fleet/index.js";
import { createDatabase, newestAtLeast, type TestDatabase } from "../support/database.ts";
import { tablesIn, tenantsNamed, testFleet } from "./fleet.ts";

const migrations = {
  "1_a.sql": "create table a (id bigint generated always as identity primary key, n serial)",
  "2_b.sql": "create table b (a bigint references a); create view v as select * from b",
};
const schemaExists = async (database: TestDatabase, schema: string) =>
  (await database.query("select 1 from pg_namespace where nspname = $1", [schema])).length > 0;

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  test("keeps the data unless told to drop it", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { migrations, tenants: tenantsNamed("thor", "loki") });
    await migrate(fleet, {});
    await removeTenant(fleet, "thor");
    expect(await schemaExists(database, "thor")).toBe(true);
    await removeTenant(fleet, "loki", { dropSchema: true });
    expect(await schemaExists(database, "loki")).toBe(false);
    expect((await status(fleet, {})).summary.tenants).toBe(0);
    await expect(removeTenant(fleet, "loki")).rejects.toMatchObject({ code: "TENANT_UNKNOWN" });
  });

  test("whose schema is gone already is struck out", async () => {
    const { fleet } = await testFleet(await createDatabase(server), { migrations, tenants: tenantsNamed("thor") });
    await removeTenant(fleet, "thor", { dropSchema: true });
    expect((await status(fleet, {})).summary.tenants).toBe(0);
  });

  describe("with --drop-schema", () => {
    let database: TestDatabase;
    let fleet: Fleet;

    beforeAll(async () => {
      database = await createDatabase(server);
      ({ fleet } = await testFleet(database, { migrations, tenants: tenantsNamed("thor") }));
      await migrate(fleet, {});
    });

    test.each([
      ["a view", "create view other.v as select * from thor.a"],
      ["a foreign key", "create table other.t (a bigint references thor.a)"],
      ["a default", "create table other.t (n bigint default nextval('thor.a_n_seq'))"],
      [
        "a trigger's function",
        "create function thor.f() returns trigger language plpgsql as 'begin return new; end'; create table other.t (); create trigger t before insert on other.t for each row execute function thor.f()",
      ],
      ["a column's type", "create type thor.mood as enum ('sad'); create table other.t (m thor.mood)"],
      ["a row type", "create table other.t (r thor.a[])"],
      [
        "a function's body",
        "create function other.f() returns bigint language sql begin atomic select count(*) from thor.a; end",
      ],
      ["a function's argument", "create function other.f(r thor.a) returns int language sql as 'select 1'"],
      ["a child table", "create table other.t () inherits (thor.a)"],
      [
        "a domain's check",
        "create or replace function thor.ok(int) returns bool language sql immutable as 'select true'; create domain other.d as int check (thor.ok(value))",
      ],
      [
        "an index's function",
        "create or replace function thor.ok(int) returns bool language sql immutable as 'select true'; create table other.t (n int); create index on other.t (thor.ok(n))",
      ],
      ["a column's collation", `create collation thor.c from "C"; create table other.t (n text collate thor.c)`],
      ["a materialized view", "create materialized view other.m as select * from thor.v"],
      ["a policy", "create table other.t (n int); create policy p on other.t using (exists (select from thor.a))"],
    ])("is refused while %s of another schema depends on it", async (_, sql) => {
      await database.query(`create schema other; ${sql}`);
      await expect(removeTenant(fleet, "thor", { dropSchema: true })).rejects.toMatchObject({
        code: "SCHEMA_SHARED_OBJECTS",
      });
      expect((await status(fleet, {})).summary.current).toBe(1);
      await database.query("drop schema other cascade");
    });
  });

  test("is not refused for what is all within it, nor for what it depends on", async () => {
    const database = await createDatabase(server);
    await database.query(
      "create schema other; create table other.t (id int primary key); create type other.mood as enum ('sad')",
    );
    const more = `-- tenantctl-lint: may-change other.t -- a foreign key
        create table c (t int references other.t, m other.mood default 'sad', a a);
        create function f(a) returns int language sql as 'select 1'; create index on c (t); create materialized view m as select * from v;
        create table p (n int) partition by range (n); create table p1 partition of p for values from (0) to (9);
        create sequence s owned by a.n; create domain d as int check (value > 0); create policy y on a using (exists (select from b))`;
    const { fleet } = await testFleet(database, {
      migrations: { ...migrations, "3_c.sql": more },
      tenants: tenantsNamed("thor"),
    });
    expect((await migrate(fleet, {})).ok).toBe(true);
    await removeTenant(fleet, "thor", { dropSchema: true });
    expect(await schemaExists(database, "thor")).toBe(false);
  });

  test("too big for the lock table it is dropped table by table", async () => {
    const database = await createDatabase(server);
    const many = Array.from(
      { length: 150 },
      (_, n) => `create table t${n} (id bigint generated always as identity primary key, n serial)`,
    );
    const files = { ...migrations, "3_c.sql": `${many.join(";\n")};\ncreate view w as select * from t1` };
    const { fleet } = await testFleet(database, { migrations: files, tenants: tenantsNamed("thor") });
    await migrate(fleet, {});
    (await fleet.database()).capabilities.lockTable = 100;
    await removeTenant(fleet, "thor", { dropSchema: true });
    expect(await schemaExists(database, "thor")).toBe(false);
  });

  test("stays when the registry can't be written", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { migrations, tenants: tenantsNamed("thor") });
    await migrate(fleet, {});
    fleet.registry.remove = () => Promise.reject(new Error("disk full"));
    await expect(removeTenant(fleet, "thor", { dropSchema: true })).rejects.toThrow("disk full");
    expect(await tablesIn(database, "thor")).toEqual(["a", "b"]);
  });
});
