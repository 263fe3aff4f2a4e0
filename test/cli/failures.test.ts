import { beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { fleetOf, names, polls } from "./polls.ts";
import { catalogOf, ledgerOf, tenantSchemas, untouched } from "./traces.ts";

describe("one tenant's failure", () => {
  let database: TestDatabase;
  let project: TestProject;
  beforeAll(async () => {
    database = await createDatabase();
    project = await createProject({ database, migrations: polls, tenants: fleetOf(5) });
    await project.tenantctl(["migrate"]);
    await project.write("migrations/tenant/20260104000000_tags.sql", "create table tags (id int);\n");
    await project.write(
      "migrations/tenant/20260105000000_email.sql",
      "-- migrate:up\nalter table polls add email text;\nupdate polls set email = question;\n  create unique index on polls (email);\n",
    );
    await database.query("insert into t03.polls values (1, 'why?'), (2, 'why?')");
  });

  test("leaves its schema as it was, and stops nobody else; the message says whose, where and the SQLSTATE", async () => {
    const before = (await catalogOf(database)).filter((object) => object.startsWith("t03"));
    const result = await project.tenantctl(["migrate"]);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(
      /^5 tenants: 4 migrated, 0 current, 1 failed .*\n1 tenant left: mend what failed, then tenantctl migrate goes on/,
    );
    expect(result.stderr).toMatch(
      /^error: t03: could not create unique index.*\(migrations\/tenant\/20260105000000_email\.sql:4:3, SQLSTATE 23505\)$/m,
    );
    expect((await project.tenantctl(["status"])).stdout).toMatch(
      /^failed last: could not create unique index.*\(migrations\/tenant\/20260105000000_email\.sql:4:3, SQLSTATE 23505\) {2}t03$/m,
    );
    expect((await catalogOf(database)).filter((object) => object.startsWith("t03"))).toEqual(before);
    expect(await ledgerOf(database, "t03")).toEqual(names);
    expect(await ledgerOf(database, "t04")).toHaveLength(5);
  });

  test("in JSON: code, sqlState, migration, line and column; the others' outcome too", async () => {
    const result = await project.tenantctl(["migrate", "--json"]);
    expect(result.code).toBe(1);
    expect(result.json()).toMatchObject({
      ok: false,
      summary: { tenants: 5, migrated: 0, current: 4, failed: 1 },
      tenants: [
        {
          name: "t03",
          outcome: "failed",
          applied: [],
          error: { code: "SQL", sqlState: "23505", migration: "20260105000000_email", line: 4 },
        },
      ],
    });
  });

  test("is over once its cause is mended", async () => {
    await database.query("delete from t03.polls where id = 2");
    expect(await project.tenantctl(["migrate"])).toMatchObject({ code: 0 });
    expect((await project.tenantctl(["status", "--check", "--verify"])).code).toBe(0);
  });
});

describe("create-tenant that fails half way leaves neither schema nor entry", () => {
  const bad = "-- migrate:up\nselect 1;\nselect nonsense;\n";
  const cases: [string, Record<string, string>][] = [
    ["at its last migration", {}],
    [
      "after an enum value was added and used",
      {
        "20260104000000_type.sql": "create type mood as enum ('sad');",
        "20260105000000_value.sql": "alter type mood add value 'happy';",
        "20260106000000_use.sql": "create table moods (mood mood default 'happy'); insert into moods values ('happy');",
      },
    ],
    [
      "after a transaction:false in the middle",
      {
        "20260104000000_index.sql":
          "-- migrate:up transaction:false\ncreate index concurrently polls_q on polls (question);\n",
      },
    ],
  ];
  test.each(cases)("%s", async (_, migrations) => {
    const database = await createDatabase();
    const project = await createProject({
      database,
      migrations: { ...polls, ...migrations, "20260107000000_bad.sql": bad },
    });
    const result = await untouched(database, project, () => project.tenantctl(["create-tenant", "thor"]));
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(/^error: .*nonsense.*20260107000000_bad\.sql:3:8, SQLSTATE 42703\)$/m);
    await project.write("migrations/tenant/20260107000000_bad.sql", "select 1;");
    expect(await project.tenantctl(["create-tenant", "thor"])).toMatchObject({ code: 0 });
    expect(await ledgerOf(database, "thor")).toHaveLength(4 + Object.keys(migrations).length);
    const [schema] = await database.query("select obj_description('thor'::regnamespace) as comment");
    expect(schema).toEqual({ comment: null });
  });
});

describe("transaction:false that fails", () => {
  test("says what it left behind, and the next migrate starts over once the cause is mended", async () => {
    const database = await createDatabase();
    const migrations = {
      ...polls,
      "20260104000000_unique.sql":
        "-- migrate:up transaction:false\ncreate unique index concurrently polls_q on polls (question);\n",
    };
    const project = await createProject({ database, migrations, tenants: fleetOf(2) });
    await project.tenantctl(["migrate", "--to", names[2]]);
    await database.query("insert into t01.polls values (1, 'why?'), (2, 'why?')");
    const failed = await project.tenantctl(["migrate"]);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(
      /^error: t01: could not create unique index.*20260104000000_unique\.sql:2:.*SQLSTATE 23505/m,
    );
    expect(failed.stderr).toMatch(/^hint: .*invalid index "polls_q"/m);
    expect(await ledgerOf(database, "t01")).toEqual(names);
    await database.query("delete from t01.polls where id = 2");
    expect(await project.tenantctl(["migrate"])).toMatchObject({ code: 0 });
    const invalid = await database.query("select from pg_index where not indisvalid");
    expect(invalid).toEqual([]);
    expect((await project.tenantctl(["status", "--check", "--verify"])).code).toBe(0);
  });
});

test("a name that another schema has: the hint says to add that schema", async () => {
  const database = await createDatabase();
  await database.query("create table public.plans (id int)");
  const project = await createProject({ database, migrations: { "20260101000000_a.sql": "select * from plans;" } });
  const result = await project.tenantctl(["create-tenant", "thor"]);
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(/relation "plans" does not exist/);
  expect(result.stderr).toMatch(/^hint: .*sharedSchemas/m);
  expect(await tenantSchemas(database)).toEqual([]);
});
