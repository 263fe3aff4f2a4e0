// Migrations as people have written them: what reaches out of a tenant's schema is refused before anything is touched, and settings end with their migration.
import { describe, expect, test } from "vitest";
import { createTenant, type Fleet, lint, migrate, planMigrate } from "../../src/fleet/index.js";
import { createDatabase, servers } from "../support/database.ts";
import type { ProjectContents } from "../support/project.ts";
import { tablesIn, tenantsNamed, testFleet } from "./fleet.ts";

const tenants = tenantsNamed("t1", "t2", "t3");

describe.each(servers())("PostgreSQL $major", (server) => {
  async function opened(contents: ProjectContents) {
    const database = await createDatabase(server);
    return { database, ...(await testFleet(database, { tenants, ...contents })) };
  }

  const failuresOf = async (fleet: Fleet) =>
    (await migrate(fleet, {})).tenants.map(({ outcome, error }) => [outcome, error?.code, error?.message]);

  test("SET LOCAL ends with its migration: the next one's foreign key is checked, all together or one by one", async () => {
    const { fleet, database } = await opened({
      migrations: {
        "1_base.sql":
          "create table users (id int primary key); create table pages (id int primary key, owner int references users)",
        "2_import.sql": "set local session_replication_role = replica; insert into pages values (1, 1)",
        "3_more.sql": "insert into pages values (2, 999)",
      },
    });
    const results = (await migrate(fleet, {})).tenants;
    expect(results.map(({ outcome, error }) => [outcome, error?.sqlState, error?.migration])).toEqual(
      Object.keys(tenants).map(() => ["failed", "23503", "3_more"]),
    );
    expect(await tablesIn(database, "t1")).toEqual([]);
  });

  test.each([
    ["a DO block", "1_it.sql", "do $$ begin set local work_mem = '7MB'; end $$"],
    ["a function", "1_it.sql", "select set_config('work_mem', '7MB', true)"],
    ["SET", "1_it.sql", "set work_mem = '7MB'"],
    ["a module", "1_it.mjs", "export const up = ({ client }) => client.query(\"set local work_mem = '7MB'\");"],
  ])("a setting made by %s is the server's again for the next migration", async (_, file, text) => {
    const { fleet, database } = await opened({
      migrations: {
        [file]: text,
        "2_then.sql": "create table then_it_was as select current_setting('work_mem') as value",
      },
    });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true });
    const [server] = await database.query("select current_setting('work_mem') as value");
    expect(await database.query("select value from t1.then_it_was")).toEqual([server]);
  });

  test("a new tenant's migration gives nobody a right on another tenant's table", async () => {
    const { fleet, database } = await opened({
      migrations: { "1_a.sql": "create table a ()" },
      tenants: tenantsNamed("t1"),
    });
    await migrate(fleet, {});
    const { fleet: next } = await testFleet(database, {
      migrations: { "1_a.sql": "create table a (); grant select on t1.a to public" },
      tenants: tenantsNamed("t1"),
    });
    await expect(createTenant(next, { name: "t2" })).rejects.toMatchObject({
      code: "OUTSIDE_SCHEMA",
      problems: [expect.stringContaining("changes the rights of t1.a")],
    });
  });

  test("SET CONSTRAINTS ends with its migration: the next one's rows are checked at once", async () => {
    const { fleet } = await opened({
      migrations: {
        "1_a.sql": `create table a (id int primary key, other int references a deferrable);
          set constraints all deferred; insert into a values (1, 2); insert into a values (2, 1)`,
        "2_b.sql": "insert into a values (3, 4); insert into a values (4, 3)",
      },
      tenants: tenantsNamed("t1"),
    });
    const [result] = (await migrate(fleet, {})).tenants;
    expect(result?.error).toMatchObject({ sqlState: "23503", migration: "2_b" });
  });

  test("a temporary table called like a real one is refused, before its name leads to the real one", async () => {
    const { fleet } = await opened({
      migrations: { "1_a.sql": "create table a (n int)", "2_b.sql": "create temp table a (n int); delete from a" },
      tenants: tenantsNamed("t1"),
    });
    const [result] = (await migrate(fleet, {})).tenants;
    expect(result?.error).toMatchObject({
      code: "MIGRATIONS_INVALID",
      message: "the temporary table a is called like a real one",
      migration: "2_b",
    });
  });

  describe("a tenant's migration whose names lead to shared tables", () => {
    const shared = {
      "1_shared.sql":
        "create table customers (id int primary key); insert into customers values (1), (2); create table plans (id int primary key)",
    };
    const config = (migrations: Record<string, string>): ProjectContents => ({
      shared,
      migrations: {
        "1_posts.sql": "drop table if exists posts cascade; create table posts (id int primary key)",
        ...migrations,
      },
      config: { sharedSchemas: ["public"] },
    });

    test.each([
      [
        "a table that is dropped, and made anew",
        "drop table if exists customers cascade; create table customers (id int primary key)",
        "it drops public.customers, outside of its schema",
      ],
      [
        "a column",
        "alter table plans add column price int; update plans set price = 1",
        "it changes public.plans, outside of its schema",
      ],
    ])("%s: refused, and the table is as it was", async (_, sql, message) => {
      const { fleet, database } = await opened(config({ "2_it.sql": sql }));
      expect(await failuresOf(fleet)).toEqual(
        Object.keys(tenants).map((name) => ["failed", "OUTSIDE_SCHEMA", `${message} "${name}"`]),
      );
      expect(await database.query("select count(*)::int from public.customers")).toEqual([{ count: 2 }]);
      const columns = "select column_name as name from information_schema.columns where table_schema = 'public'";
      expect(await database.query(`${columns} and table_name = 'plans'`)).toEqual([{ name: "id" }]);
    });
  });

  test("a foreign key that an ORM wrote to public: refused before the first tenant, unless it is allowed", async () => {
    const migrations = {
      "1_init.sql": `create table users (id int primary key); create table posts (author int not null);
alter table posts add constraint posts_author foreign key (author) references "public"."users"("id")`,
    };
    const { fleet, database, project, again } = await opened({ migrations });
    await database.query("create table public.users (id int primary key)");
    const refusal = { code: "OUTSIDE_SCHEMA", problems: [expect.stringContaining("refers to public.users")] };
    await expect(planMigrate(fleet, {})).rejects.toMatchObject(refusal);
    await expect(migrate(fleet, {})).rejects.toMatchObject(refusal);
    expect(await database.query("select from pg_namespace where nspname like 't_'")).toEqual([]);
    const config = JSON.parse(await project.read("tenants.config.json"));
    config.migrations.mayChange = ["public.users"];
    await project.write("tenants.config.json", JSON.stringify(config));
    expect(await migrate(await again(), {})).toMatchObject({ ok: true });
  });

  test("CASCADE in a shared migration: lint's error, told by migrate, and a dry run counts what would go", async () => {
    const { fleet, database, project, again, events } = await opened({
      shared: {
        "1_shared.sql": "create table plans (id int primary key, name varchar(10), price int); create extension hstore",
      },
      migrations: {
        "1_a.sql":
          "create view my_plans as select name, price from plans; create table orders (id int primary key, plan int references plans, tags hstore)",
      },
      config: { sharedSchemas: ["public"] },
    });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true });
    await project.write(
      "migrations/shared/2_wider.sql",
      "alter table plans drop column price cascade; drop extension hstore cascade",
    );
    const later = await again();
    expect((await lint(later)).findings.filter(({ rule }) => rule === "cascade")).toHaveLength(2);
    const { concerns } = await planMigrate(later, {});
    expect(concerns.filter((concern) => concern.includes("(cascade)"))).toHaveLength(2);
    expect(concerns).toContainEqual(
      expect.stringMatching(/drop column price cascade would take 3 objects in 3 tenants' schemas: view t1\.my_plans/),
    );
    expect(concerns).toContainEqual(
      expect.stringMatching(/hstore cascade would take 3 objects in 3 tenants' schemas: table column t1\.orders\.tags/),
    );
    expect(await database.query("select count(*)::int from pg_views where viewname = 'my_plans'")).toEqual([
      { count: 3 },
    ]);
    events.length = 0;
    await migrate(later, {});
    expect(events.filter((event) => event.type === "warning" && event.message.includes("(cascade)"))).toHaveLength(2);
  });
});
