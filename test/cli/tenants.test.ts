import { describe, expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { createProject, type ProjectContents } from "../support/project.ts";
import { names, polls } from "./polls.ts";
import { edited } from "./shapes.ts";
import { expectRefusal, ledgerOf, tenantSchemas, untouched } from "./traces.ts";

async function setUp(contents: ProjectContents = {}) {
  const database = await createDatabase();
  return { database, project: await createProject({ database, migrations: polls, ...contents }) };
}

describe("create-tenant", () => {
  test("registers, creates the schema and migrates it", async () => {
    const { database, project } = await setUp();
    const args = ["create-tenant", "thor", "--host", "Thor.Polls.local", "--label", "plan=free", "--label", "eu=1"];
    const created = await project.tenantctl(args);
    expect(created).toMatchObject({ code: 0, stdout: 'created thor: schema "thor", 3 migrations\n' });
    expect(await ledgerOf(database, "thor")).toEqual(names);
    expect(JSON.parse(await project.read("tenants.config.json")).tenants).toEqual({
      thor: { hosts: ["thor.polls.local"], labels: { plan: "free", eu: "1" } },
    });
  });

  test("migrates the shared schema first", async () => {
    const { database, project } = await setUp({
      shared: { "20260101000000_plans.sql": "create table plans (id int);" },
    });
    expect(await project.tenantctl(["create-tenant", "thor"])).toMatchObject({ code: 0 });
    expect(await ledgerOf(database, "public")).toEqual(["20260101000000_plans"]);
  });

  test("takes a schema of another name, quoted whatever it holds, and shows nothing that a terminal would obey", async () => {
    const { database, project } = await setUp();
    const schema = 'Glo"bex; drop schema public; --\u001b[2J';
    expect(await project.tenantctl(["create-tenant", "globex", "--schema", schema])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("public; --�[2J"),
    });
    expect((await project.tenantctl(["list"])).stdout).toMatch(/^globex {2}Glo"bex; drop schema public; --�\[2J$/m);
    expect(await tenantSchemas(database)).toEqual([schema]);
    expect((await project.tenantctl(["status", "--check"])).code).toBe(0);
  });

  test("is refused for a schema that exists, and says how to register that one", async () => {
    const { database, project } = await setUp();
    await database.query("create schema thor");
    const result = await untouched(database, project, () => project.tenantctl(["create-tenant", "thor"]));
    expectRefusal(result, { error: /schema "thor" exists/, hint: /add-tenant thor/ });
  });
});

describe("add-tenant", () => {
  const fill = "create schema thor; create table thor.polls (id bigint primary key, question text not null)";

  test("is refused for a schema that holds objects and no ledger, and names both ways out", async () => {
    const { database, project } = await setUp();
    await database.query(fill);
    const result = await untouched(database, project, () => project.tenantctl(["add-tenant", "thor"]));
    expectRefusal(result, { error: /no ledger/, hint: /--baseline.*--baseline-to/ });
  });

  test("--baseline-to takes migrations up to one as applied, and migrate applies the rest", async () => {
    const { database, project } = await setUp();
    await database.query(fill);
    const added = await project.tenantctl(["add-tenant", "thor", "--baseline-to", names[0], "--json"]);
    expect(added.code).toBe(0);
    expect(added.json()).toEqual({
      tenant: { name: "thor", schema: "thor", hosts: [], labels: {}, state: "active" },
      applied: [names[0]],
    });
    expect(await project.tenantctl(["migrate"])).toMatchObject({ code: 0 });
    expect(await ledgerOf(database, "thor")).toEqual(names);
  });

  test("--baseline takes all of them", async () => {
    const { database, project } = await setUp();
    await database.query(fill);
    const added = await project.tenantctl(["add-tenant", "thor", "--baseline"]);
    expect(added).toMatchObject({ code: 0, stdout: 'added thor: schema "thor", 3 migrations taken as applied\n' });
    expect((await project.tenantctl(["status", "--check"])).code).toBe(0);
  });

  test("registers a schema that has a ledger, as it is", async () => {
    const { project } = await setUp();
    await project.tenantctl(["create-tenant", "thor"]);
    await project.tenantctl(["remove-tenant", "thor"]);
    const add = ["add-tenant", "odin", "--schema", "thor"];
    expect(await project.tenantctl(add)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^error: the schema name "thor" was tenant "thor"'s until .*\nhint: wait 10 minutes, or .*--reuse-name.*\n$/,
      ),
    });
    expect(await project.tenantctl([...add, "--reuse-name"])).toMatchObject({ code: 0 });
    expect((await project.tenantctl(["status", "--check"])).code).toBe(0);
  });

  test("is refused without a schema, with a baseline on top of a ledger, and for a migration that isn't there", async () => {
    const { database, project } = await setUp();
    await project.tenantctl(["create-tenant", "odin"]);
    await project.tenantctl(["remove-tenant", "odin"]);
    await untouched(database, project, async () => {
      expectRefusal(await project.tenantctl(["add-tenant", "thor"]), {
        error: /no schema "thor"/,
        hint: /create-tenant thor/,
      });
      expectRefusal(await project.tenantctl(["add-tenant", "odin", "--baseline"]), {
        error: /has a ledger already/,
        hint: /without --baseline/,
      });
      expectRefusal(await project.tenantctl(["add-tenant", "odin", "--baseline-to", "nope"]), {
        error: /no migration is called "nope"/,
        hint: /file's name without the ending/,
      });
    });
  });
});

describe("remove-tenant", () => {
  test("leaves the data, and add-tenant takes it in again", async () => {
    const { database, project } = await setUp();
    await project.tenantctl(["create-tenant", "thor"]);
    await database.query("insert into thor.polls values (1, 'why?')");
    const removed = await project.tenantctl(["remove-tenant", "thor"]);
    expect(removed).toMatchObject({ code: 0, stdout: 'removed thor; its schema "thor" stays\n' });
    expect((await project.tenantctl(["list"])).stdout).toBe("no tenants\n");
    expect(await project.tenantctl(["add-tenant", "thor"])).toMatchObject({ code: 0 });
    expect(await database.query("select * from thor.polls")).toHaveLength(1);
  });

  test("--drop-schema without a terminal needs --yes", async () => {
    const { database, project } = await setUp();
    await project.tenantctl(["create-tenant", "thor"]);
    const args = ["remove-tenant", "thor", "--drop-schema"];
    const refused = await untouched(database, project, () => project.tenantctl(args, { input: "thor\n" }));
    expectRefusal(refused, { error: /needs --yes/, hint: /nothing was touched/ });
    const dropped = await project.tenantctl([...args, "--yes"]);
    expect(dropped).toMatchObject({ code: 0, stdout: 'removed thor; dropped its schema "thor"\n' });
    expect(await tenantSchemas(database)).toEqual([]);
    expect(JSON.parse(await project.read("tenants.config.json")).tenants).toEqual({});
  });

  test("--drop-schema is refused while another schema's objects hang on it", async () => {
    const { database, project } = await setUp();
    await project.tenantctl(["create-tenant", "thor"]);
    await database.query("create view public.report as select * from thor.polls");
    const result = await untouched(database, project, () =>
      project.tenantctl(["remove-tenant", "thor", "--drop-schema", "--yes"]),
    );
    expectRefusal(result, { error: /view report/, hint: /nothing was touched/ });
  });

  test("--drop-schema strikes out a tenant whose schema is gone already", async () => {
    const { database, project } = await setUp({ tenants: { thor: {} } });
    expect((await project.tenantctl(["remove-tenant", "thor", "--drop-schema", "--yes"])).code).toBe(0);
    expect(await tenantSchemas(database)).toEqual([]);
    expect((await project.tenantctl(["list"])).stdout).toBe("no tenants\n");
  });
});

test("edit-tenant changes state, hosts and labels, once, and needs no database", async () => {
  const project = await createProject({ tenants: { thor: { hosts: ["a.local"], labels: { trial: "1" } }, loki: {} } });
  const run = (...args: string[]) => project.tenantctl(["edit-tenant", ...args]);
  const words = [
    "thor",
    "--state",
    "suspended",
    "--label",
    "plan=paid",
    "--remove-label",
    "trial",
    "--host",
    "B.local",
  ];
  expect(await run(...words)).toMatchObject({
    code: 0,
    stdout: "changed thor: hosts a.local b.local, labels plan=paid, state suspended\n",
    stderr: "",
  });
  const again = await run(...words, "--json");
  const thor = {
    name: "thor",
    schema: "thor",
    hosts: ["a.local", "b.local"],
    labels: { plan: "paid" },
    state: "suspended",
  };
  expect(edited.parse(again.json())).toEqual({ tenant: thor, changed: [] });
  expect(await run("thor", "--state", "suspended")).toMatchObject({ code: 0, stdout: "thor: nothing to change\n" });
  expectRefusal(await run("loki", "--host", "b.local"), { error: /already that of tenant "thor"/, hint: /one tenant/ });
  expectRefusal(await run("loki"), { error: /nothing is said that is to change/, hint: /--state/ });
});

test("list shows tenants, schemas, hosts and labels of a selection, and needs no database", async () => {
  const project = await createProject({
    tenants: {
      thor: { hosts: ["thor.polls.local", "t.polls.local"], labels: { plan: "free" } },
      potter: { schema: "hp", labels: { plan: "paid" } },
    },
  });
  const all = await project.tenantctl(["list"]);
  expect(all).toMatchObject({ code: 0, stderr: "" });
  expect(all.stdout.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
    ["TENANT", "SCHEMA", "HOSTS", "LABELS"],
    ["thor", "thor", "thor.polls.local t.polls.local", "plan=free"],
    ["potter", "hp", "plan=paid"],
    [""],
  ]);
  const free = await project.tenantctl(["list", "--label", "plan=free", "--except", "p*"]);
  expect(free.stdout).toContain("thor");
  expect(free.stdout).not.toContain("potter");
});

test("create-schemas creates what is missing, migrates nothing, and is done the second time", async () => {
  const { database, project } = await setUp({ tenants: { thor: {}, potter: {}, loki: {} } });
  await project.tenantctl(["migrate", "loki"]);
  const made = await project.tenantctl(["create-schemas", "--except", "potter"]);
  expect(made.code).toBe(0);
  expect(made.stdout).toMatch(/^2 tenants: 1 created, 1 unchanged|^2 tenants: 1 created, 1 current/);
  expect(await tenantSchemas(database)).toEqual(["loki", "thor"]);
  expect(await ledgerOf(database, "thor")).toEqual([]);
  await untouched(database, project, () => project.tenantctl(["create-schemas", "thor"]));
  expect(await project.tenantctl(["migrate"])).toMatchObject({ code: 0 });
  expect(await ledgerOf(database, "thor")).toEqual(names);
});
