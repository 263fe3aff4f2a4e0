// COPY through pg-copy-streams, which reads the connection's socket itself: to and from the current tenant's table, or an error.
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import Cursor from "pg-cursor";
import { beforeAll, describe, expect, test } from "vitest";
import type { Tenancy } from "../../src/runtime/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { pgbouncerNote } from "../support/pgbouncer.ts";
import { createTenants, openOn, openTenancy, tenantNamed, waysTo, whose } from "./tenancy.ts";

const names = ["thor", "loki"];

describe.each(waysTo(servers()))(`PostgreSQL $major, $way${pgbouncerNote}`, ({ server, way }) => {
  let database: TestDatabase;
  let tenancy: Tenancy;

  beforeAll(async () => {
    database = await createDatabase(server);
    const tenants = await createTenants(database, names);
    for (const name of names)
      await database.query(`create table ${name}.inbox (owner text unique deferrable initially deferred)`);
    tenancy = await openOn(way, database, tenants, 1);
  });

  const within = <T>(name: string, fn: (client: pg.PoolClient) => Promise<T>) =>
    tenancy.withTenant(name, async () => {
      const client = await tenancy.pool.connect();
      try {
        return await fn(client);
      } finally {
        client.release();
      }
    });
  const out = async (client: pg.PoolClient, text = "copy (select distinct owner from notes) to stdout") => {
    const chunks: Buffer[] = [];
    for await (const chunk of client.query(copyTo(text))) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  const into = (client: pg.PoolClient, rows: string) =>
    pipeline(Readable.from([rows]), client.query(copyFrom("copy inbox from stdin")));
  const pidOf = async (client: pg.PoolClient) => (await client.query("select pg_backend_pid() as pid")).rows[0].pid;

  test("COPY TO gives the current tenant's rows, after another tenant and after the same one", async () => {
    for (const name of ["thor", "thor", "loki", "thor", "loki", "loki"]) {
      expect(await within(name, (client) => out(client))).toBe(`${name}\n`);
      expect(
        await within(name, (client) => out(client, "/* all -- */ -- of them\n COPY notes (owner) TO STDOUT")),
      ).toBe(`${name}\n`.repeat(10));
    }
  });

  test("COPY TO in a transaction sees what the transaction did, and leaves it open", async () => {
    for (const name of ["thor", "loki", "loki"]) {
      await within(name, async (client) => {
        await client.query("begin");
        expect(await out(client)).toBe(`${name}\n`);
        await client.query("update notes set owner = 'nobody'");
        expect(await out(client)).toBe("nobody\n");
        await client.query("rollback");
        expect(await out(client)).toBe(`${name}\n`);
      });
    }
  });

  test("what waits behind COPY TO, and what it waits behind, is done in order", async () => {
    await within("loki", async (client) => {
      const begun = client.query("begin isolation level serializable");
      const copied = out(client);
      const level = client.query("show transaction_isolation");
      const ended = client.query("commit");
      expect(await copied).toBe("loki\n");
      expect((await level).rows).toEqual([{ transaction_isolation: "serializable" }]);
      await Promise.all([begun, ended]);
    });
    expect((await tenancy.withTenant("thor", () => tenancy.query(whose))).rows).toEqual([{ owner: "thor" }]);
  });

  test("a COPY TO that fails is an error of the stream, and the connection goes on", async () => {
    await within("thor", async (client) => {
      const pid = await pidOf(client);
      await expect(out(client, "copy nothing to stdout")).rejects.toMatchObject({ code: "42P01" });
      await expect(out(client, "copy (select 1 / (id - 5) from notes order by id) to stdout")).rejects.toMatchObject({
        code: "22012",
      });
      expect(await out(client)).toBe("thor\n");
      await client.query("begin");
      await client.query("select nope").catch(() => undefined);
      await expect(out(client)).rejects.toMatchObject({ code: "25P02" });
      await client.query("rollback");
      expect(await pidOf(client)).toBe(pid);
    });
  });

  test("where our own part fails, the COPY is not sent", async () => {
    const { url } = database;
    const poolMode = way === "session" ? "session" : "transaction";
    const roles = await openTenancy({ url }, names.map(tenantNamed), { poolMode, isolation: "role" }); // nobody made the roles
    const failed = roles.withTenant("loki", async () => {
      const client = await roles.pool.connect();
      try {
        await out(client, "copy (delete from loki.notes returning owner) to stdout");
      } finally {
        client.release();
      }
    });
    await expect(failed).rejects.toThrow(/role .* does not exist/);
    expect(await database.query("select count(*)::int as n from loki.notes")).toEqual([{ n: 10 }]);
  });

  test("a COPY TO that writes commits as one statement does, and says where it can't", async () => {
    await within("thor", async (client) => {
      const text = (owner: string) => `copy (insert into inbox values ('${owner}') returning owner) to stdout`;
      expect(await out(client, text("first"))).toBe("first\n");
      const stream = client.query(copyTo(text("first")));
      const failed = new Promise((_, reject) => stream.on("error", reject));
      stream.resume();
      await expect(failed).rejects.toMatchObject({ code: "23505" });
    });
    expect(await database.query("select owner from thor.inbox")).toEqual([{ owner: "first" }]);
    await database.query("delete from thor.inbox");
  });

  test("COPY FROM writes into the current tenant's table", async () => {
    for (const name of ["thor", "loki", "loki", "thor"]) {
      const row = `${name} ${Math.random()}`;
      await within(name, (client) => into(client, `${row}\n`));
      await within(name, async (client) => {
        await client.query("begin");
        await into(client, "undone\n");
        await client.query("rollback");
      });
      const { rows } = await tenancy.withTenant(name, () => tenancy.query("delete from inbox returning owner"));
      expect(rows).toEqual([{ owner: row }]);
    }
    const broken = within("loki", (client) => into(client, "too\tmany\tcolumns\n"));
    await expect(broken).rejects.toMatchObject({ code: "22P04" });
    expect(await within("thor", (client) => out(client))).toBe("thor\n");
  });

  test("a connection outlives its COPY and its cursor, released as soon as they have ended", async () => {
    const pids = new Set<number>();
    for (const name of ["thor", "loki", "thor"]) {
      await within(name, async (client) => void pids.add(await pidOf(client)));
      await within(name, (client) => out(client));
      await within(name, async (client) => {
        const cursor = client.query(new Cursor("select owner from notes where id < 3"));
        expect(await cursor.read(9)).toHaveLength(2);
      });
    }
    expect(pids.size).toBe(1);
  });
});
