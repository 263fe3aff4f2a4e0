// A client of the application's own: connects at its first statement, for whoever is current then, and goes back when it is idle.
import pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import Cursor from "pg-cursor";
import { beforeAll, describe, expect, test } from "vitest";
import type { PoolMode, Tenancy } from "../../src/runtime/index.js";
import { createDatabase, newestAtLeast, type TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createTenants, openTenancy, whose } from "./tenancy.ts";

describe.each(
  newestAtLeast().flatMap((server) =>
    (["session", "transaction"] as PoolMode[]).map((mode) => ({ server, mode, major: server.major })),
  ),
)("PostgreSQL $major, poolMode $mode", ({ server, mode }) => {
  let database: TestDatabase;
  let tenancy: Tenancy;
  beforeAll(async () => {
    database = await createDatabase(server);
    tenancy = await openTenancy(database, await createTenants(database, ["thor", "loki"]), {
      poolMode: mode,
      maxConnections: 1,
    });
  });

  const as = <T>(name: string, fn: () => T | Promise<T>) => tenancy.withTenant(name, fn);
  /** None of the pool's connections is checked out. */
  const allBack = () => expect.poll(() => tenancy.pool.totalCount - tenancy.pool.idleCount).toBe(0);

  test("one client asks for each tenant in turn, and holds nothing in between", async () => {
    const client = tenancy.client();
    expect(await client.connect()).toBe(client);
    for (const name of ["thor", "loki", "thor"]) {
      expect((await as(name, () => client.query(whose))).rows).toEqual([{ owner: name }]);
      expect((await as(name, () => client.query(`${whose} where id = $1`, [1]))).rows).toEqual([{ owner: name }]);
      const told = await as(
        name,
        () =>
          new Promise((resolve) =>
            client.query(whose, (error, { rows }) => resolve([error, rows, tenancy.currentTenant()?.name])),
          ),
      );
      expect(told).toEqual([null, [{ owner: name }], name]);
      await allBack();
      await expect(as(name, () => client.query("select nope"))).rejects.toMatchObject({ code: "42703" });
      expect((await as(name, () => tenancy.query(whose))).rows).toEqual([{ owner: name }]);
    }
    await expect(client.query(whose)).rejects.toMatchObject({ code: "NO_TENANT" });
    await client.end();
    await expect(as("thor", () => client.query(whose))).rejects.toThrow("closed");
  });

  test("a transaction keeps its connection to its end, and its tenant", async () => {
    const client = tenancy.client();
    await as("thor", async () => {
      await client.query("begin");
      await client.query("insert into notes values (70, 'thor')");
      expect([client.getTransactionStatus(), tenancy.pool.idleCount]).toEqual(["T", 0]);
      await expect(as("loki", () => client.query(whose))).rejects.toMatchObject({ code: "OTHER_TENANT" });
      await client.query("rollback");
    });
    await allBack();
    expect((await as("loki", () => client.query(whose))).rows).toEqual([{ owner: "loki" }]);
    expect(await database.query("select 1 from thor.notes where id = 70")).toEqual([]);
  });

  test("cursors and COPY keep it as long as they run", async () => {
    const client = tenancy.client();
    for (const name of ["thor", "loki"]) {
      await as(name, async () => {
        const cursor = client.query(new Cursor("select owner from notes order by id"));
        expect(await cursor.read(1)).toEqual([{ owner: name }]);
        expect(tenancy.pool.idleCount).toBe(0);
        await cursor.close();
        await allBack();
        const copied = await client.query(copyTo("copy (select distinct owner from notes) to stdout")).toArray();
        expect(Buffer.concat(copied).toString()).toBe(`${name}\n`);
        await allBack();
      });
    }
    const refused = client.query(new Cursor(whose));
    await expect(refused.read(1)).rejects.toMatchObject({ code: "NO_TENANT" });
  });

  test("end rolls back what is open; a connection that is lost in a transaction ends the client", async () => {
    const ended = tenancy.client();
    await as("thor", () => ended.query("begin; insert into notes values (71, 'thor')"));
    await ended.end();
    await allBack();
    expect(await database.query("select 1 from thor.notes where id = 71")).toEqual([]);

    const client = tenancy.client();
    const errors: Error[] = [];
    client.on("error", (error) => errors.push(error));
    await as("thor", async () => {
      await client.query("begin");
      const { rows } = await client.query("select pg_backend_pid() as pid");
      await database.query("select pg_terminate_backend($1)", [rows[0].pid]);
      await expect.poll(() => errors.length).toBe(1);
      await expect(client.query("insert into notes values (72, 'thor')")).rejects.toThrow("not queryable");
    });
    await allBack();
    expect(await database.query("select 1 from thor.notes where id = 72")).toEqual([]);
  });

  test("a pool of such clients asks for whoever asks it, also when it had to wait", async () => {
    const { Pool } = tenancy.driver;
    const pool = new Pool({ max: 1 });
    expect(pool).toBeInstanceOf(pg.Pool);
    const names = Array.from({ length: 12 }, (_, at) => ["thor", "loki"][at % 2] ?? "");
    const answers = await Promise.all(names.map((name) => as(name, () => pool.query(whose))));
    expect(answers.map(({ rows }) => rows[0].owner)).toEqual(names);
    const told = await Promise.all(
      names.map((name) =>
        as(name, () => new Promise((resolve) => pool.query(whose, (_, { rows }) => resolve(rows[0].owner)))),
      ),
    );
    expect(told).toEqual(names);
    await pool.end();
    expect((await as("thor", () => tenancy.query(whose))).rows).toEqual([{ owner: "thor" }]);
  });

  test("pg's own pool of such clients is refused where it would ask in another's name", async () => {
    const pool = new pg.Pool({ max: 1, Client: tenancy.driver.Client as never });
    whenFileEnds(() => pool.end());
    const names = ["thor", "loki", "thor", "loki"];
    const answers = await Promise.allSettled(names.map((name) => as(name, () => pool.query(whose))));
    for (const [at, answer] of answers.entries()) {
      if (answer.status === "fulfilled") expect(answer.value.rows).toEqual([{ owner: names[at] }]);
      else expect(answer.reason).toMatchObject({ code: "NO_TENANT" });
    }
    expect(answers.some(({ status }) => status === "rejected")).toBe(true);
    const held = await as("thor", () => pool.connect());
    const late = as(
      "loki",
      () =>
        new Promise((resolve, reject) =>
          pool.connect((_, client, done) => setTimeout(() => client?.query(whose).then(resolve, reject).finally(done))),
        ),
    );
    await as("thor", () => held.release()); // its callback begins here
    await expect(late).rejects.toMatchObject({ code: "NO_TENANT" });
    const waited = names.map((name) =>
      as(name, async () => {
        const client = await pool.connect();
        const { rows } = await client.query(whose);
        client.release();
        return rows[0].owner;
      }),
    );
    expect(await Promise.all(waited)).toEqual(names);
  });
});
