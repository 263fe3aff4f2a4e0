// The ledger and its stamp: what they say, and that they say it together.
import { describe, expect, test } from "vitest";
import { prefixStamps, stampOf } from "../../src/migrations/ledger.js";
import { createDatabase, servers } from "../support/database.ts";
import { oneTenant } from "./tenant.ts";

const rows = ["1_a", "2_b", "3_c"].map((name) => ({ name, checksum: `sum of ${name}` }));

describe("a stamp", () => {
  test("is that of the prefix of the files that was applied", () => {
    expect(prefixStamps(rows)).toEqual([0, 1, 2, 3].map((count) => stampOf(rows.slice(0, count))));
    expect(new Set(prefixStamps(rows)).size).toBe(4);
    expect(stampOf([])).toBe("tenantctl: 0");
  });

  test("does not depend on the order in which rows were read", () => {
    expect(stampOf([...rows].reverse())).toBe(stampOf(rows));
  });

  test("differs when a migration is missing in the middle, has another name or another checksum", () => {
    const [a, b, c] = rows;
    if (!a || !b || !c) throw new Error("three rows");
    const others = [
      [a, c],
      [a, { ...b, name: "2_x" }, c],
      [a, { ...b, checksum: "other" }, c],
      [a, { ...b, checksum: null }, c],
    ];
    const stamps = others.map((one) => stampOf(one));
    for (const stamp of stamps) expect(prefixStamps(rows)).not.toContain(stamp);
    expect(new Set(stamps).size).toBe(4);
  });
});

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a ledger tells which run applied what, when, and how long it took", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": "select pg_sleep(0.3)",
      "2_b.sql": "create table b (n int)",
      "3_c.mjs": "export const up = ({ client }) => client.query('select pg_sleep(0.2)');",
    });
    const before = Date.now();
    expect(await tenant.migrate()).toEqual(["1_a", "2_b", "3_c"]);
    const [a, b, c] = await tenant.rows();
    expect([a?.name, b?.name, c?.name]).toEqual(["1_a", "2_b", "3_c"]);
    expect(a?.checksum).toMatch(/^[0-9a-f]{64}$/);
    expect(c?.checksum).toBe(null);
    for (const row of [a, b, c]) {
      expect(row?.run_id).toBe(tenant.work.run);
      expect(Math.abs((row?.applied_at.getTime() ?? 0) - before)).toBeLessThan(30_000);
    }
    expect(a?.duration_ms).toBeGreaterThanOrEqual(300);
    expect(a?.duration_ms).toBeLessThan(5_000);
    expect(b?.duration_ms).toBeLessThan(a?.duration_ms ?? 0);
    expect(c?.duration_ms).toBeGreaterThanOrEqual(200);
    expect(await tenant.stamp()).toBe(stampOf(await tenant.rows()));
  });

  test("durations are right whatever dates and time zones look like in this database", async () => {
    const database = await createDatabase(server);
    await database.query(`alter database ${database.name} set datestyle = 'SQL, DMY'`);
    await database.query(`alter database ${database.name} set timezone = 'Pacific/Guam'`);
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": "set local timezone = 'Asia/Kolkata'; set local datestyle = 'German'",
      "2_b.sql": "set datestyle = 'ISO, MDY'; select 1",
      "3_c.sql": "select 1",
    });
    await tenant.migrate();
    for (const { duration_ms } of await tenant.rows()) {
      expect(duration_ms).toBeGreaterThanOrEqual(0);
      expect(duration_ms).toBeLessThan(5_000);
    }
  });

  test("applied out of order it has the stamp of all the files", async () => {
    const database = await createDatabase(server);
    const files = { "1_a.sql": "select 1", "2_b.sql": "select 2", "3_c.sql": "select 3" };
    const first = await oneTenant(database, "thor", { "1_a.sql": files["1_a.sql"], "3_c.sql": files["3_c.sql"] });
    await first.migrate();
    const tenant = await oneTenant(database, "thor", files);
    expect(await tenant.migrate({ expectLedger: true })).toEqual(["2_b"]);
    expect(await tenant.names()).toEqual(["1_a", "2_b", "3_c"]);
    expect(await tenant.stamp()).toBe(prefixStamps(tenant.work.migrations).at(-1));
  });

  test("rolled back it has the stamp of what is left", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", {
      "1_a.sql": "-- migrate:up\ncreate table a ();\n-- migrate:down\ndrop table a;",
      "2_b.sql": "-- migrate:up\ncreate table b ();\n-- migrate:down\ndrop table b",
    });
    await tenant.migrate();
    expect(await tenant.rollback("2_b")).toEqual(["2_b"]);
    expect(await tenant.relations()).toEqual(["a"]);
    expect(await tenant.stamp()).toBe(prefixStamps(tenant.work.migrations)[1]);
    await tenant.rollback("1_a");
    expect(await tenant.names()).toEqual([]);
    expect(await tenant.stamp()).toBe("tenantctl: 0");
  });

  test("a schema and a migration may be called anything that is quoted right", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, `Glo"bex' \\é🦊`, { '1_it\'s \\ a "name".sql': "create table a ()" });
    expect(await tenant.migrate()).toEqual([`1_it's \\ a "name"`]);
    expect(await tenant.names()).toEqual([`1_it's \\ a "name"`]);
    expect(await tenant.migrate({ expectLedger: true })).toEqual([]);
  });

  test("an expected ledger that is not there is made", async () => {
    const tenant = await oneTenant(await createDatabase(server), "thor", { "1_a.sql": "create table a ()" });
    expect(await tenant.migrate({ expectLedger: true })).toEqual(["1_a"]);
  });
});
