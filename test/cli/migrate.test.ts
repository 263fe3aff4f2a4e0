import { beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { fleetOf, names, polls } from "./polls.ts";
import { expectRefusal, ledgerOf, tenantSchemas, untouched } from "./traces.ts";

let database: TestDatabase;
let project: TestProject;

beforeAll(async () => {
  database = await createDatabase();
  project = await createProject({ database, migrations: polls, tenants: fleetOf(4) });
});

describe("migrate", () => {
  test("--dry-run prints the plan and touches nothing", async () => {
    const plan = await untouched(database, project, () => project.tenantctl(["migrate", "--dry-run", "--steps", "2"]));
    expect(plan).toMatchObject({ code: 0, stderr: "" });
    expect(plan.stdout).toMatch(new RegExp(`t01 +missing +${names[0]}, ${names[1]}\n`));
    expect(plan.stdout).toMatch(/4 tenants: 4 to do, 0 refused; nothing was touched\n$/);
  });

  test("--to applies none after that one; names and globs select", async () => {
    const result = await project.tenantctl(["migrate", "t01", "t0[23]", "--except", "t03", "--to", names[0]]);
    expect(result.code).toBe(0);
    expect(result.stdout).toMatch(/^2 tenants: 2 migrated, 0 current \(run \d{14}-[0-9a-f]{6}, /);
    expect(result.stderr.trimEnd().split("\n").sort()).toEqual([
      expect.stringMatching(/^t01 {2}migrated {2}1 migration {2}[\d.]+ m?s$/),
      expect.stringMatching(/^t02 {2}migrated/),
    ]);
    expect(await tenantSchemas(database)).toEqual(["t01", "t02"]);
    expect(await ledgerOf(database, "t01")).toEqual([names[0]]);
  });

  test("--steps applies at most so many to each tenant", async () => {
    expect((await project.tenantctl(["migrate", "t01", "t03", "--steps", "1"])).code).toBe(0);
    expect(await ledgerOf(database, "t01")).toEqual(names.slice(0, 2));
    expect(await ledgerOf(database, "t03")).toEqual(names.slice(0, 1));
  });

  test("status groups by how far behind they are", async () => {
    const status = await project.tenantctl(["status"]);
    expect(status).toMatchObject({ code: 0, stderr: "" });
    expect(status.stdout).toMatch(new RegExp(`1 +(1|one) behind at ${names[1]} +t01\n`));
    expect(status.stdout).toMatch(new RegExp(`2 +2 behind at ${names[0]} +t02, t03\n`));
    expect(status.stdout).toMatch(/1 +missing +t04\n/);
    expect(status.stdout).toMatch(/4 tenants, 0 current\n$/);
    const check = await project.tenantctl(["status", "--check", "--quiet"]);
    expect(check).toMatchObject({ code: 4, stdout: "", stderr: "" });
  });

  test("brings the rest up to date, whatever the concurrency, and says nothing more the second time", async () => {
    expect((await project.tenantctl(["migrate", "--concurrency", "50"])).code).toBe(0);
    expect((await project.tenantctl(["status", "--check", "--verify"])).code).toBe(0);
    const again = await untouched(database, project, () => project.tenantctl(["migrate"]));
    expect(again).toMatchObject({ code: 0, stderr: "" });
    expect(again.stdout).toMatch(/^4 tenants: 0 migrated, 4 current/);
  });

  test("status --list lists those that are current too", async () => {
    const { stdout } = await project.tenantctl(["status", "--list", "t0[12]"]);
    expect(stdout).toMatch(new RegExp(`TENANT +SCHEMA +STATE +VERSION +PENDING\nt01 +t01 +current +${names[2]} +0\n`));
    expect(stdout).toMatch(/2 tenants, 2 current\n$/);
  });

  test("the shards of a fleet are parts that together are the whole", async () => {
    const shards = await Promise.all(
      ["1/2", "2/2"].map((shard) => project.tenantctl(["list", "--json", "--shard", shard])),
    );
    const found = shards.flatMap((shard) =>
      shard.json<{ tenants: { name: string }[] }>().tenants.map(({ name }) => name),
    );
    expect(found.sort()).toEqual(["t01", "t02", "t03", "t04"]);
  });
});

describe("rollback", () => {
  test("needs exactly one of --steps, --to and --run", async () => {
    for (const args of [[], ["--steps", "1", "--to", names[0]], ["--to", "0", "--run", "x"]]) {
      const result = await untouched(database, project, () => project.tenantctl(["rollback", ...args]));
      expectRefusal(result, { error: /exactly one of --steps, --to and --run/, hint: /rollback --steps 1/ });
    }
  });

  test("--steps undoes the last ones, --to what came after one, which stays, --to 0 all", async () => {
    const one = await project.tenantctl(["rollback", "t01", "--steps", "1"]);
    expect(one.code).toBe(0);
    expect(one.stdout).toMatch(/^1 tenant: 1 reverted, 0 unchanged/);
    expect(await ledgerOf(database, "t01")).toEqual(names.slice(0, 2));
    expect((await project.tenantctl(["rollback", "t0[12]", "--to", names[0]])).code).toBe(0);
    expect(await ledgerOf(database, "t02")).toEqual([names[0]]);
    expect((await project.tenantctl(["rollback", "t02", "--to", "0"])).code).toBe(0);
    expect(await ledgerOf(database, "t02")).toEqual([]);
    expect(await database.query("select from pg_tables where schemaname = 't02'")).toHaveLength(1);
  });

  test("--run undoes just what that run applied, tenant by tenant", async () => {
    const { run } = (await project.tenantctl(["migrate", "--json"])).json<{ run: string }>();
    const undone = await project.tenantctl(["rollback", "--run", run, "--json"]);
    expect(undone.code).toBe(0);
    expect(undone.json()).toMatchObject({
      summary: { reverted: 2, current: 2 },
      tenants: [
        { name: "t01", reverted: [names[2], names[1]] },
        { name: "t02", reverted: [names[2], names[1], names[0]] },
      ],
    });
  });

  test("--run is refused across newer migrations, and for a run that nobody knows", async () => {
    const { run } = (await project.tenantctl(["migrate", "t02", "--steps", "1", "--json"])).json<{ run: string }>();
    await project.tenantctl(["migrate", "t02"]);
    const refused = await untouched(database, project, () => project.tenantctl(["rollback", "--run", run]));
    expectRefusal(refused, { error: new RegExp(`t02: ${names[1]} came after`), hint: /roll that back first/ });
    const unknown = await untouched(database, project, () => project.tenantctl(["rollback", "--run", "nope"]));
    expectRefusal(unknown, { error: /no run is called "nope"/, hint: /tenantctl runs/ });
  });

  test("is refused, before anything is touched, where a migration has no down section", async () => {
    await project.write("migrations/tenant/20260104000000_tags.sql", "create table tags (id int);\n");
    await project.tenantctl(["migrate"]);
    const refused = await untouched(database, project, () => project.tenantctl(["rollback", "--steps", "2"]));
    expectRefusal(refused, {
      error: /no -- migrate:down section \(.*20260104000000_tags\.sql\)/,
      hint: /nothing was touched/,
    });
  });
});

test("runs remembers migrations and rollbacks, newest first, with the failures of the last", async () => {
  await project.write("migrations/tenant/20260105000000_bad.sql", "create table oops (id nosuchtype);\n");
  expect((await project.tenantctl(["migrate", "t01"])).code).toBe(1);
  const { code, stdout, stderr } = await project.tenantctl(["runs"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.split("\n");
  expect(lines[0]).toMatch(/^RUN +COMMAND +STARTED +FINISHED +CHANGED +FAILED +SKIPPED$/);
  expect(lines[1]).toMatch(/^\d{14}-\w{6} +migrate +\S+Z +\S+Z +0 +1 +0$/);
  expect(stdout).toMatch(/ rollback /);
  expect(stdout).toMatch(
    /failed: t01: .*nosuchtype.* \(migrations\/tenant\/20260105000000_bad\.sql:1:23, SQLSTATE 42704\)/,
  );
  const last = await project.tenantctl(["runs", "--limit", "1", "--json"]);
  expect(last.json<{ runs: unknown[] }>().runs).toHaveLength(1);
});
