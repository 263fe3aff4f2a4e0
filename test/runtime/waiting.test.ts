// How the pool waits for connections, how it opens them, and a second pool that follows the same tenant.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import type { Tenancy, TenancyOptions, Tenant } from "../../src/runtime/index.js";
import { createDatabase, newestAtLeast, type TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { createTenants, openTenancy, whose } from "./tenancy.ts";

const withOptions = (url: string, options: string) => `${url}?options=${encodeURIComponent(options)}`;

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let tenants: Tenant[];
  beforeAll(async () => {
    database = await createDatabase(server);
    tenants = await createTenants(database, ["thor", "loki"]);
  });
  const open = (options: TenancyOptions = {}) => openTenancy(database, tenants, options);
  const ask = async (tenancy: Pick<Tenancy, "withTenant" | "query">, text = whose) =>
    (await tenancy.withTenant("thor", () => tenancy.query(text))).rows;

  test.each([1, 2, 3])(
    "a query in as many nested transactions as a pool of %i has connections fails at once",
    async (maxConnections) => {
      const tenancy = await open({ maxConnections, acquireTimeoutMs: 0 });
      const nest = (depth: number): Promise<unknown> =>
        depth === 0 ? tenancy.query(whose) : tenancy.transaction(() => nest(depth - 1));
      const failure = { code: "POOL_EXHAUSTED", hint: expect.stringContaining("transaction's own client") };
      await expect(tenancy.withTenant("thor", () => nest(maxConnections))).rejects.toMatchObject(failure);
      await expect(tenancy.withTenant("thor", () => nest(maxConnections + 1))).rejects.toMatchObject(failure);
      await tenancy.withTenant("thor", () => nest(maxConnections - 1));
      expect(await ask(tenancy)).toEqual([{ owner: "thor" }]);
    },
  );

  test("what a transaction started and did not wait for may ask once it has ended", async () => {
    const tenancy = await open({ maxConnections: 1, acquireTimeoutMs: 0 });
    let later: Promise<unknown> | undefined;
    await tenancy.withTenant("thor", () =>
      tenancy.transaction(async () => {
        later = sleep(50).then(() => tenancy.query(whose));
      }),
    );
    expect(await later).toMatchObject({ rows: [{ owner: "thor" }] });
  });

  test("other code waits for its turn, and no longer than acquireTimeoutMs", async () => {
    const tenancy = await open({ maxConnections: 1, acquireTimeoutMs: 150 });
    const held = await tenancy.withTenant("thor", () => tenancy.pool.connect());
    const patient = ask(tenancy);
    await sleep(20);
    held.release();
    expect(await patient).toEqual([{ owner: "thor" }]);

    const kept = await tenancy.withTenant("thor", () => tenancy.pool.connect());
    await expect(ask(tenancy)).rejects.toMatchObject({
      code: "POOL_EXHAUSTED",
      message: expect.stringMatching(/within 150 ms/),
      hint: expect.stringContaining("maxConnections"),
    });
    await expect(tenancy.withTenant("loki", () => tenancy.transaction(async () => {}))).rejects.toMatchObject({
      code: "POOL_EXHAUSTED",
    });
    kept.release();
    expect(await ask(tenancy)).toEqual([{ owner: "thor" }]); // what waited in vain gave its connection back
    expect([tenancy.pool.totalCount, tenancy.pool.idleCount, tenancy.pool.waitingCount]).toEqual([1, 1, 0]);
  });

  test("a connection that nobody needs is closed after idleTimeoutMs", async () => {
    const tenancy = await open({ idleTimeoutMs: 50 });
    await ask(tenancy);
    await expect.poll(() => tenancy.pool.totalCount).toBe(0);
    expect(await ask(tenancy)).toEqual([{ owner: "thor" }]);
  });

  test.each(["session", "transaction"] as const)(
    "the URL's options hold for every tenant, and the search_path stays ours, poolMode %s",
    async (poolMode) => {
      const url = withOptions(database.url, "-c statement_timeout=7s -c timezone=Asia/Tokyo");
      const tenancy = await openTenancy({ url }, tenants, { maxConnections: 1, poolMode });
      const settings = `${whose.replace("owner", "owner, current_setting('statement_timeout') as timeout, current_setting('timezone') as zone")}`;
      for (const name of ["thor", "loki", "thor"]) {
        const { rows } = await tenancy.withTenant(name, () => tenancy.query(settings));
        expect(rows).toEqual([{ owner: name, timeout: "7s", zone: "Asia/Tokyo" }]);
      }
      const strange = withOptions(database.url, "-c search_path=loki");
      await expect(openTenancy({ url: strange }, tenants)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    },
  );

  test.skipIf(!pgbouncerAvailable)(`a pooler that refuses options says so${pgbouncerNote}`, async () => {
    const url = withOptions((await startPgbouncer(database)).url, "-c statement_timeout=7s");
    await expect(openTenancy({ url }, tenants)).rejects.toMatchObject({
      code: "DATABASE_REFUSED",
      hint: expect.stringContaining("options"),
    });
  });

  test("a second pool follows the same tenant, with the same guards, and is closed with the tenancy", async () => {
    const replica = await createDatabase(server);
    await createTenants(replica, ["thor", "loki"]);
    await replica.query("update thor.notes set owner = 'thor, a second later'");
    const tenancy = await open();
    const reader = await tenancy.withTenant("loki", () => tenancy.follow({ database: replica.url, maxConnections: 1 }));
    expect((await tenancy.withTenant("thor", () => reader.query(whose))).rows).toEqual([
      { owner: "thor, a second later" },
    ]);
    expect((await tenancy.withTenant("loki", () => reader.query(whose))).rows).toEqual([{ owner: "loki" }]);
    expect(await ask(tenancy)).toEqual([{ owner: "thor" }]);
    await expect(reader.query(whose)).rejects.toMatchObject({ code: "NO_TENANT" });
    const client = await tenancy.withTenant("thor", () => reader.connect());
    await expect(tenancy.withTenant("loki", () => client.query(whose))).rejects.toMatchObject({ code: "OTHER_TENANT" });
    client.release();
    await tenancy.close();
    await expect(tenancy.withTenant("thor", () => reader.query(whose))).rejects.toMatchObject({ code: "CLOSED" });
    await expect(tenancy.follow({ database: replica.url })).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("a second pool that is given stays open; one of two ways to it is asked for", async () => {
    const tenancy = await open();
    const given = new pg.Pool({ connectionString: database.url, max: 1 });
    whenFileEnds(() => given.end());
    const reader = await tenancy.follow({ pool: given });
    expect((await tenancy.withTenant("loki", () => reader.query(whose))).rows).toEqual([{ owner: "loki" }]);
    await tenancy.close();
    expect((await given.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
    await expect((await open()).follow({})).rejects.toMatchObject({ code: "USAGE" });
  });
});
