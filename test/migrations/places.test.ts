// A failure is put where it is: the migration, its file, line and column.
import { describe, expect, test } from "vitest";
import { createDatabase, newestAtLeast } from "../support/database.ts";
import { oneTenant } from "./tenant.ts";

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  async function placeOf(files: Record<string, string>) {
    const tenant = await oneTenant(await createDatabase(server), "thor", files);
    const failure = await tenant.failure();
    expect(failure.code).toBe("SQL");
    expect(failure.place?.file.startsWith(tenant.folder)).toBe(true);
    const { migration, line, column } = failure.place ?? {};
    return { migration, at: `${line}:${column}`, sqlState: failure.sqlState, message: failure.message };
  }

  test("with a position: the very token", async () => {
    const sql = "-- migrate:up\ncreate table a (n int);\n\nselect n,\n  'é🦊' as fox, nowhere\nfrom a;\n";
    expect(await placeOf({ "1_a.sql": sql })).toMatchObject({ migration: "1_a", at: "5:16", sqlState: "42703" });
  });

  test("without a position: where its statement begins, behind the comments before it", async () => {
    const sql = "create table a ();\n-- once more\n/* and\n again */  create table a ();\ncreate table b ()";
    expect(await placeOf({ "1_a.sql": sql })).toMatchObject({ at: "4:12", sqlState: "42P07" });
  });

  test("in the second migration of a message", async () => {
    const files = {
      "1_a.sql": "-- migrate:up\n\n\ncreate table a (t text default 'é🦊')",
      "2_b.sql": "-- migrate:up\ncreate table b ();\nselect nowhere",
      "3_c.sql": "create table c ()",
    };
    expect(await placeOf(files)).toMatchObject({ migration: "2_b", at: "3:8" });
    expect(await placeOf({ ...files, "2_b.sql": "create table b ();\n  create table a ()" })).toMatchObject({
      migration: "2_b",
      at: "2:3",
    });
  });

  test("after five megabytes of inserts", async () => {
    const line = (n: number) => `insert into a values (${n}, 'é🦊 ${"x".repeat(400)}');\n`;
    const inserts = Array.from({ length: 12_000 }, (_, n) => line(n)).join("");
    const sql = `create table a (n int, t text);\n${inserts}select nowhere;\n`;
    expect(await placeOf({ "1_a.sql": sql })).toMatchObject({ at: "12002:8" });
  });

  test("in one insert of many lines", async () => {
    const values = Array.from({ length: 5_000 }, (_, n) => `  (${n}, 'é')`);
    values[4_000] = "  (4000, nowhere)";
    const sql = `create table a (n int, t text);\ninsert into a values\n${values.join(",\n")};\n`;
    expect(await placeOf({ "1_a.sql": sql })).toMatchObject({ at: "4003:10" });
  });

  test("in a file with CRLF and a BOM", async () => {
    const sql = "\ufeff-- migrate:up\r\ncreate table a ();\r\n\r\n  select 'é',\r\n    nowhere;\r\n";
    expect(await placeOf({ "1_a.sql": sql })).toMatchObject({ at: "5:5" });
    expect(await placeOf({ "1_a.sql": "\ufeffselect nowhere" })).toMatchObject({ at: "1:8" });
  });

  test("in text that our parser can't read", async () => {
    const files = {
      "1_a.sql": "create table a ()",
      "2_b.sql": "-- migrate:up\ncreate table b (t text default 'é🦊');\n\ncreate tabel c ();\n",
      "3_c.sql": "select 1",
    };
    expect(await placeOf(files)).toMatchObject({ migration: "2_b", at: "4:8", sqlState: "42601" });
    expect(await placeOf({ ...files, "2_b.sql": "create table b (\n" })).toMatchObject({
      migration: "2_b",
      at: "2:1",
      message: expect.stringContaining("end of input"),
    });
    expect(await placeOf({ ...files, "2_b.sql": "select\n  'open" })).toMatchObject({ migration: "2_b", at: "2:3" });
  });

  test("inside of a function's body: where the statement begins that ran into it", async () => {
    const sql = `create function f() returns void language plpgsql as $$\nbegin\n  perform nowhere;\nend $$;\n\nselect f();\n`;
    expect(await placeOf({ "1_a.sql": sql })).toMatchObject({ at: "6:1", sqlState: "42703" });
  });

  test("in a function's body that does not compile: the token in it", async () => {
    const sql = "create function f() returns int language sql as $$\n  select 'é',\n  nowhere\n$$;\n";
    expect(await placeOf({ "1_a.sql": sql })).toMatchObject({ at: "3:3" });
  });

  test("in a down section", async () => {
    const tenant = await oneTenant(await createDatabase(server), "thor", {
      "1_a.sql": "-- migrate:up\ncreate table a ();\n-- migrate:down\ndrop table a;\ndrop table b;\n",
    });
    await tenant.migrate();
    await expect(tenant.rollback("1_a")).rejects.toMatchObject({ place: { line: 5, column: 1 }, sqlState: "42P01" });
    expect(await tenant.relations()).toEqual(["a"]);
  });

  test("the server's detail is part of the message, its hint is ours", async () => {
    const { message } = await placeOf({
      "1_a.sql": "create table a (n int primary key); insert into a values (1), (1)",
    });
    expect(message).toBe('duplicate key value violates unique constraint "a_pkey": Key (n)=(1) already exists.');
    const tenant = await oneTenant(await createDatabase(server), "loki", { "1_a.sql": "select lowr('A')" });
    expect((await tenant.failure()).hint).toContain("No function matches");
  });
});
