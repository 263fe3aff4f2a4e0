// Migrate, over a fleet: one tenant's failure is its own, and the run is remembered.
import { describe, expect, test } from "vitest";
import { lockKey } from "../../src/database/transaction.js";
import { createSchemas, migrate, planMigrate, readRuns, status } from "../../src/fleet/index.js";
import { createDatabase, servers } from "../support/database.ts";
import { tablesIn, tenantsNamed, testFleet } from "./fleet.ts";

const migrations = { "1_a.sql": "create table a ()", "2_b.sql": "create table b ()" };

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a tenant that fails stops nobody else, and is remembered with its place", async () => {
    const database = await createDatabase(server);
    const { fleet, events } = await testFleet(database, { migrations, tenants: tenantsNamed("thor", "loki", "odin") });
    await migrate(fleet, {}, { steps: 1 });
    await database.query("create table loki.b ()");
    const run = await migrate(fleet, {});
    expect(run).toMatchObject({ ok: false, stopped: null, summary: { tenants: 3, changed: 2, failed: 1, current: 0 } });
    expect(run.tenants.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
      "thor migrated",
      "loki failed",
      "odin migrated",
    ]);
    const [record, first] = await readRuns(await fleet.database(), 5);
    expect(record).toMatchObject({
      run: run.run,
      command: "migrate",
      migrated: 2,
      failed: 1,
      failures: [{ name: "loki", error: { code: "SQL", sqlState: "42P07", migration: "2_b", line: 1 } }],
    });
    expect(first).toMatchObject({ migrated: 3, failed: 0, failures: [] });
    expect(record?.finishedAt).not.toBe(null);
    expect(events.filter((event) => event.type === "tenant-finished")).toHaveLength(6);
    const runs = await database.query("select distinct run_id from thor.tenantctl_migrations order by 1");
    expect(runs.map(({ run_id }) => run_id).sort()).toEqual([first?.run, run.run].sort());
  });

  test("a ledger that can't be read is its own tenant's failure", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole();
    await database.query(`grant create on database ${database.name} to ${role.name}`);
    const names = ["thor", "taken", "odd", "loki", "odin"];
    const tenants = tenantsNamed(...names);
    const { fleet, events } = await testFleet(database, { database: role.url, migrations, tenants });
    await migrate(fleet, {}, { steps: 1 });
    for (const name of names) await database.query(`comment on table ${name}.tenantctl_migrations is null`);
    await database.query(
      "alter table taken.tenantctl_migrations owner to current_user; alter table odd.tenantctl_migrations rename checksum to sum",
    );
    const found = await status(fleet, {});
    expect(found.tenants.map(({ name, state, error }) => [name, state, error?.code, error?.sqlState])).toEqual([
      ["thor", "pending", undefined, undefined],
      ["taken", "unreadable", "SQL", "42501"],
      ["odd", "unreadable", "SQL", "42703"],
      ["loki", "pending", undefined, undefined],
      ["odin", "pending", undefined, undefined],
    ]);
    expect(found.summary).toMatchObject({ tenants: 5, pending: 3, unreadable: 2 });
    expect(events.filter((event) => event.type === "tenant-failed").map(({ name }) => name)).toEqual(["taken", "odd"]);

    expect((await planMigrate(fleet, {})).summary).toMatchObject({ toDo: 3, refused: 2 });
    const run = await migrate(fleet, {});
    expect(run).toMatchObject({ ok: false, stopped: null, summary: { tenants: 5, changed: 3, failed: 2 } });
    expect(run.tenants.map(({ name, outcome, error }) => `${name} ${error?.sqlState ?? outcome}`)).toEqual([
      "thor migrated",
      "taken 42501",
      "odd 42703",
      "loki migrated",
      "odin migrated",
    ]);
    expect((await status(fleet, {})).summary).toMatchObject({ current: 3, unreadable: 2 });
  });

  test("nothing to do leaves no trace", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { migrations, tenants: tenantsNamed("thor") });
    await migrate(fleet, {});
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, tenants: [], summary: { current: 1, changed: 0 } });
    expect(await readRuns(await fleet.database(), 5)).toHaveLength(1);
  });

  test("a dry run touches nothing and tells the same", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { migrations, tenants: tenantsNamed("thor", "loki") });
    const plan = await planMigrate(fleet, {}, { steps: 1 });
    expect(plan).toMatchObject({
      dryRun: true,
      summary: { tenants: 2, toDo: 2 },
      tenants: [{ pending: ["1_a"] }, { pending: ["1_a"] }],
    });
    expect(await database.query("select 1 from pg_namespace where nspname in ('thor', 'tenantctl')")).toEqual([]);
  });

  test("a dry run names what looks through all indexes, on a server that does", async () => {
    const files = { ...migrations, "3_c.sql": "create table c (n int);\nalter table c alter n type bigint" };
    const { fleet } = await testFleet(await createDatabase(server), {
      migrations: files,
      tenants: tenantsNamed("thor"),
    });
    const { capabilities } = await fleet.database();
    capabilities.scansAllIndexes = false;
    expect((await planMigrate(fleet, {})).concerns).toEqual([]);
    capabilities.scansAllIndexes = true;
    expect((await planMigrate(fleet, {})).concerns).toEqual([expect.stringContaining("3_c, line 2: ")]);
  });

  test("--steps and --to leave the rest pending", async () => {
    const { fleet } = await testFleet(await createDatabase(server), {
      migrations,
      tenants: tenantsNamed("thor", "loki"),
    });
    await migrate(fleet, { tenants: ["thor"] }, { steps: 1 });
    await migrate(fleet, {}, { to: "1_a" });
    expect((await status(fleet, {})).tenants.map(({ version }) => version)).toEqual(["1_a", "1_a"]);
    await expect(migrate(fleet, {}, { to: "1_x" })).rejects.toMatchObject({ code: "MIGRATION_UNKNOWN" });
  });

  test("--steps does not go on when it has to try again", async () => {
    const database = await createDatabase(server);
    const files = { ...migrations, "2_b.sql": "alter table a add column n int", "3_c.sql": "create table c ()" };
    const { fleet } = await testFleet(database, {
      migrations: files,
      tenants: tenantsNamed("thor"),
      config: { transaction: "migration" },
    });
    await database.query("create schema thor; create table thor.hold ()");
    await database.query("drop table thor.hold");
    const other = await database.connect();
    const under = migrate(fleet, {}, { steps: 2, lockTimeoutMs: 50, retries: 50 });
    await expect.poll(() => tablesIn(database, "thor"), { interval: 1 }).toEqual(["a"]);
    await other.query("begin; lock table thor.a in access share mode; select pg_sleep(0.3); commit");
    expect((await under).tenants).toMatchObject([{ migrations: ["1_a", "2_b"] }]);
    expect(await tablesIn(database, "thor")).toEqual(["a"]);
  });

  test("a tenant at which somebody else works is waited for, and not for ever", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { migrations, tenants: tenantsNamed("thor", "loki") });
    const other = await database.connect();
    await other.query(`select pg_advisory_lock(${lockKey("thor")})`);
    const given = await migrate(fleet, {}, { lockWaitMs: 200 });
    expect(given.tenants).toMatchObject([
      { name: "thor", outcome: "failed", error: { code: "LOCKED" } },
      { name: "loki", outcome: "migrated" },
    ]);
    const waiting = migrate(fleet, {}, { lockWaitMs: 20_000 });
    await other.query("select pg_sleep(0.3), pg_advisory_unlock_all()");
    expect((await waiting).ok).toBe(true);
  });

  test("a lost connection is tried again", async () => {
    const database = await createDatabase(server);
    await database.query("create table public.tries (n int)");
    const once = `export async function up({ client }) {
      if (globalThis.tried${server.major}) return;
      globalThis.tried${server.major} = true;
      await client.query("select pg_terminate_backend(pg_backend_pid())");
    }`;
    const { fleet } = await testFleet(database, {
      migrations: { ...migrations, "3_c.mjs": once },
      tenants: tenantsNamed("thor"),
    });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, tenants: [{ migrations: ["1_a", "2_b", "3_c"] }] });
  });

  test("a server that can't reach another one is not lost itself: its words are shown, after some more tries", async () => {
    const text = "create table gone ();\ndo $$ begin raise exception 'no node' using errcode = '08006'; end $$";
    const files = { ...migrations, "3_c.sql": text };
    const { fleet, events } = await testFleet(await createDatabase(server), {
      migrations: files,
      tenants: tenantsNamed("thor"),
    });
    expect((await migrate(fleet, {}, { retries: 1 })).tenants).toMatchObject([
      { outcome: "failed", error: { code: "SQL", sqlState: "08006", message: "no node", migration: "3_c", line: 2 } },
    ]);
    expect(events.filter((event) => event.type === "tenant-waiting")).toHaveLength(1);
  });

  test("shared migrations run first, once, and their failure touches no tenant", async () => {
    const database = await createDatabase(server);
    await database.query("create schema lib");
    const { fleet, project } = await testFleet(database, {
      migrations: { "1_a.sql": "create table a (p int references plans)" },
      shared: { "1_plans.sql": "create table plans (id int primary key)" },
      config: { sharedSchemas: ["lib"] },
      tenants: tenantsNamed("thor", "loki"),
    });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, shared: { applied: ["1_plans"] } });
    expect(await tablesIn(database, "lib")).toEqual(["plans"]);
    await project.write("migrations/shared/2_bad.sql", "create table more ();\nselect nowhere");
    await project.write("migrations/tenant/2_b.sql", "create table b ()");
    const run = await migrate(fleet, {});
    expect(run).toMatchObject({ ok: false, stopped: "shared", summary: { skipped: 2, changed: 0 } });
    expect(run.shared?.error).toMatchObject({ sqlState: "42703", migration: "2_bad", line: 2 });
    expect([await tablesIn(database, "thor"), await tablesIn(database, "lib")]).toEqual([["a"], ["plans"]]);
  });

  test("shared migrations run in public where there is no other, beside what others made there", async () => {
    const database = await createDatabase(server);
    await database.query("create table public.theirs ()");
    const { fleet } = await testFleet(database, {
      migrations,
      shared: { "1_s.sql": "create table plans ()" },
      tenants: tenantsNamed("thor"),
    });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, shared: { applied: ["1_s"] } });
    expect(await tablesIn(database, "public")).toEqual(["plans", "theirs"]);
  });

  test("create-schemas makes what is missing, and migrates nothing", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { migrations, tenants: tenantsNamed("thor", "loki") });
    await migrate(fleet, { tenants: ["loki"] });
    expect(await createSchemas(fleet, {})).toMatchObject({ ok: true, summary: { changed: 1, current: 1 } });
    expect((await status(fleet, {})).tenants.map(({ state, applied }) => [state, applied])).toEqual([
      ["pending", 0],
      ["current", 2],
    ]);
  });
});
