// transaction:false: alone, outside, one statement at a time; and what it says when it stops half way.
import { describe, expect, test } from "vitest";
import { lockKey } from "../../src/database/transaction.js";
import { prefixStamps } from "../../src/migrations/ledger.js";
import { createDatabase, servers } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { oneTenant } from "./tenant.ts";

const outside = (up: string, down = "select 1") =>
  `-- migrate:up transaction:false\n${up};\n-- migrate:down transaction:false\n${down};\n`;
const table = { "1_a.sql": "create table a (n int); insert into a values (1), (1)" };

describe.each(servers())("PostgreSQL $major", (server) => {
  test("an index is built concurrently between ordinary migrations", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      ...table,
      "2_b.sql": outside("create index concurrently a_n on a (n)", "drop index concurrently a_n"),
      "3_c.sql": "create table c ()",
      "4_d.sql": outside("vacuum a"),
    });
    expect(await tenant.migrate()).toEqual(["1_a", "2_b", "3_c", "4_d"]);
    expect(await tenant.relations()).toEqual(["a", "a_n", "c"]);
    expect(await tenant.stamp()).toBe(prefixStamps(tenant.work.migrations).at(-1));
    const [, b] = await tenant.rows();
    expect(b).toMatchObject({ run_id: tenant.work.run });
    expect(b?.duration_ms).toBeLessThan(20_000);
    expect(await tenant.rollback("4_d")).toEqual(["4_d"]);
    expect(await tenant.rollback("3_c").catch((error: Error) => error.message)).toContain("no -- migrate:down");
    expect(await tenant.rollback("2_b")).toEqual(["2_b"]);
    expect(await tenant.relations()).toEqual(["a", "c"]);
  });

  test("its failure says what is left, later ones don't run, and the next run replaces the invalid index", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      ...table,
      "2_b.sql": outside(
        "create index concurrently a_first on a (n);\n  create unique index concurrently a_n on a (n)",
      ),
      "3_c.sql": "create table c ()",
    });
    const failure = await tenant.failure();
    expect(failure).toMatchObject({ code: "SQL", sqlState: "23505", place: { migration: "2_b", line: 3, column: 3 } });
    expect(failure.hint).toContain('the invalid index "a_n"');
    expect(tenant.done).toEqual(["1_a"]);
    expect(await tenant.relations()).toEqual(["a", "a_first", "a_n"]);
    expect(await tenant.stamp()).toBe("tenantctl: running 2_b");

    await database.query("delete from thor.a");
    expect(await tenant.migrate()).toEqual(["2_b", "3_c"]);
    const invalid = await database.query("select indexrelid::regclass from pg_index where not indisvalid");
    expect(invalid).toEqual([]);
    expect(await tenant.stamp()).toBe(prefixStamps(tenant.work.migrations).at(-1));
  });

  test("the stamp says that it is running, and the lock keeps others away, until it ends", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", { ...table, "2_b.sql": outside("select pg_sleep(1)") });
    const running = tenant.migrate();
    await expect.poll(() => tenant.stamp().catch(() => null)).toBe("tenantctl: running 2_b");
    const other = await oneTenant(database, "thor", { ...table, "2_b.sql": outside("select pg_sleep(1)") });
    expect((await other.failure()).code).toBe("LOCKED");
    expect(await running).toEqual(["1_a", "2_b"]);
    expect(await database.query("select pg_try_advisory_lock($1) as free", [lockKey("thor")])).toEqual([
      { free: true },
    ]);
    await database.query("select pg_advisory_unlock_all()");
  });

  test("the session is closed afterwards: nothing of it meets the next tenant", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": outside("set statement_timeout = 12345;\nprepare remaining as select 1"),
    });
    await tenant.migrate();
    await expect
      .poll(() =>
        database.query(
          "select 1 from pg_stat_activity where datname = current_database() and application_name = 'tenantctl' and query like '%advisory_unlock%'",
        ),
      )
      .toEqual([]);
    const { rows } = await tenant.database.withClient((client) => client.query("show statement_timeout"));
    expect(rows).toEqual([{ statement_timeout: "0" }]);
  });

  test("killed half way, it goes on: an index that is there is its result", async () => {
    const database = await createDatabase(server);
    const files = {
      ...table,
      "2_b.sql": outside("create index concurrently a_n on a (n);\nselect pg_sleep(30)"),
      "3_c.sql": "create table c ()",
    };
    const killed = await oneTenant(database, "thor", files);
    const failure = killed.failure();
    await expect
      .poll(() =>
        database.query(
          "select pg_terminate_backend(pid) as ended from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()",
        ),
      )
      .toEqual([{ ended: true }]);
    expect((await failure).code).toBe("CONNECTION_LOST");
    expect(await killed.stamp()).toBe("tenantctl: running 2_b");
    const again = await oneTenant(database, "thor", {
      ...files,
      "2_b.sql": files["2_b.sql"].replace("pg_sleep(30)", "1"),
    });
    expect(await again.migrate({ expectLedger: true })).toEqual(["2_b", "3_c"]);
  });

  test("an index that was there before is in the way", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": "create table a (n int); create index a_n on a (n)",
      "2_b.sql": outside("create index concurrently a_n on a (n)"),
    });
    expect(await tenant.failure()).toMatchObject({ sqlState: "42P07" });
  });

  test("a migration that was interrupted and then taken away does not haunt the tenant", async () => {
    const database = await createDatabase(server);
    const broken = await oneTenant(database, "thor", { ...table, "2_b.sql": outside("select nowhere") });
    await broken.failure();
    const tenant = await oneTenant(database, "thor", { ...table, "3_c.sql": "create table c ()" });
    expect(await tenant.migrate({ expectLedger: true })).toEqual(["3_c"]);
    expect(await tenant.stamp()).toBe(prefixStamps(tenant.work.migrations).at(-1));
  });

  test("in a tenant that is created it is all or nothing, too", async () => {
    const database = await createDatabase(server);
    const files = { ...table, "2_b.sql": outside("create unique index concurrently a_n on a (n)") };
    const tenant = await oneTenant(database, "thor", files);
    expect(await tenant.failure({ creating: true })).toMatchObject({ sqlState: "23505" });
    expect(await database.query("select 1 from pg_namespace where nspname = 'thor'")).toEqual([]);
    const good = await oneTenant(database, "thor", { ...files, "1_a.sql": "create table a (n int)" });
    expect(await good.migrate({ creating: true })).toEqual(["1_a", "2_b"]);
    expect(await database.query("select obj_description('thor'::regnamespace) as comment")).toEqual([
      { comment: null },
    ]);
  });

  test("a create-tenant that crashed between two commits is taken over", async () => {
    const database = await createDatabase(server);
    await database.query(
      "create schema thor; create table thor.half (); comment on schema thor is 'tenantctl: creating 20260101000000-abcdef'",
    );
    const tenant = await oneTenant(database, "thor", table);
    expect(await tenant.migrate({ creating: true })).toEqual(["1_a"]);
    expect(await tenant.relations()).toEqual(["a"]);
    expect(await database.query("select obj_description('thor'::regnamespace) as comment")).toEqual([
      { comment: null },
    ]);
    expect((await tenant.failure({ creating: true })).code).toBe("SCHEMA_EXISTS");
  });

  test("a create-tenant whose schema another one has taken over leaves it", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      ...table,
      "2_b.sql": outside("comment on schema thor is 'tenantctl: creating 20260101000000-abcdef'"),
      "3_c.sql": "create table c ()",
    });
    const failure = await tenant.failure({ creating: true });
    expect(failure).toMatchObject({ code: "SCHEMA_EXISTS", message: expect.stringContaining("took it over") });
    expect(await tenant.relations()).toEqual(["a"]);
  });

  describe.skipIf(!pgbouncerAvailable)(`behind pgbouncer${pgbouncerNote}`, () => {
    test("it is refused with a hint, and works with directDatabase", async () => {
      const database = await createDatabase(server);
      const { url } = await startPgbouncer(database);
      const files = { ...table, "2_b.sql": outside("create index concurrently a_n on a (n)") };
      const refused = await oneTenant(database, "thor", files, { url });
      expect(await refused.failure()).toMatchObject({
        code: "NEEDS_SESSION",
        hint: expect.stringContaining("directDatabase"),
      });
      const tenant = await oneTenant(database, "thor", files, { url, direct: database.url });
      expect(await tenant.migrate()).toEqual(["2_b"]);
    });
  });
});
