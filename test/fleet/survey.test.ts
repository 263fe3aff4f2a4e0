// Where tenants stand: told by stamps alone where they tell, by ledgers where they don't.
import { describe, expect, test } from "vitest";
import { addTenant, migrate, removeTenant, repair, rollback, status } from "../../src/fleet/index.js";
import { factsText } from "../../src/migrations/transaction.js";
import { createDatabase, newestAtLeast } from "../support/database.ts";
import { tenantsNamed, testFleet } from "./fleet.ts";

const migrations = { "1_a.sql": "create table a ()", "2_b.sql": "create table b ()", "3_c.sql": "create table c ()" };

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  test("each state, the first that holds", async () => {
    const database = await createDatabase(server);
    const names = ["current", "pending", "missing", "empty", "unmanaged", "changed", "ahead", "twice", "gap"];
    const { fleet } = await testFleet(database, { tenants: tenantsNamed(...names), migrations });
    await migrate(fleet, { tenants: ["current", "changed", "ahead", "twice", "gap"] });
    await migrate(fleet, { tenants: ["pending"] }, { steps: 1 });
    await database.query(
      "create schema empty; create schema unmanaged; create function unmanaged.f() returns int language sql as 'select 1'",
    );
    const edit = (schema: string) =>
      database.query(`update ${schema}.tenantctl_migrations set checksum = 'other' where name = '2_b'`);
    const add = (schema: string) =>
      database.query(`insert into ${schema}.tenantctl_migrations values ('9_z', 'x', 'r', now(), 0)`);
    const unstamp = (schema: string) => database.query(`comment on table ${schema}.tenantctl_migrations is null`);
    await edit("changed");
    await add("ahead");
    await edit("twice");
    await add("twice");
    await database.query("delete from gap.tenantctl_migrations where name = '2_b'; drop table gap.b");
    for (const schema of ["changed", "ahead", "twice", "gap"]) await unstamp(schema);

    const { tenants, summary } = await status(fleet, {});
    expect(
      tenants.map(({ name, state, applied, pending, version }) => [name, state, applied, pending.join(), version]),
    ).toEqual([
      ["current", "current", 3, "", "3_c"],
      ["pending", "pending", 1, "2_b,3_c", "1_a"],
      ["missing", "missing", 0, "1_a,2_b,3_c", null],
      ["empty", "pending", 0, "1_a,2_b,3_c", null],
      ["unmanaged", "unmanaged", 0, "1_a,2_b,3_c", null],
      ["changed", "changed", 3, "", "3_c"],
      ["ahead", "ahead", 4, "", "9_z"],
      ["twice", "changed", 4, "", "9_z"],
      ["gap", "pending", 2, "2_b", "3_c"],
    ]);
    expect(summary).toEqual({
      tenants: 9,
      current: 1,
      pending: 3,
      ahead: 1,
      changed: 2,
      unmanaged: 1,
      unreadable: 0,
      missing: 1,
    });

    const run = await migrate(fleet, {});
    expect(run.tenants.map(({ name, outcome, error }) => `${name} ${error?.code ?? outcome}`)).toEqual([
      "pending migrated",
      "missing migrated",
      "empty migrated",
      "unmanaged UNMANAGED",
      "changed CHANGED",
      "ahead AHEAD",
      "twice CHANGED",
      "gap migrated",
    ]);
    expect(run).toMatchObject({ ok: false, stopped: null, summary: { changed: 4, failed: 4, current: 1, tenants: 9 } });
  });

  test("current and pending tenants are known without opening a ledger", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole();
    const { project, again } = await testFleet(database, { tenants: tenantsNamed("thor", "loki"), migrations });
    await migrate(await again(), {}, { steps: 2 });
    await migrate(await again(), { tenants: ["thor"] });
    await database.query(`grant connect on database ${database.name} to ${role.name}`);
    const blind = await again({ database: role.url });
    expect((await status(blind, {})).tenants.map(({ state, applied }) => [state, applied])).toEqual([
      ["current", 3],
      ["pending", 2],
    ]);
    expect(project.folder).toBeTruthy();
  });

  test("in a fleet that is large, what a stamp says of its place keeps schemas apart that were swapped, renamed or copied", async () => {
    const database = await createDatabase(server);
    const names = Array.from({ length: 510 }, (_, index) => `t${index + 1}`);
    const { fleet } = await testFleet(database, { tenants: tenantsNamed(...names), migrations });
    await migrate(fleet, { tenants: ["t1"] });
    await migrate(fleet, { tenants: ["t2", "t3"] }, { steps: 2 });
    await database.query(`do $$ begin for n in 4..510 loop
      execute format('create schema t%1$s; create table t%1$s.tenantctl_migrations (like t1.tenantctl_migrations);
        insert into t%1$s.tenantctl_migrations select * from t1.tenantctl_migrations', n);
      execute format('comment on table t%s.tenantctl_migrations is %L', n, replace(replace(obj_description('t1.tenantctl_migrations'::regclass),
        't1'::regnamespace::oid::text, format('t%s', n)::regnamespace::oid::text), 't1', 't' || n));
      if n % 100 = 0 then commit; end if;
    end loop; end $$`);
    const role = await database.createRole();
    await database.query(`grant connect on database ${database.name} to ${role.name}`);
    const blind = await testFleet(database, { tenants: tenantsNamed(...names), migrations }, { database: role.url });
    expect((await status(blind.fleet, {})).summary).toMatchObject({ tenants: 510, current: 508, pending: 2 });

    await database.query(`
      alter schema t2 rename to swap; alter schema t5 rename to t2; alter schema swap rename to t5;
      alter schema t6 rename to t6_broken; create schema t6;
      create table t6.tenantctl_migrations (like t3.tenantctl_migrations);
      insert into t6.tenantctl_migrations select * from t3.tenantctl_migrations;
      alter schema t7 rename to t7_old;
      drop table t8.tenantctl_migrations`);
    const { tenants, summary } = await status(fleet, {});
    expect(summary).toMatchObject({ tenants: 510, current: 505 });
    expect(
      tenants.filter(({ state }) => state !== "current").map(({ name, state, applied }) => [name, state, applied]),
    ).toEqual([
      ["t3", "pending", 2],
      ["t5", "pending", 2],
      ["t6", "pending", 2],
      ["t7", "missing", 0],
      ["t8", "pending", 0],
    ]);

    // What each tenant's transaction asks must not take longer the more tenants there are.
    await database.query("analyze pg_catalog.pg_class, pg_catalog.pg_depend, pg_catalog.pg_namespace");
    const plan = await database.query(`explain ${factsText("t9")}`);
    expect(plan.map((row) => Object.values(row)[0]).filter((line) => /Seq Scan/.test(String(line)))).toEqual([]);
  });

  test("a ledger that can't be read is refused by rollback, which touches nobody, and left out by repair", async () => {
    const database = await createDatabase(server);
    const { fleet, project } = await testFleet(database, { tenants: tenantsNamed("thor", "odd", "loki"), migrations });
    const { run } = await migrate(fleet, {});
    await database.query("alter table odd.tenantctl_migrations rename run_id to run");
    const refused = {
      code: "ROLLBACK_REFUSED",
      message: expect.stringMatching(/^odd: its ledger can't be read: column "run_id" does not exist/),
    };
    await expect(rollback(fleet, {}, { run })).rejects.toMatchObject(refused);
    await database.query("comment on table odd.tenantctl_migrations is null");
    await expect(rollback(fleet, {}, { steps: 1 })).rejects.toMatchObject(refused);
    await project.write("migrations/tenant/2_b.sql", "create table b (n int)");
    const repaired = await repair(fleet, {});
    expect(repaired.tenants.map(({ name, error, outcome }) => `${name} ${error?.sqlState ?? outcome}`)).toEqual([
      "thor migrated",
      "odd 42703",
      "loki migrated",
    ]);
    await removeTenant(fleet, "odd");
    await expect(addTenant(fleet, { name: "odd" })).rejects.toMatchObject({ code: "SQL", sqlState: "42703" });
  });

  test("a wrong stamp, or none, is found by status --verify and mended by migrate, which runs nothing", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { tenants: tenantsNamed("thor", "loki", "odin"), migrations });
    await migrate(fleet, {});
    await database.query(
      "comment on table thor.tenantctl_migrations is null; comment on table loki.tenantctl_migrations is 'tenantctl: 1 abc'",
    );
    expect((await status(fleet, {})).summary.current).toBe(3);
    expect((await status(fleet, {}, { verify: true })).wrongStamps).toEqual(["thor", "loki"]);
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, summary: { changed: 0, current: 3 }, tenants: [] });
    expect((await status(fleet, {}, { verify: true })).wrongStamps).toEqual([]);
  });

  test("a stamp that lies is found by status --verify, and mended by repair", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { tenants: tenantsNamed("thor"), migrations });
    await migrate(fleet, {});
    await database.query("delete from thor.tenantctl_migrations where name = '3_c'");
    expect((await status(fleet, {})).summary.current).toBe(1);
    expect(await status(fleet, {}, { verify: true })).toMatchObject({ summary: { pending: 1 }, wrongStamps: ["thor"] });
    await repair(fleet, {});
    expect(await status(fleet, {})).toMatchObject({ summary: { pending: 1 }, wrongStamps: [] });
  });

  test("an edited file makes tenants changed; repair takes it as it is, and runs nothing", async () => {
    const database = await createDatabase(server);
    const { fleet, project } = await testFleet(database, { tenants: tenantsNamed("thor", "loki"), migrations });
    await migrate(fleet, {});
    await project.write("migrations/tenant/2_b.sql", "create table b (n int)");
    expect((await status(fleet, {})).summary.changed).toBe(2);
    expect(await migrate(fleet, {})).toMatchObject({ ok: false, summary: { failed: 2 } });
    const repaired = await repair(fleet, { tenants: ["thor"] });
    expect(repaired.tenants).toMatchObject([{ name: "thor", outcome: "migrated", migrations: ["2_b"] }]);
    expect((await status(fleet, {})).tenants.map(({ state }) => state)).toEqual(["current", "changed"]);
    expect(
      await database.query("select 1 from information_schema.columns where table_schema = 'thor' and table_name = 'b'"),
    ).toEqual([]);
  });

  test("a new file in the middle is pending, and is applied out of order", async () => {
    const database = await createDatabase(server);
    const { fleet, project } = await testFleet(database, {
      tenants: tenantsNamed("thor"),
      migrations: { "1_a.sql": migrations["1_a.sql"], "3_c.sql": migrations["3_c.sql"] },
    });
    await migrate(fleet, {});
    await project.write("migrations/tenant/2_b.sql", migrations["2_b.sql"]);
    expect((await status(fleet, {})).tenants).toMatchObject([{ state: "pending", pending: ["2_b"], version: "3_c" }]);
    expect((await migrate(fleet, {})).tenants).toMatchObject([{ migrations: ["2_b"] }]);
    expect((await status(fleet, {}, { verify: true })).wrongStamps).toEqual([]);
  });

  test("status touches nothing: not even the schema of the runs", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { tenants: tenantsNamed("thor"), migrations });
    await status(fleet, {});
    expect(await database.query("select nspname from pg_namespace where nspname in ('thor', 'tenantctl')")).toEqual([]);
  });
});
