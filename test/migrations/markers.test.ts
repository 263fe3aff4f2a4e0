// Markers that other tools understand, and mistyped ones: refused when the files are read, before the down part could run as a part of up.
import { describe, expect, test } from "vitest";
import { readFolder, readMigrations } from "../../src/migrations/files.js";
import { lintMigrations } from "../../src/migrations/lint.js";
import { folderOf, problemsOf } from "./folder.ts";

const create = "create table a (id int);\n";
const drop = "drop table a;\n";
const file = (up: string, down: string) => `${up}\n${create}${down}\n${drop}`;

describe("another tool's markers are refused, each with its line and the form that is meant:", () => {
  test.each([
    ["goose", "-- +goose Up", "-- +goose Down"],
    ["goose", "--+goose up", "  --   +goose   DOWN"],
    ["sql-migrate", "-- +migrate Up notransaction", "-- +migrate Down"],
    ["node-pg-migrate", "-- Up Migration", "-- Down Migration"],
    ["node-pg-migrate", "--- UP MIGRATION ---", "---- down migration"],
    ["rambler", "-- rambler up", "-- rambler down"],
    ["Play", "-- !Ups", "-- --- !Downs"],
    ["another tool", "-- Up", "-- Down"],
    ["another tool", "-- ==== UP ====", "-- ==== DOWN ===="],
  ])("%s's %s and %s", async (tool, up, down) => {
    expect(await problemsOf({ "1_a.sql": file(up, down) })).toEqual([
      `${JSON.stringify(up.trim())} is ${tool}'s marker, not ours: write -- migrate:up (1_a.sql:1)`,
      `${JSON.stringify(down.trim())} is ${tool}'s marker, not ours: write -- migrate:down (1_a.sql:3)`,
    ]);
  });

  test.each([
    ["tern", "---- create above / drop below ----"],
    ["MyBatis", "-- @UNDO"],
    ["MyBatis", "-- //@UNDO"],
    ["another tool", "-- +down"],
    ["goose", "-- +goose Down"],
    ["node-pg-migrate", "-- Down Migration"],
  ])("%s's %s alone", async (tool, down) => {
    const problem = `${JSON.stringify(down)} is ${tool}'s marker, not ours: write -- migrate:down`;
    expect(await problemsOf({ "1_a.sql": file("-- a table", down) })).toEqual([`${problem} (1_a.sql:3)`]);
    expect(await problemsOf({ "1_a.sql": file("-- migrate:up", down) })).toEqual([`${problem} (1_a.sql:3)`]);
    expect(await problemsOf({ "1_a.sql": file("-- a table", down).replaceAll("\n", "\r\n") })).toEqual([
      `${problem} (1_a.sql:3)`,
    ]);
  });
});

describe("mistyped markers are refused, with the form that is meant:", () => {
  test.each([
    "-- migrate:dwon",
    "-- migrate:donw",
    "-- migrate:dow",
    "-- migrate:dowm",
    "-- migrate:downn",
    "-- migrate:rollback",
    "-- migrate:undo",
    "-- Migrate:Down",
    "-- MIGRATE:DOWN",
    "-- migration:down",
    "-- migrations:down",
    "-- mirgate:down",
    "-- migrat:dwon",
    "-- migrate: down",
    "-- migrate :down",
    "-- migrate::down",
    "-- migrate;down",
    "-- migrate-down",
    "-- migrate_down",
    "-- migrate=down",
    "-- migrate down",
    "-- migrate dwon",
    "-- migrate:dwon transaction:false",
    "--- migrate:down",
    "-- @migrate:down",
    "--\u00a0migrate:down",
    "--\tMigrate:down;",
  ])("%s", async (down) => {
    const problem = `${JSON.stringify(down)} begins no section: write -- migrate:down (1_a.sql:3)`;
    expect(await problemsOf({ "1_a.sql": file("-- migrate:up", down) })).toEqual([problem]);
    expect(await problemsOf({ "1_a.sql": file("-- a table", down) })).toEqual([problem]);
  });

  test.each([
    "-- migrate:pu",
    "-- migrate:upp",
    "-- Migrate:Up",
    "-- migration:up",
    "-- migrate up",
    "-- migrate:Up transaction:false",
  ])("%s", async (up) => {
    expect(await problemsOf({ "1_a.sql": file(up, "-- migrate:down") })).toEqual([
      `${JSON.stringify(up)} begins no section: write -- migrate:up (1_a.sql:1)`,
    ]);
  });
});

describe("files that are right are read:", () => {
  const sentences = [
    "-- migrate the data down to one row",
    "-- migrate: down to one row",
    "-- migrate:downgrade",
    "-- migrate:upward is a word",
    "-- migrate:data",
    "-- migrate users",
    "-- migrate town",
    "-- migration: users",
    "-- migration: US",
    "-- migration 12",
    "-- migrations",
    "-- migrate:",
    "-- not migrate:down",
    "-- see migrate:down below",
    "-- Down migration of the rows is below",
    "-- down migrations are for cowards",
    "-- goose Down",
    "-- +goose StatementBegin",
    "-- we rambler down the road",
    "-- @undo this later",
    "-- create above, drop below",
    "-- Down",
    "-- ---- down ----",
    "-- up and down",
    "-- ----------------------------------------------",
    `-- ${"-".repeat(5000)} x`,
    "--",
    "--liquibase formatted sql",
    "--rollback drop table a;",
  ];
  test.each(sentences)("%s", async (sentence) => {
    expect(await problemsOf({ "1_a.sql": `-- migrate:up\n${create}${sentence}\n${drop}` })).toEqual([]);
    expect(await problemsOf({ "1_a.sql": `${create}${sentence}\n${drop}` })).toEqual([]);
  });

  test.each([
    ["behind a statement", "select 1; -- migrate:dwon\nselect 2; -- +goose Down\n"],
    ["in a string", "select '\n-- +goose Down\n-- migrate:dwon\n';\n"],
    ["in a string that goes on in another line", "select 'a'\n'\n-- +goose Down\n';\n"],
    ["in a string with escapes", "select E'\\'\n-- +goose Down\n';\n"],
    ["in a quoted name", 'select 1 as "\n-- +goose Down\n";\n'],
    ["in a block comment", "/* /* */\n-- +goose Down\n-- migrate:dwon\n*/ select 1;\n"],
    ["in a function's body", "do $$ begin\n-- +goose Down\n-- Migrate:Down\nend $$;\n"],
    ["in a body with a tag", "do $b$ begin perform $$\n$$;\n-- +goose Down\nend $b$;\n"],
  ])("with what looks like markers %s", async (_, text) => {
    expect(await problemsOf({ "1_a.sql": text, "2_b.sql": `-- migrate:up\n${text}-- migrate:down\n` })).toEqual([]);
  });

  test.each(["-- +goose Up", "-- Up Migration", "-- +migrate Up"])("of %s alone: all of it is up", async (up) => {
    expect(await problemsOf({ "1_a.sql": `${up}\n${create}` })).toEqual([]);
  });

  test.each(["-- Down Migration", "-- migrate:dwon", "-- @UNDO", "-- +goose Down"])(
    "with a note how to undo it, in comments, behind %s",
    async (down) => {
      for (const note of ["-- drop table a;\n", "/*\ndrop table a;\n*/\n", ""])
        expect(await problemsOf({ "1_a.sql": `${create}${down}\n${note}` })).toEqual([]);
    },
  );

  test("with words for both directions among the values of a statement", async () => {
    const text = "insert into directions values\n  -- up\n  (1),\n  -- down\n  (2);\n";
    expect(await problemsOf({ "1_a.sql": text })).toEqual([]);
  });

  test("with headings for both directions in the sections of ours", async () => {
    const text = `-- migrate:up\n-- Up\n${create}-- Down\nselect 1;\n-- migrate:down\n${drop}`;
    expect(await problemsOf({ "1_a.sql": text })).toEqual([]);
  });

  test.each([
    ["above ours", (tool: string, ours: string) => `${tool}\n\n${ours}\n`],
    ["below ours", (tool: string, ours: string) => `${ours}\n-- both tools read it\n${tool}\n`],
  ])("with the markers of two tools, the other's %s", async (_, both) => {
    const pairs = [
      ["-- +goose Up", "-- +goose Down"],
      ["-- Up Migration", "-- Down Migration"],
      ["-- ===== UP =====", "-- ===== DOWN ====="],
      ["-- Migrate up", "-- Migrate down"],
    ] as const;
    for (const [up, down] of pairs) {
      const text = `${both(up, "-- migrate:up")}${create}${both(down, "-- migrate:down")}${drop}`;
      expect(await problemsOf({ "1_a.sql": text })).toEqual([]);
    }
  });

  test("but not where SQL comes between the two", async () => {
    const text = `-- migrate:up\n${create}-- +goose Down\n${drop}-- migrate:down\n`;
    expect(await problemsOf({ "1_a.sql": text })).toEqual([
      `"-- +goose Down" is goose's marker, not ours: write -- migrate:down (1_a.sql:3)`,
    ]);
  });
});

test("the hint says how to write it, and how a file that was applied goes on; lint says so too", async () => {
  const folder = await folderOf({ "1_a.sql": file("-- migrate:up", "-- +goose Down"), "2_b.sql": create });
  const hint = expect.stringMatching(
    /write -- migrate:up above what is to run.*if such a file was applied, .*correct the file, run what is missing.*repair/,
  );
  await expect(readMigrations(folder)).rejects.toMatchObject({ code: "MIGRATIONS_INVALID", hint });
  const { findings } = await lintMigrations([{ shared: false, ...(await readFolder(folder)) }]);
  expect(findings).toContainEqual(expect.objectContaining({ severity: "error", rule: "invalid-file", line: 3, hint }));
});
