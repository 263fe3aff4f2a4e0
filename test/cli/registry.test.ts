// The registry in the database, from the command line.
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createDatabase, newest } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { expectRefusal, tenantSchemas } from "./traces.ts";

async function initialised(...options: string[]): Promise<TestProject> {
  const project = await createProject();
  await rm(project.configFile);
  await rm(project.path("migrations"), { recursive: true });
  const init = await project.tenantctl(["init", "--registry", "table", ...options]);
  expect(init).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(await project.read("tenants.config.json")).tenants).toEqual({ table: "public.tenants" });
  return project;
}

test("a table from init: create-tenant, list, export, import", async () => {
  const [project, database] = [await initialised(), await createDatabase(newest())];
  const run = (...args: string[]) => project.tenantctl(args, { env: { DATABASE_URL: database.url } });
  expectRefusal(await run("list"), {
    error: /the table public\.tenants, which lists the tenants, does not exist/,
    hint: /tenantctl migrate/,
  });
  const created = await run("create-tenant", "thor", "--host", "Thor.local", "--label", "plan=free", "--json");
  const thor = { name: "thor", schema: "thor", hosts: ["thor.local"], labels: { plan: "free" }, state: "active" };
  expect(created.json()).toEqual({ tenant: thor, applied: ["20260101000000_create_polls"] });

  await project.write(
    "more.yaml",
    "tenants:\n  loki: {schema: trickster, state: suspended}\n  old: {state: archived}\n",
  );
  expect((await run("import", "more.yaml", "--dry-run")).stdout).toBe(
    "add     loki\nadd     old\n2 added, 0 changed, 0 unchanged; nothing was written\n",
  );
  expect((await run("import", "more.yaml", "--json")).json()).toEqual({
    added: ["loki", "old"],
    changed: [],
    unchanged: 0,
  });
  expect((await run("migrate", "--json")).json()).toMatchObject({ summary: { tenants: 2, migrated: 1 } });
  expect((await run("list")).stdout).toBe(
    `TENANT  SCHEMA     STATE      HOSTS       LABELS
loki    trickster  suspended
old     old        archived
thor    thor       active     thor.local  plan=free
`,
  );
  expect((await run("list", "--state", "active", "--json")).json()).toEqual({ tenants: [thor] });
  expect((await run("sql", "--all", "--state", "suspended", "select 1 as one", "--json")).json()).toMatchObject({
    rows: [{ tenant: "loki", one: 1 }],
  });

  expect((await run("export", "--out", "all.json")).stdout).toBe("all.json: 3 tenants\n");
  const listing = {
    tenants: {
      loki: { schema: "trickster", state: "suspended" },
      old: { state: "archived" },
      thor: { hosts: ["thor.local"], labels: { plan: "free" } },
    },
  };
  expect(JSON.parse(await project.read("all.json"))).toEqual(listing);
  expectRefusal(await run("export", "--out", "all.json"), { error: /all\.json/, hint: /not overwritten/ });
  expectRefusal(await run("list", "--state", "gone"), {
    error: /a state is active, suspended, archived or all/,
    hint: /--help/,
  });
});

test("what is wrong with the rows stops every command before it touches anything, and is listed", async () => {
  const database = await createDatabase(newest());
  await database.query("create table tenants (name text); insert into tenants values ('thor'), ('a b'), ('thor')");
  const project = await createProject({
    database,
    migrations: { "1_a.sql": "create table a ()" },
    config: { tenants: { table: "tenants" } },
  });
  expectRefusal(await project.tenantctl(["migrate"]), {
    error: /public\.tenants: thor: the name is there twice/,
    hint: /nothing was touched/,
  });
  const doctor = await project.tenantctl(["doctor", "--json"]);
  expect(doctor.json()).toMatchObject({ findings: [{ check: "registry", message: expect.stringContaining("twice") }] });
  await database.query("update tenants set name = ctid::text");
  expectRefusal(await project.tenantctl(["create-schemas"]), {
    error: Array.from({ length: 3 }, () => /tenant name .* must start with a letter or digit/),
    hint: /nothing was touched/,
  });
  expect(await tenantSchemas(database)).toEqual([]);
});

test("create-tenant that is killed leaves neither a row nor a schema, and the next one succeeds", async () => {
  const database = await createDatabase(newest());
  await database.query("create table tenants (name text primary key)");
  const project = await createProject({
    database,
    migrations: {
      "1_a.sql": "create table a (); select pg_sleep(case when exists (select from public.slow) then 60 else 0 end)",
    },
    config: { tenants: { table: "tenants" } },
  });
  await database.query("create table slow as select 1");
  const run = project.startTenantctl(["create-tenant", "thor"]);
  const sleepers = async () =>
    (
      await database.query(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
      )
    ).length;
  while ((await sleepers()) === 0) await sleep(10);
  run.kill("SIGKILL");
  await run.ended;
  await database.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()",
  );
  while ((await sleepers()) > 0) await sleep(10);
  expect(await tenantSchemas(database)).toEqual([]);
  expect(await database.query("select * from tenants")).toEqual([]);
  await database.query("drop table slow; create table slow (id int)");
  expect(await project.tenantctl(["create-tenant", "thor"])).toMatchObject({ code: 0 });
  expect(await tenantSchemas(database)).toEqual(["thor"]);
});

test("in the embedded database, too", { timeout: 120_000 }, async () => {
  const project = await initialised("--embedded");
  expect(await project.tenantctl(["create-tenant", "thor", "--host", "a.b"], { timeoutMs: 90_000 })).toMatchObject({
    code: 0,
  });
});
