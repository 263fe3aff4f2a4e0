import { rm } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { names, polls } from "./polls.ts";
import { expectRefusal, ledgerOf, untouched } from "./traces.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

function projectWith(migrations: Record<string, string>): Promise<TestProject> {
  return createProject({ database, migrations, tenants: { thor: {}, odin: {} } });
}

describe("migrations are refused before anything is touched", () => {
  test("with an empty folder, and without one", async () => {
    const project = await projectWith({});
    await untouched(database, project, async () => {
      for (const args of [["migrate"], ["status"], ["create-tenant", "loki"]]) {
        expectRefusal(await project.tenantctl(args), {
          error: /no migrations in the folder \(.*\)/,
          hint: /new-migration/,
        });
      }
      await rm(project.path("migrations"), { recursive: true });
      expectRefusal(await project.tenantctl(["migrate"]), { error: /there is no such folder/, hint: /new-migration/ });
    });
  });

  test("with two of one version, with a strange name, and with the same name in SQL and TypeScript", async () => {
    const twins = await projectWith({ ...polls, "20260103000000_more.sql": "select 1;" });
    expectRefusal(await untouched(database, twins, () => twins.tenantctl(["migrate"])), {
      error: /two migrations of version 20260103000000: 20260103000000_more\.sql and 20260103000000_votes\.sql/,
      hint: /nothing was touched/,
    });
    const strange = await projectWith({
      ...polls,
      "add votes.sql": "select 1;",
      "20260103000000_votes.ts": "export const up = 1",
    });
    expectRefusal(await untouched(database, strange, () => strange.tenantctl(["migrate"])), {
      error: [/add votes\.sql/, /two migrations of version 20260103000000/],
      hint: /nothing was touched/,
    });
  });

  test("for what would break the transaction or the schema, each with file and line", async () => {
    const project = await projectWith({
      ...polls,
      "20260104000000_begin.sql": "-- migrate:up\nBEGIN;\nselect 1;\nCOMMIT;\n",
      "20260105000000_path.sql": "-- migrate:up\nselect 1;\nset search_path to public;\n",
      "20260106000000_dump.sql": "select 1;\n\\connect other\n",
      "20260107000000_copy.sql": "select 1;\n\ncopy polls from stdin;\n",
    });
    await untouched(database, project, async () => {
      for (const args of [["migrate"], ["migrate", "--dry-run"], ["create-tenant", "loki"]]) {
        expectRefusal(await project.tenantctl(args), {
          error: [
            /BEGIN .*20260104000000_begin\.sql:2\)/,
            /COMMIT .*20260104000000_begin\.sql:4\)/,
            /search_path.*20260105000000_path\.sql:3\)/,
            /psql.*20260106000000_dump\.sql:2\)/,
            /COPY FROM STDIN.*20260107000000_copy\.sql:3\)/,
          ],
          hint: /nothing was touched/,
        });
      }
    });
  });

  test("for another tool's markers, and for lookups in the catalogs without a schema", async () => {
    const goose = await projectWith({
      ...polls,
      "20260104000000_users.sql": "-- +goose Up\nselect 1;\n-- +goose Down\nselect 2;\n",
    });
    expectRefusal(await untouched(database, goose, () => goose.tenantctl(["status"])), {
      error: [/goose's marker.*write -- migrate:up .*users\.sql:1\)/, /write -- migrate:down .*users\.sql:3\)/],
      hint: /nothing was touched; write -- migrate:up above.*tenantctl repair$/,
    });
    const lookup = await projectWith({
      ...polls,
      "20260104000000_mood.sql":
        "do $$ begin\n  if not exists (select 1 from pg_type where typname = 'mood') then null; end if;\nend $$;\n",
    });
    expectRefusal(await untouched(database, lookup, () => lookup.tenantctl(["migrate", "--dry-run"])), {
      error: /typname 'mood' is looked up in pg_type without a schema.*_mood\.sql:2\)/,
      hint: /nothing was touched; add "and typnamespace = .*"mayLookUp": \["20260104000000_mood"\]/,
    });
  });

  test("for a module without up, and one that can't be loaded", async () => {
    const project = await projectWith({
      ...polls,
      "20260104000000_none.ts": "export const nothing = 1;\n",
      "20260105000000_broken.ts": "import './nowhere.js';\n",
    });
    const result = await untouched(database, project, () => project.tenantctl(["migrate"]));
    expectRefusal(result, {
      error: [/exports no function up.*20260104000000_none\.ts/, /can't load.*20260105000000_broken\.ts/],
      hint: /nothing was touched/,
    });
  });
});

describe("tenants are refused one by one, the others are migrated", () => {
  test("changed, ahead, unmanaged and unreadable ones, each with a hint", async () => {
    const own = await createDatabase();
    const tenants = { changed: {}, ahead: {}, unmanaged: {}, unreadable: {}, fine: {} };
    const project = await createProject({ database: own, migrations: polls, tenants });
    await project.tenantctl(["migrate", "changed", "ahead", "unreadable", "--to", names[0]]);
    await own.query("insert into ahead.tenantctl_migrations values ('20990101000000_later', 'x', 'r', now(), 1)");
    await own.query("update changed.tenantctl_migrations set checksum = 'other'");
    await own.query("alter table unreadable.tenantctl_migrations rename checksum to sum");
    for (const schema of ["ahead", "changed", "unreadable"])
      await own.query(`comment on table ${schema}.tenantctl_migrations is 'odd'`);
    await own.query("create schema unmanaged; create table unmanaged.theirs ()");

    const status = await project.tenantctl(["status"]);
    expect(status.code).toBe(1);
    expect(status.stderr).toMatch(/^error: unreadable: its ledger can't be read: column .*\(SQLSTATE 42703\)\n/);
    expect(status.stdout).toMatch(/1 +unreadable +unreadable\n/);
    expect((await project.tenantctl(["status", "--check"])).code).toBe(4);
    expect(status.stdout).toMatch(/1 +missing +fine/);
    expect(status.stdout).toMatch(new RegExp(`1 +changed at ${names[0]} +changed`));
    expect(status.stdout).toMatch(/1 +ahead at 20990101000000_later +ahead/);
    expect(status.stdout).toMatch(/1 +unmanaged +unmanaged/);

    const result = await project.tenantctl(["migrate"]);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(/^5 tenants: 1 migrated, 0 current, 4 failed/);
    expect(result.stderr).toMatch(
      /error: changed: 20260101000000_polls was edited after.*\nhint: restore the file.*repair/,
    );
    expect(result.stderr).toMatch(
      /error: ahead: 20990101000000_later .*no file describes it\nhint: deploy the release/,
    );
    expect(result.stderr).toMatch(/error: unmanaged: .*no ledger.*\nhint: .*tenantctl baseline unmanaged/);
    expect(await ledgerOf(own, "fine")).toEqual(names);
    expect(await ledgerOf(own, "changed")).toEqual([names[0]]);

    const codes = (await project.tenantctl(["migrate", "--json"]))
      .json<{ tenants: { name: string; error?: { code: string } }[] }>()
      .tenants.map(({ name, error }) => [name, error?.code]);
    expect(codes).toEqual([
      ["changed", "CHANGED"],
      ["ahead", "AHEAD"],
      ["unmanaged", "UNMANAGED"],
      ["unreadable", "SQL"],
    ]);
  });

  test("an edited file: repair takes it as it is; restoring it is enough, too", async () => {
    const own = await createDatabase();
    const project = await createProject({ database: own, migrations: polls, tenants: { thor: {}, odin: {} } });
    await project.tenantctl(["migrate"]);
    const file = "migrations/tenant/20260102000000_choices.sql";
    const before = await project.read(file);
    await project.write(file, before.replace("create table", "-- why not\ncreate table"));
    expect((await project.tenantctl(["status", "--check"])).code).toBe(4);
    expectRefusal(await project.tenantctl(["rollback", "--steps", "2"]), {
      error: /thor: .*choices was edited/,
      hint: /repair/,
    });
    await project.write(file, before.replaceAll("\n", "\r\n"));
    expect((await project.tenantctl(["status", "--check"])).code).toBe(0);
    await project.write(file, before.replace("create table", "-- why not\ncreate table"));
    const repaired = await project.tenantctl(["repair", "thor"]);
    expect(repaired).toMatchObject({ code: 0, stdout: expect.stringMatching(/^1 tenant: 1 repaired/) });
    const { stdout } = await project.tenantctl(["status"]);
    expect(stdout).toMatch(/1 +current/);
    expect(stdout).toMatch(/1 +changed.*odin/);
  });

  test("a file that is gone, or a newer release's: --allow-ahead migrates the rest", async () => {
    const own = await createDatabase();
    const project = await createProject({ database: own, migrations: polls, tenants: { thor: {} } });
    await project.tenantctl(["migrate"]);
    await rm(project.path("migrations/tenant/20260103000000_votes.sql"));
    expect((await project.tenantctl(["status"])).stdout).toMatch(/1 +ahead at 20260103000000_votes +thor/);
    expect((await project.tenantctl(["migrate"])).code).toBe(1);
    expectRefusal(await project.tenantctl(["rollback", "--steps", "1"]), {
      error: /no file describes/,
      hint: /restore/,
    });
    await project.write("migrations/tenant/20260104000000_tags.sql", "create table tags ();");
    expect(await project.tenantctl(["migrate", "--allow-ahead"])).toMatchObject({ code: 0 });
    expect(await ledgerOf(own, "thor")).toEqual([...names, "20260104000000_tags"]);
  });
});
