// What traces pg sees the statements of the application, as it sent them, and adds to them what it likes.

import "./telemetry.ts"; // before pg
import pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import Cursor from "pg-cursor";
import QueryStream from "pg-query-stream";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { PoolMode, Tenancy } from "../../src/runtime/index.js";
import { createDatabase, newestAtLeast } from "../support/database.ts";
import { instrumentation, traced } from "./telemetry.ts";
import { createTenants, openTenancy, whose } from "./tenancy.ts";

const names = ["thor", "loki", "loki"];

describe.each(
  newestAtLeast().flatMap((server) =>
    (["session", "transaction"] as PoolMode[]).map((mode) => ({ server, mode, major: server.major })),
  ),
)("OpenTelemetry, PostgreSQL $major, poolMode $mode", ({ server, mode }) => {
  let tenancy: Tenancy;
  beforeAll(async () => {
    const database = await createDatabase(server);
    tenancy = await openTenancy(database, await createTenants(database, names.slice(0, 2)), {
      poolMode: mode,
      maxConnections: 1,
    });
  });
  afterEach(() => instrumentation.setConfig({}));

  const as = <T>(name: string, fn: () => Promise<T>) => traced(() => tenancy.withTenant(name, fn));
  const select = { text: whose, name: "pg.query:SELECT", child: true, error: false };

  test("each statement is a span of whoever sent it, with its text", async () => {
    for (const name of names) {
      const { result, queries } = await as(name, async () => [
        await tenancy.query(whose),
        await tenancy.pool.query(`${whose} where id = $1`, [1]),
        await tenancy.query({ name: "whose", text: whose }),
      ]);
      expect(result.map(({ rows }) => rows)).toEqual(Array(3).fill([{ owner: name }]));
      expect(queries).toEqual([
        select,
        { ...select, text: `${whose} where id = $1` },
        { ...select, name: "pg.query:whose" },
      ]);
    }
  });

  test("so are those that wait for a connection, those of a client, and those with a callback", async () => {
    const { queries } = await as("thor", async () => {
      await Promise.all([tenancy.query(whose), tenancy.query(whose), tenancy.query(whose)]);
      await tenancy.transaction(async (client) => {
        await client.query(whose);
        await new Promise((resolve) => client.query(whose, resolve));
      });
    });
    expect(queries.filter(({ text }) => text === whose)).toEqual(Array(5).fill(select));
    expect(queries.map(({ name }) => name)).toEqual(expect.arrayContaining(["pg.query:BEGIN", "pg.query:COMMIT"]));
    expect(queries).toHaveLength(7);
  });

  test("one that waited is a span of whoever sent it, not of whoever gave the connection back", async () => {
    const held = await tenancy.withTenant("loki", () => tenancy.pool.connect());
    const waiting = as("thor", () => tenancy.query(whose));
    held.release();
    expect((await waiting).queries).toEqual([select]);
  });

  test("what fails is a span with an error", async () => {
    const failure = await as("loki", () => tenancy.query("select nope").catch((error: { code: string }) => error.code));
    expect(failure).toMatchObject({ result: "42703", queries: [{ text: "select nope", child: true, error: true }] });
  });

  test("comments that it adds reach the server, in every way of asking", async () => {
    instrumentation.setConfig({ addSqlCommenterCommentToQueries: true });
    const asked = "select owner, current_query() as text from notes where id = 3";
    for (const name of names) {
      const { result } = await as(name, async () => {
        const client = await tenancy.pool.connect();
        const all = [
          await tenancy.withTenant(name, () => client.query(asked)),
          await client.query({ text: `${asked} and owner <> $1`, values: ["x"] }),
          await new Promise<pg.QueryResult>((resolve, reject) =>
            client.query(asked, (error, found) => (error ? reject(error) : resolve(found))),
          ),
        ].flatMap(({ rows }) => rows);
        const cursor = client.query(new Cursor(asked));
        all.push(...(await cursor.read(2)));
        await cursor.close();
        client.release();
        return [...all, ...(await tenancy.query(asked)).rows];
      });
      expect(result.map(({ owner }) => owner)).toEqual(Array(5).fill(name));
      for (const { text } of result) expect(text).toMatch(/where id = 3.*\/\*traceparent='00-[^']+'\*\/$/);
    }
  });

  test("its SET application_name before each statement does no harm", async () => {
    instrumentation.setConfig({ enableTraceContextPropagation: true });
    for (const name of names) {
      const { result, queries } = await as(name, async () => (await tenancy.query(whose)).rows);
      expect(result).toEqual([{ owner: name }]);
      expect(queries).toEqual([select]);
    }
  });
});

// dd-trace brings 100 MB of binaries, so this wraps as it does: it writes its comment into the text of what is passed to `query`, and
// afterwards replaces the callback of what is last in the client's queue, or listens to it where it has none.
describe("a tool that wraps as Datadog does", () => {
  interface Queued {
    text?: string;
    cursor?: Queued;
    callback?: (...result: unknown[]) => void;
    once?(event: string, listener: () => void): void;
  }
  type Inside = pg.Client & { _queryQueue: Queued[]; _activeQuery: Queued | null };
  const { prototype } = pg.Client;
  const { query } = prototype;
  const seen: string[] = [];

  beforeAll(() => {
    prototype.query = function (this: Inside, ...args: [Queued | string, ...unknown[]]) {
      const given: Queued = typeof args[0] === "object" ? args[0] : { text: args[0] };
      const target = given.cursor ?? given;
      const { text } = target;
      target.text = `/*dd*/ ${text}`;
      const result = Reflect.apply(query, this, [given, ...args.slice(1)]);
      const queued = this._queryQueue.at(-1) ?? this._activeQuery;
      const told = queued?.callback;
      if (queued && told) {
        queued.callback = (error, ...rest) => {
          seen.push(`${text}: ${error ? "failed" : "done"}`);
          told(error, ...rest);
        };
      } else queued?.once?.("end", () => seen.push(`${text}: ended`));
      return result;
    } as typeof query;
    return () => {
      prototype.query = query;
    };
  });

  test.each(["session", "transaction"] as const)(
    "sees the text of each statement, adds to it, and hears of its end, poolMode %s",
    async (poolMode) => {
      const database = await createDatabase();
      const tenants = await createTenants(database, ["thor", "loki"]);
      const tenancy = await openTenancy(database, tenants, { maxConnections: 1, poolMode });
      const asked = "select owner, current_query() as text from notes where id = 1";
      const stored = "select owner from notes where id = $1";
      for (const name of names) {
        seen.length = 0;
        await tenancy.withTenant(name, async () => {
          expect((await tenancy.query(asked)).rows).toEqual([
            { owner: name, text: expect.stringContaining(`/*dd*/ ${asked}`) },
          ]);
          expect((await tenancy.query({ name: "one", text: stored, values: [1] })).rows).toEqual([{ owner: name }]);
          await expect(tenancy.query("select nope")).rejects.toMatchObject({ code: "42703" });
          const client = await tenancy.pool.connect();
          const streamed = await client.query(new QueryStream(asked)).toArray();
          expect(streamed).toEqual([{ owner: name, text: expect.stringContaining("/*dd*/") }]);
          const cursor = client.query(new Cursor(asked));
          expect(await cursor.read(2)).toHaveLength(1);
          await cursor.close();
          const copied = await client.query(copyTo("copy (select 1) to stdout")).toArray();
          expect(Buffer.concat(copied).toString()).toBe("1\n");
          client.release();
        });
        expect(seen).toEqual(
          expect.arrayContaining([
            `${asked}: done`,
            `${stored}: done`,
            "select nope: failed",
            `${asked}: ended`,
            "copy (select 1) to stdout: ended",
          ]),
        );
      }
    },
  );
});
