// What an application does with each new connection of our pool: its settings last, its failures reach whoever asked.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import type { Tenancy, TenancyOptions, Tenant } from "../../src/runtime/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { createTenants, openTenancy, whose } from "./tenancy.ts";

const zone = "select current_setting('timezone') as zone, current_setting('statement_timeout') as timeout";

describe.each(servers())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let tenants: Tenant[];
  beforeAll(async () => {
    database = await createDatabase(server);
    tenants = await createTenants(database, ["thor", "loki"]);
  });
  const open = (options: TenancyOptions = {}) => openTenancy(database, tenants, { maxConnections: 1, ...options });
  const rowsOf = async (tenancy: Tenancy, name: string, text: string, values?: unknown[]) =>
    (await tenancy.withTenant(name, () => tenancy.query(text, values))).rows;

  test.each(["session", "transaction"] as const)(
    "settings made in a connect listener are those of every tenant, poolMode %s",
    async (poolMode) => {
      const tenancy = await open({ poolMode });
      let connected = 0;
      tenancy.pool.on("connect", (client) => {
        connected++;
        void client.query("set timezone to 'Asia/Tokyo'");
        client.query("set statement_timeout to '5s'", (error) => expect(error).toBeNull());
      });
      for (const name of ["thor", "loki", "thor"]) {
        expect(await rowsOf(tenancy, name, zone)).toEqual([{ zone: "Asia/Tokyo", timeout: "5s" }]);
        expect(await rowsOf(tenancy, name, `${zone} where 1 = $1`, [1])).toEqual([
          { zone: "Asia/Tokyo", timeout: "5s" },
        ]);
        expect(await rowsOf(tenancy, name, whose)).toEqual([{ owner: name }]);
        if (poolMode === "session")
          await tenancy.withTenant(name, () => tenancy.query("set timezone to 'Europe/Oslo'"));
      }
      expect(connected).toBe(1);
    },
  );

  test("a listener may wait for what it asks, is nobody's, and hears once of each connection", async () => {
    const tenancy = await open();
    const heard: unknown[] = [];
    const listener = async (client: pg.PoolClient) => {
      await sleep(10);
      const { rows } = await client.query(
        "select current_setting('search_path') as path, to_regclass('notes') as notes",
      );
      const typed = await client.query("select oid from pg_type where typname = $1", ["int4"]);
      heard.push([rows[0], typed.rows[0], tenancy.currentTenant()]);
    };
    tenancy.pool.on("connect", listener);
    for (const name of ["thor", "loki"]) expect(await rowsOf(tenancy, name, whose)).toEqual([{ owner: name }]);
    expect(heard).toEqual([[{ path: expect.stringMatching(/^(pg_catalog|)$/), notes: null }, { oid: 23 }, undefined]]);
    expect(tenancy.pool.listenerCount("connect")).toBe(1);
    tenancy.pool.off("connect", listener);
    expect(tenancy.pool.listenerCount("connect")).toBe(0);
  });

  test("what a listener throws, or what its statement meets, is the error of whoever waits for the connection", async () => {
    for (const fail of [
      (client: pg.PoolClient) => void client.query("select nope"),
      async (client: pg.PoolClient) => await client.query("select nope"),
      () => {
        throw Object.assign(new Error("no"), { code: "42703" });
      },
    ]) {
      const tenancy = await open();
      tenancy.pool.once("connect", fail);
      await expect(rowsOf(tenancy, "thor", whose)).rejects.toMatchObject({ code: "42703" });
      expect(await rowsOf(tenancy, "thor", whose)).toEqual([{ owner: "thor" }]);
    }
    const tenancy = await open();
    tenancy.pool.once("connect", (client) => void client.query("begin"));
    await expect(tenancy.withTenant("thor", () => tenancy.pool.connect())).rejects.toMatchObject({ code: "DRIVER" });
  });

  test("a client that a listener keeps is nobody's afterwards", async () => {
    const tenancy = await open();
    const kept: pg.PoolClient[] = [];
    tenancy.pool.on("connect", (client) => kept.push(client));
    expect(await rowsOf(tenancy, "thor", whose)).toEqual([{ owner: "thor" }]);
    await expect(kept[0]?.query(whose)).rejects.toMatchObject({ code: "NO_TENANT" });
    expect(() => kept[0]?.release()).toThrow("not checked out");
    expect(await rowsOf(tenancy, "loki", whose)).toEqual([{ owner: "loki" }]);
  });

  test("what a listener of other events throws is an error of the pool, and ends nothing", async () => {
    const tenancy = await open();
    const errors: string[] = [];
    tenancy.pool.on("error", (error) => errors.push(error.message));
    tenancy.pool.on("acquire", (client) => client.query("select 1"));
    tenancy.pool.on("release", async () => {
      throw new Error("released");
    });
    expect(await rowsOf(tenancy, "thor", whose)).toEqual([{ owner: "thor" }]);
    await expect
      .poll(() => errors.map((message) => message.split(":")[0]).sort())
      .toEqual(["released", "this connection is nobody's"]);
  });
});
