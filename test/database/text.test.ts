// Texts of SQL, told by their tokens: which of them go on behind the end of a transaction, and which only look like it.
import { describe, expect, test } from "vitest";
import { shapeOf } from "../../src/database/text.js";

const dollar = (body: string, tag = "") => `$${tag}$${body}$${tag}$`;

describe("goes on behind the end of its transaction", () => {
  test.each([
    "commit; select 1",
    "rollback; select 1",
    "ROLLBACK ; insert into notes values (1)",
    "end; select 1",
    "abort; select 1",
    "begin; select 1; commit; select 2",
    "begin; select 1; end transaction; select 2",
    "commit work and chain; select 1",
    "rollback and no chain; select 1",
    "prepare transaction 'x'; select 1",
    "/* c */ commit -- c\n; /* ; */ select 1",
    "/* /* nested */ */ commit; select 1",
    "select 'it''s'; commit; select 1",
    "select E'\\'; commit; select 1 --'; commit; select 1",
    // with standard_conforming_strings the string ends at the backslash; without it, it goes on
    "select 'a\\'; commit; select 1; --'",
    "select 'a\\'; commit; select ''; rollback; select 1",
    'select ";" ; commit; select 1',
    "select 'a' '; select '; commit; select 1",
    "select E'a'\n'b\\''; commit; select 1 --'",
    `do ${dollar("begin; end")}; commit; select 1`,
    `select ${dollar("x", "a")}, ${dollar("y", "b")}; commit; select 1`,
    "select $1$a$; commit; select $a$",
    "select a$b$; commit; select 1; select a$b$",
    "create function f() returns int language sql begin atomic select 1; end; commit; select 1",
    "create or replace procedure p() begin atomic select case when true then 1 end; end; commit; select 1",
    // words of a routine's body where none is
    "create function f() returns int language sql begin atomic select 1 as case; end; end; select 1",
    "create function f() returns int language sql begin atomic select 1; end /* c */; end; select 1",
    "create function f(begin atomic) returns int language sql as 'select 1'; commit; select 1",
    "create view v as select begin atomic from t; commit; select 1; select 2 as end",
    "create function f() returns int language sql begin /* c */ atomic select 1; end; rollback; select 1",
    "select 1 as begin; commit; select 1",
    "savepoint a; rollback to a; rollback; select 1",
    "commit; ; ; select 1",
    "(select 1); commit; (select 1)",
  ])("%s", (text) => {
    expect(shapeOf(text)).toMatchObject({ continues: true, plain: false });
  });
});

describe("does not", () => {
  test.each([
    "commit",
    "begin; select 1; commit",
    "begin; select 1; rollback;  -- done\n",
    "begin; savepoint a; rollback to a; rollback work to savepoint a; select 1",
    "select 'a'\n  '; commit; select 1'",
    "select 'a' -- c\n '; commit; select 1'",
    "select 'commit; select 1'",
    "select 1 as commit, 2 as rollback",
    `do ${dollar("begin if true then return; end if; end")}`,
    `do ${dollar("begin; commit; end;", "body")}; select 1`,
    "create function f() returns int language sql begin atomic select 1; select 2; end",
    "create function f() returns int language sql begin atomic select 1; end; select 2",
    "create rule r as on insert to t do also (delete from a; delete from b)",
    "commit prepared 'x'; rollback prepared 'y'; select 1",
    "/* commit; */ select 1; -- rollback; select 1",
    'select "commit; select 1"; select 1',
    "prepare p as select 1; execute p",
    "deallocate all; select 1",
    "",
    ";;",
  ])("%s", (text) => {
    expect(shapeOf(text)).toMatchObject({ continues: false });
  });
});

test.each([
  ["select 1", { plain: true, single: true }],
  ["  -- c\nwith a as (select 1) select * from a;", { plain: true, single: true }],
  ["insert into t values ('; commit')", { plain: true, single: true }],
  ["values (1); values (2)", { plain: false, single: false }],
  ["(select 1)", { plain: false, single: true }],
  ["call p()", { plain: false, calls: true }],
  ["/* c */ do $$ begin end $$", { plain: false, calls: true }],
  ["select 1; call p()", { calls: true, single: false }],
  ["vacuum notes", { plain: false, single: true }],
  ["copy t to stdout", { copies: true, plain: false }],
  ["explain analyze select 1", { plain: false, single: true }],
  ["/* c */ begin isolation level serializable", { opens: true }],
  ["start transaction; select 1", { opens: true }],
  ["-- c\nset transaction read only", { opens: true }],
  ["set search_path to x", { opens: false, plain: false }],
])("%s is %o", (text, expected) => {
  expect(shapeOf(text)).toMatchObject(expected);
});

test("a text of a megabyte is read once, not once for each of its words", () => {
  const body = "create function f() returns int language sql begin atomic select 1 as atomic; end;".repeat(15_000);
  expect(shapeOf(`${body} commit; select 1`).continues).toBe(true);
});

test("a row of dashes behind a string is read once, not in all the ways in which it can be cut", () => {
  const dashes = "-".repeat(200);
  expect(shapeOf(`select ';' ${dashes}\nfrom t; commit; select 1`).continues).toBe(true);
  expect(shapeOf(`select ';' ${dashes}\n'; commit; select 1'`).continues).toBe(false);
});
