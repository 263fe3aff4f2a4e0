// Statements that travel in one message: which of them failed, and where in it.
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { type Statement, StatementError, send } from "../../src/database/message.js";
import { createDatabase, servers } from "../support/database.ts";

describe.each(servers())("PostgreSQL $major", (server) => {
  let client: pg.Client;

  beforeAll(async () => {
    client = await (await createDatabase(server)).connect();
  });

  async function failure(...texts: string[]) {
    const statements: Statement<number>[] = texts.map((text, origin) => ({ text, origin }));
    const error = await send(client, statements, true).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof StatementError)) throw new Error(`no StatementError but ${String(error)}`);
    return { statement: error.statement.origin, offset: error.offset };
  }

  test("resolves to the rows of each", async () => {
    const texts = [
      "select 1 as a",
      "create temp table t (n int)",
      "insert into t values (7) returning n",
      "select 1 as b limit 0",
    ];
    const results = await send(
      client,
      texts.map((text) => ({ text })),
      true,
    );
    expect(results).toEqual([[{ a: 1 }], [], [{ n: 7 }], []]);
  });

  test("resolves to the same one by one", async () => {
    const statements = ["select 1 as a", "select 2 as b"].map((text) => ({ text }));
    expect(await send(client, statements, false)).toEqual(await send(client, statements, true));
  });

  test("sends nothing for no statements", async () => {
    expect(await send(client, [], true)).toEqual([]);
  });

  test("a statement that ends in a comment does not swallow the next", async () => {
    const results = await send(client, [{ text: "select 1 as a -- one" }, { text: "select 2 as b /* two */" }], true);
    expect(results).toEqual([[{ a: 1 }], [{ b: 2 }]]);
  });

  test("a position behind multi-byte and astral characters counts UTF-16 units of its statement", async () => {
    const second = "select '🦊ü' as fox, nowhere";
    expect(await failure("select '🦊🦊é€'", second)).toEqual({ statement: 1, offset: second.indexOf("nowhere") });
  });

  test("a position in the first, in the middle, in the last", async () => {
    for (const bad of [0, 1, 2]) {
      const texts = ["select 1", "select 2 -- ü", "select 3"];
      texts[bad] = "select 1,\n  nowhere";
      expect(await failure(...texts)).toEqual({ statement: bad, offset: 12 });
    }
  });

  test("without a position it is the one after those that finished", async () => {
    expect(await failure("create table twice (n int)", "select 1", "create table twice (n int)", "select 2")).toEqual({
      statement: 2,
      offset: undefined,
    });
    expect(await failure("select 1", "select 1/0")).toEqual({ statement: 1, offset: undefined });
  });

  test("rows that arrived before the failure don't count as statements", async () => {
    expect(await failure("select generate_series(1, 500)", "select 1 / (3 - n) from generate_series(1, 5) n")).toEqual({
      statement: 1,
      offset: undefined,
    });
  });

  test("a failure inside of a DO block belongs to the block", async () => {
    expect(await failure("select 1", "do $$ begin perform nowhere; end $$", "select 2")).toEqual({
      statement: 1,
      offset: undefined,
    });
  });

  test("a statement that stops too early is blamed for it, not the one behind", async () => {
    expect(await failure("select 1", "select (", "select 2")).toEqual({ statement: 1, offset: 8 });
    expect(await failure("select 1", "select (")).toEqual({ statement: 1, offset: 8 });
  });

  test("what came after the failure was not run, what came before it was undone with it", async () => {
    await failure("create table before_it (n int)", "select 1/0", "create table after_it (n int)");
    const { rows } = await client.query("select to_regclass('before_it') as before, to_regclass('after_it') as after");
    expect(rows).toEqual([{ before: null, after: null }]);
  });

  test("the connection serves on after a failure", async () => {
    await failure("select nowhere");
    expect(await send(client, [{ text: "select 1 as a" }], true)).toEqual([[{ a: 1 }]]);
  });

  test("notices and a COPY TO STDOUT between statements do no harm", async () => {
    const texts = ["do $$ begin raise notice 'hello'; end $$", "copy (select 1) to stdout", "select 2 as b"];
    const results = await send(
      client,
      texts.map((text) => ({ text })),
      true,
    );
    expect(results).toEqual([[], [], [{ b: 2 }]]);
  });
});
