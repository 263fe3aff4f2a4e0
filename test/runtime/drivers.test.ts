// Other makes of pg's client: an old pg 8, which tells nothing of transactions, and Neon's, which speaks through a WebSocket.
import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { Pool as NeonPool, neonConfig } from "@neondatabase/serverless";
import type pg from "pg";
import old from "pg-8.11";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import Cursor from "pg-cursor";
import { beforeAll, describe, expect, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import type { Tenancy } from "../../src/runtime/index.js";
import { createDatabase, newestAtLeast, type TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createTenants, openTenancy, whose } from "./tenancy.ts";

/** What Neon has in front of its servers: a WebSocket whose messages are the bytes of a connection. */
async function startProxy(database: TestDatabase): Promise<number> {
  const { hostname, port } = new URL(database.url);
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (web) => {
    const socket = connect(Number(port), hostname);
    socket.on("data", (data) => web.send(data));
    socket.on("close", () => web.close());
    socket.on("error", () => web.close());
    web.on("message", (data: Buffer) => socket.write(data));
    web.on("close", () => socket.destroy());
  });
  whenFileEnds(async () => {
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const drivers = {
  "pg 8.11": async (database: TestDatabase) => new old.Pool({ connectionString: database.url, max: 1 }) as pg.Pool,
  "Neon's": async (database: TestDatabase) => {
    const port = await startProxy(database);
    neonConfig.webSocketConstructor = WebSocket;
    neonConfig.wsProxy = () => `127.0.0.1:${port}`;
    neonConfig.useSecureWebSocket = false;
    neonConfig.pipelineTLS = false;
    neonConfig.pipelineConnect = false;
    return new NeonPool({ connectionString: database.url, max: 1 }) as unknown as pg.Pool;
  },
};

describe.each(
  newestAtLeast().flatMap((server) =>
    Object.entries(drivers).flatMap(([driver, open]) =>
      (["session", "transaction"] as const).map((poolMode) => ({
        server,
        major: server.major,
        driver,
        open,
        poolMode,
      })),
    ),
  ),
)("$driver pool, poolMode $poolMode, PostgreSQL $major", ({ server, driver, open, poolMode }) => {
  let tenancy: Tenancy;
  let pool: pg.Pool;

  beforeAll(async () => {
    const database = await createDatabase(server);
    const tenants = await createTenants(database, ["thor", "loki"]);
    pool = await open(database);
    pool.on("error", () => {});
    whenFileEnds(() => pool.end());
    tenancy = await openTenancy(database, tenants, { pool, poolMode });
  });

  const turns = ["thor", "loki", "loki", "thor"];

  test("every way of asking is answered by the current tenant's tables", async () => {
    for (const name of turns) {
      await tenancy.withTenant(name, async () => {
        const expected = [{ owner: name }];
        expect((await tenancy.query(whose)).rows).toEqual(expected);
        expect((await tenancy.query(`${whose} where id = $1`, [1])).rows).toEqual(expected);
        expect((await tenancy.query({ name: "whose", text: `${whose} where id > $1`, values: [2] })).rows).toEqual(
          expected,
        );
        const told = new Promise<pg.QueryResult>((resolve, reject) =>
          tenancy.pool.query(whose, (error, result) => (error ? reject(error) : resolve(result))),
        );
        expect((await told).rows).toEqual(expected);
        await expect(tenancy.query("select nope")).rejects.toMatchObject({ code: "42703" });
      });
    }
    await expect(tenancy.query(whose)).rejects.toMatchObject({ code: "NO_TENANT" });
  });

  test("transactions are committed, rolled back, and closed where somebody left them open", async () => {
    for (const name of turns) {
      await tenancy.withTenant(name, async () => {
        const insert = (client: pg.PoolClient) => client.query("insert into notes values (50, $1)", [name]);
        const failure = tenancy.transaction(async (client) => {
          expect((await client.query(whose)).rows).toEqual([{ owner: name }]);
          await insert(client);
          expect(client.getTransactionStatus()).toBe("T");
          throw new Error("back");
        });
        await expect(failure).rejects.toThrow("back");
        const swallowed = tenancy.transaction((client) => client.query("select nope").catch(() => undefined));
        await expect(swallowed).rejects.toMatchObject({ code: "TRANSACTION_BROKEN" });
        await tenancy.transaction(insert);
        expect((await tenancy.query("delete from notes where id = 50")).rowCount).toBe(1);
        await tenancy.query("begin");
        expect((await tenancy.query(whose)).rows).toEqual([{ owner: name }]);
      });
    }
    await pool.query("begin; set local search_path to loki"); // somebody else's
    expect((await tenancy.withTenant("thor", () => tenancy.query(whose))).rows).toEqual([{ owner: "thor" }]);
  });

  test("cursors, and COPY where the driver has a socket", async () => {
    for (const name of turns) {
      await tenancy.withTenant(name, async () => {
        const client = await tenancy.pool.connect();
        const cursor = client.query(new Cursor(`${whose} where id < $1`, [5]));
        expect(await cursor.read(9)).toEqual([{ owner: name }]);
        await cursor.close();
        if (driver !== "Neon's") {
          const copied = await client.query(copyTo("copy (select owner from notes limit 1) to stdout")).toArray();
          expect(Buffer.concat(copied).toString()).toBe(`${name}\n`);
          const into = client.query(copyFrom("copy notes from stdin"));
          into.end(`60\t${name}\n`);
          await once(into, "finish");
          expect((await client.query("delete from notes where id = 60")).rowCount).toBe(1);
        }
        client.release();
      });
    }
  });
});
