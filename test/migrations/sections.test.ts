// The format of migration files: dbmate's, as people write it.
import { describe, expect, test } from "vitest";
import { readSections } from "../../src/migrations/sections.js";

const read = (text: string) => readSections(text, "1_a.sql");

describe("a file with markers", () => {
  test("has an up section and a down section", () => {
    expect(read("-- migrate:up\ncreate table a ();\n\n-- migrate:down\ndrop table a;\n")).toEqual({
      up: { text: "create table a ();\n\n", transaction: true, line: 2 },
      down: { text: "drop table a;\n", transaction: true, line: 5 },
    });
  });

  test("can do without a down section", () => {
    expect(read("-- migrate:up\nselect 1")).toEqual({
      up: { text: "select 1", transaction: true, line: 2 },
      down: undefined,
    });
  });

  test("may have its markers spaced, indented and with CRLF", () => {
    const { up, down } = read("--migrate:up\r\nselect 1;\r\n  --   migrate:down\t\r\nselect 2;\r\n");
    expect(up).toEqual({ text: "select 1;\r\n", transaction: true, line: 2 });
    expect(down).toEqual({ text: "select 2;\r\n", transaction: true, line: 4 });
  });

  test("may begin with comments and empty lines", () => {
    expect(read("-- who: me\n\n   \n-- migrate:up\nselect 1").up.line).toBe(5);
  });

  test("may end at a marker", () => {
    expect(read("-- migrate:up\nselect 1;\n-- migrate:down").down).toEqual({ text: "", transaction: true, line: 4 });
  });

  test("says for each section whether it wants a transaction", () => {
    const { up, down } = read(
      "-- migrate:up transaction:false\nselect 1;\n-- migrate:down transaction:true\nselect 2;",
    );
    expect([up.transaction, down?.transaction]).toEqual([false, true]);
  });

  test("is cut at markers only: a comment that names them is none", () => {
    expect(read("-- migrate:up\nselect 1; -- migrate:down is below\n-- not migrate:down\nselect 2").down).toBe(
      undefined,
    );
    expect(read("-- migrate:up\n-- migrate:upward is a word\nselect 1").up.text).toContain("upward");
  });
});

test("a file without markers is up, all of it", () => {
  expect(read("create table a ();")).toEqual({
    up: { text: "create table a ();", transaction: true, line: 1 },
    down: undefined,
  });
});

describe("refused with its line:", () => {
  test.each([
    ["a second up", "-- migrate:up\n\n-- migrate:up\n", "a second -- migrate:up marker (1_a.sql:3)"],
    [
      "a second down",
      "-- migrate:up\n-- migrate:down\n-- migrate:down\n",
      "a second -- migrate:down marker (1_a.sql:3)",
    ],
    ["down without up", "\n-- migrate:down\n", "there is a -- migrate:down marker and no -- migrate:up (1_a.sql:2)"],
    [
      "SQL before the first marker",
      "-- a\nselect 1;\n-- migrate:up\n",
      "SQL before the first -- migrate:up marker belongs to no section (1_a.sql:2)",
    ],
    [
      "an unknown option",
      "-- migrate:up transaction=false\n",
      'unknown option "transaction=false" after the marker; there is transaction:false (1_a.sql:1)',
    ],
    [
      "an option with CRLF behind it",
      "-- migrate:up\r\n-- migrate:down no\r\n",
      'unknown option "no" after the marker; there is transaction:false (1_a.sql:2)',
    ],
  ])("%s", (_, text, message) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code: "MIGRATIONS_INVALID", message }));
  });
});
