// What applications and their tools write onto a client or a pool: kept for that checkout, never seen by the next, and still guarded.
import pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import type { PoolMode, Tenancy } from "../../src/runtime/index.js";
import { createDatabase, newestAtLeast } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createTenants, openTenancy, whose } from "./tenancy.ts";

describe.each(
  newestAtLeast().flatMap((server) =>
    (["session", "transaction", "given"] as const).map((way) => ({ server, way, major: server.major })),
  ),
)("PostgreSQL $major, $way", ({ server, way }) => {
  let tenancy: Tenancy;
  const as = <T>(name: string, fn: () => T | Promise<T>) => tenancy.withTenant(name, fn);

  beforeAll(async () => {
    const database = await createDatabase(server);
    const tenants = await createTenants(database, ["thor", "loki"]);
    if (way === "given") {
      const pool = new pg.Pool({ connectionString: database.url, max: 1 });
      whenFileEnds(() => pool.end());
      tenancy = await openTenancy(database, tenants, { pool });
    } else tenancy = await openTenancy(database, tenants, { poolMode: way as PoolMode, maxConnections: 1 });
  });

  const ownerOf = async (name: string) => (await as(name, () => tenancy.query(whose))).rows;

  test("a client's query and release may be replaced for tracing, for that checkout alone", async () => {
    for (const name of ["thor", "loki", "loki"]) {
      await as(name, async () => {
        const client = await tenancy.pool.connect();
        const { query, release } = client;
        const seen: unknown[] = [];
        expect(String(query)).not.toContain("seen.push"); // the last checkout's
        client.query = ((...args: unknown[]) => {
          seen.push(args[0]);
          return Reflect.apply(query, client, args);
        }) as typeof query;
        client.release = (error) => {
          seen.push("release");
          client.query = query;
          client.release = release;
          return client.release(error);
        };
        expect((await client.query(whose)).rows).toEqual([{ owner: name }]);
        client.release();
        expect(seen).toEqual([whose, "release"]);
        await expect(client.query(whose)).rejects.toMatchObject({ code: "RELEASED" });
      });
      expect(await ownerOf(name)).toEqual([{ owner: name }]);
    }
  });

  test("release may be wrapped and left so: the connection comes back all the same", async () => {
    for (const name of ["thor", "loki", "thor"]) {
      await as(name, async () => {
        const client = await tenancy.pool.connect();
        const release = client.release.bind(client);
        let calls = 0;
        client.release = (error) => {
          calls++;
          release(error);
        };
        client.release();
        expect(calls).toBe(1);
        expect(() => client.release()).toThrow("already been released");
      });
    }
  });

  test("what is defined, assigned and deleted on a client stays on it, and never uncovers pg's own", async () => {
    await as("thor", async () => {
      const client = (await tenancy.pool.connect()) as pg.PoolClient & { label?: string };
      const guarded = client.query;
      Object.defineProperty(client, "query", { value: () => "traced", configurable: true });
      client.label = "first";
      expect(client.query("x")).toBe("traced");
      expect(Object.getOwnPropertyDescriptor(client, "query")).toMatchObject({ enumerable: false });
      expect(["label", "query", "release"].every((key) => Object.keys(client).includes(key) || key in client)).toBe(
        true,
      );
      Reflect.deleteProperty(client, "query");
      expect(client.query).toBe(guarded);
      Reflect.deleteProperty(client, "query");
      Reflect.deleteProperty(client, "release");
      expect((await client.query(whose)).rows).toEqual([{ owner: "thor" }]);
      client.release();
    });
    await as("loki", async () => {
      const client = (await tenancy.pool.connect()) as pg.PoolClient & { label?: string };
      expect(client.label).toBeUndefined();
      expect("label" in client).toBe(false);
      expect((await client.query(whose)).rows).toEqual([{ owner: "loki" }]);
      await expect(as("thor", () => client.query(whose))).rejects.toMatchObject({ code: "OTHER_TENANT" });
      client.release();
    });
  });

  test("a pool's connect, query and end may be replaced; what they call is guarded as before", async () => {
    const { pool } = tenancy;
    const { connect, query, end } = pool;
    let calls = 0;
    pool.query = ((...args: unknown[]) => {
      calls++;
      return Reflect.apply(query, pool, args);
    }) as typeof query;
    pool.connect = ((...args: unknown[]) => {
      calls++;
      return Reflect.apply(connect, pool, args);
    }) as typeof connect;
    pool.end = (async () => void calls++) as typeof end;
    expect((await as("loki", () => pool.query(whose))).rows).toEqual([{ owner: "loki" }]);
    const client = await as("loki", () => pool.connect());
    client.release();
    await pool.end();
    expect(calls).toBe(3);
    await expect(pool.query(whose)).rejects.toMatchObject({ code: "NO_TENANT" });
    for (const key of ["query", "connect", "end"]) Reflect.deleteProperty(pool, key);
    expect([pool.query, pool.connect, pool.end]).toEqual([query, connect, end]);
    expect(await ownerOf("thor")).toEqual([{ owner: "thor" }]);
  });
});
