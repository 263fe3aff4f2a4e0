import { describe, expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { freePort } from "../support/keeper.ts";
import { createProject, type ProjectContents, type TestProject } from "../support/project.ts";
import { fleetOf, names, polls } from "./polls.ts";
import * as shapes from "./shapes.ts";
import { expectRefusal, untouched } from "./traces.ts";

interface Finding {
  severity: string;
  check: string;
  where: string;
  message: string;
  hint: string;
}

async function findings(project: TestProject, code: number): Promise<Finding[]> {
  const result = await project.tenantctl(["doctor", "--json"]);
  expect(result.code, result.stdout + result.stderr).toBe(code);
  return result.json<{ findings: Finding[] }>().findings;
}

async function setUp(contents: ProjectContents = {}) {
  const database = await createDatabase();
  return { database, project: await createProject({ database, migrations: polls, ...contents }) };
}

describe("doctor", () => {
  test("says that all is well", async () => {
    const { database, project } = await setUp({ tenants: fleetOf(2) });
    await project.tenantctl(["migrate"]);
    const result = await untouched(database, project, () => project.tenantctl(["doctor"]));
    expect(result).toMatchObject({ code: 0, stdout: "all is well\n", stderr: "" });
  });

  test("finds schemas that are missing, filled by others, edited, ahead, stray or half made, and wrong stamps", async () => {
    const tenants = { fine: {}, missing: {}, filled: {}, changed: {}, ahead: {}, stamp: {}, stray: {} };
    const { database, project } = await setUp({ tenants });
    await project.tenantctl(["migrate", "--except", "missing", "--except", "filled"]);
    await project.tenantctl(["remove-tenant", "stray"]);
    await database.query("create schema filled; create table filled.theirs ()");
    await database.query("update changed.tenantctl_migrations set checksum = 'x' where name like '%votes'");
    await database.query("insert into ahead.tenantctl_migrations values ('2099_later', 'x', 'r', now(), 1)");
    await database.query("delete from stamp.tenantctl_migrations where name like '%votes'; drop table stamp.votes");
    await database.query("create schema half; comment on schema half is 'tenantctl: creating 20260101000000-abcdef'");
    await database.query(`create schema "it's\nodd"; create table "it's\nodd".tenantctl_migrations ()`);

    const found = await untouched(database, project, () => findings(project, 1));
    const about = (where: string) => found.filter((finding) => finding.where === where);
    expect(about("fine")).toEqual([]);
    expect(about("missing")).toMatchObject([
      { severity: "error", message: expect.stringMatching(/is missing/), hint: /./ },
    ]);
    expect(about("filled")).toMatchObject([{ severity: "error", message: expect.stringMatching(/no ledger/) }]);
    expect(about("changed")).toMatchObject([
      { severity: "error", message: expect.stringContaining(names[2]), hint: expect.stringMatching(/repair/) },
      { severity: "warning", message: expect.stringMatching(/stamp/) },
    ]);
    expect(about("ahead")[0]).toMatchObject({ severity: "error", message: expect.stringContaining("2099_later") });
    expect(about("stamp")).toMatchObject([
      { severity: "warning", check: "ledger", hint: expect.stringMatching(/tenantctl migrate stamp/) },
    ]);
    expect(about("stray")).toMatchObject([{ severity: "warning", hint: expect.stringMatching(/add-tenant stray/) }]);
    const odd = "tenantctl add-tenant <name> --schema 'it'\\''s\nodd' registers it";
    expect(about("it's\nodd")).toMatchObject([{ severity: "warning", hint: odd }]);
    expect(about("half")).toMatchObject([{ severity: "warning", hint: expect.stringMatching(/create-tenant half/) }]);
    expect(found.every(({ hint }) => hint !== "")).toBe(true);

    const text = await project.tenantctl(["doctor"]);
    expect(text.code).toBe(1);
    expect(text.stdout).toMatch(
      /^error: its schema "missing" is missing \(missing\)\nhint: tenantctl migrate missing/m,
    );
    expect(text.stdout).toMatch(/^warning: its stamp is not that of its ledger \(3: changed, ahead, stamp\)$/m);
    expect(text.stdout).toMatch(/^warning: a schema with a ledger that no tenant has \(2: it's↵odd, stray\)$/m);
    expect(text.stdout).toMatch(/\n10 found\n$/);

    const check = await project.tenantctl(["doctor", "--check", "--quiet"]);
    expect(check).toMatchObject({ code: 4, stdout: "" });
    expect(check.stderr).toBe(text.stdout.slice(0, text.stdout.indexOf("warning:")));
    const fixed = await project.tenantctl(["doctor", "--fix"]);
    expect(fixed.code).toBe(1);
    expect(fixed.stdout).toMatch(/^fixed: its stamp was written anew, from its ledger \(3: changed, ahead, stamp\)\n/);
    expect(fixed.stdout).toMatch(/\n3 fixed\n7 found\n$/);
  });

  test("its hints work: half made and stray schemas are taken in, wrong stamps are mended", async () => {
    const { database, project } = await setUp({ tenants: { thor: {}, stray: {} } });
    await project.tenantctl(["migrate"]);
    await project.tenantctl(["remove-tenant", "stray"]);
    await database.query("comment on table thor.tenantctl_migrations is 'odd'");
    await database.query("create schema half; comment on schema half is 'tenantctl: creating 20260101000000-abcdef'");
    expect((await project.tenantctl(["add-tenant", "stray"])).code).toBe(0);
    expect((await project.tenantctl(["create-tenant", "half"])).code).toBe(0);
    expect((await project.tenantctl(["migrate", "thor"])).code).toBe(0);
    expect(await findings(project, 0)).toEqual([]);
  });

  test("finds an app role that isn't there, or that lacks rights", async () => {
    const { database, project } = await setUp({ tenants: { thor: {} }, config: { appRole: "no_such_role" } });
    expect(await findings(project, 1)).toContainEqual(
      expect.objectContaining({ check: "role", message: expect.stringMatching(/no_such_role/) }),
    );
    const { name } = await database.createRole();
    const tenants = { thor: {} };
    const granting = await createProject({ database, migrations: polls, tenants, config: { appRole: name } });
    await granting.tenantctl(["migrate"]);
    await database.query(`revoke usage on schema thor from ${name}`);
    const [lacking] = await findings(granting, 0);
    expect(lacking).toMatchObject({ severity: "warning", check: "role", where: "thor" });
    expect((await granting.tenantctl(["doctor", "--check", "--quiet"])).code).toBe(0);
    expect((await granting.tenantctl(["doctor", "--check", "warning", "--quiet"])).code).toBe(4);
    const fixed = await granting.tenantctl(["doctor", "--fix", "--check", "warning", "--json"]);
    expect(fixed.code).toBe(0);
    expect(shapes.doctor.parse(fixed.json())).toMatchObject({
      findings: [],
      fixed: [{ check: "role", where: "thor" }],
    });
    await granting.tenantctl(["remove-tenant", "thor", "--drop-schema", "--yes"]); // else the role can't be dropped
  });

  test("finds a bad config and goes no further", async () => {
    const { project } = await setUp();
    expectRefusal(await project.tenantctl(["doctor", "--check", "all"]), {
      error: /severity is error or warning/,
      hint: /--help/,
    });
    await project.write("tenants.config.json", '{ "databse": "x", "tenants": 3 }');
    const found = await findings(project, 1);
    expect(found.map(({ check }) => check)).toEqual(["config", "config"]);
    expect(found.map(({ message }) => message).join()).toMatch(/databse.*did you mean database/);
  });

  test("finds bad migrations, bad names and an unreachable database, all at once", async () => {
    const url = `postgres://nobody:s3cret@127.0.0.1:${await freePort()}/x`;
    const project = await createProject({
      database: { url },
      migrations: { ...polls, "20260104000000_begin.sql": "begin;\n" },
      tenants: { a: { schema: "same" }, b: { schema: "same" } },
    });
    const found = await findings(project, 1);
    expect(new Set(found.map(({ check }) => check))).toEqual(new Set(["registry", "migrations", "database"]));
    expect(JSON.stringify(found)).not.toContain("s3cret");
    const text = await project.tenantctl(["doctor"]);
    expect(text.stdout).toMatch(/BEGIN .*\(.*20260104000000_begin\.sql:1\)$/m);
    expect(text.stderr).toBe("");
  });

  test("a role that may not read the ledgers is told so, as everywhere", async () => {
    const { database, project } = await setUp({ tenants: { thor: {} } });
    await project.tenantctl(["migrate"]);
    await database.query("comment on table thor.tenantctl_migrations is 'odd'");
    const { url } = await database.createRole();
    for (const args of [["status", "--verify"], ["status"], ["migrate"], ["doctor"], ["runs"]]) {
      const result = await project.tenantctl([...args, "--database", url]);
      expect([1, 3], `${args}`).toContain(result.code);
      expect(result.stdout + result.stderr).toMatch(/permission denied|whose rights/);
      expect(result.stdout + result.stderr).not.toMatch(/fault of tenantctl/);
    }
  });
});
