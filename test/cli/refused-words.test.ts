import { beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { names, polls } from "./polls.ts";
import { expectRefusal, tenantSchemas, untouched } from "./traces.ts";

let database: TestDatabase;
let project: TestProject;

beforeAll(async () => {
  database = await createDatabase();
  project = await createProject({
    database,
    migrations: polls,
    tenants: { thor: { hosts: ["thor.local"] }, potter: { schema: "hp" } },
  });
  await project.tenantctl(["migrate", "thor"]);
});

async function refused(args: string[], error: RegExp, hint: RegExp): Promise<void> {
  expectRefusal(await project.tenantctl(args), { error, hint });
}

describe("bad words are refused, with what was meant, and nothing is touched", () => {
  test("unknown commands and options", () =>
    untouched(database, project, async () => {
      await refused(["migrat"], /unknown command 'migrat'/, /did you mean migrate\?/);
      await refused(["frobnicate"], /unknown command 'frobnicate'/, /--help/);
      await refused(["migrate", "--stepz", "3"], /unknown option '--stepz'/, /did you mean --steps\?/);
      await refused(["list", "--yes"], /unknown option '--yes'/, /--help/);
    }));

  test("arguments too few and too many", () =>
    untouched(database, project, async () => {
      await refused(["create-tenant"], /missing required argument 'name'/, /create-tenant --help/);
      await refused(["create-tenant", "a", "b"], /too many arguments/, /--help/);
      await refused(["migrate", "--to"], /argument missing/, /--help/);
      await refused(["migrate", "--estimate"], /--estimate goes with --dry-run/, /nothing was touched/);
    }));

  test("unknown tenants, before those that are known are touched", () =>
    untouched(database, project, async () => {
      for (const command of ["migrate", "status", "create-schemas", "repair", "list"]) {
        await refused([command, "potter", "thro"], /no tenant is called "thro"/, /did you mean thor\?/);
      }
      await refused(["rollback", "--steps", "1", "thor", "nobody"], /no tenant is called "nobody"/, /tenantctl list/);
      await refused(["remove-tenant", "thro"], /no tenant is called "thro"/, /did you mean thor\?/);
      await refused(["migrate", "--except", "thro"], /no tenant is called "thro"/, /did you mean thor\?/);
      await refused(["migrate", "x*"], /no tenant's name matches "x\*"/, /tenantctl list/);
    }));

  test("unknown migrations", () =>
    untouched(database, project, async () => {
      await refused(
        ["migrate", "--to", "20250101_nope"],
        /no migration is called "20250101_nope"/,
        new RegExp(names[2]),
      );
      await refused(["rollback", "--to", "nope"], /no migration is called "nope"/, /without the ending/);
    }));

  test("numbers, durations, labels and shards that are none", () =>
    untouched(database, project, async () => {
      for (const text of ["0", "-1", "1.5", "x", "1e3", ""]) {
        await refused(["migrate", "--steps", text], /'--steps <n>' argument .* whole number from 1/, /migrate --help/);
      }
      await refused(["migrate", "--concurrency", "0"], /whole number from 1/, /--help/);
      await refused(["migrate", "--retries", "-1"], /whole number from 0/, /--help/);
      for (const text of ["3", "3h", "1.5s", "s", "-3s"]) {
        await refused(["migrate", "--lock-timeout", text], /a duration is 500ms, 3s or 2m/, /--help/);
      }
      await refused(["migrate", "--label", "plan"], /a label is key=value, not "plan"/, /--label plan=free/);
      await refused(["create-tenant", "x", "--label", "=y"], /a label is key=value/, /--label plan=free/);
      for (const shard of ["0/2", "3/2", "1", "a/b", "1/0"]) {
        await refused(["migrate", "--shard", shard], /a shard is i\/n/, /--shard 1\/4/);
      }
    }));
});

describe("names that can't be are refused, never cut short and never guessed", () => {
  const injection = 'x"; drop schema public cascade; --';
  const cases: [string, RegExp][] = [
    ["", /is empty/],
    ["a".repeat(64), /has 64 bytes, 63 are allowed/],
    ["é".repeat(32), /has 64 bytes, 63 are allowed/],
    ["pg_x", /starts with pg_/],
    ["public", /is reserved/],
    ["information_schema", /is reserved/],
    ["tenantctl", /is reserved/],
    ["a/b", /must not contain "\/"/],
    [".hidden", /must start with a letter or digit/],
    [injection, /must not contain "\\""/],
    ["two\nlines", /must not contain "\\n"/],
  ];
  test.each(cases)("%j as a tenant", async (name, reason) => {
    const result = await untouched(database, project, () => project.tenantctl(["create-tenant", "--", name]));
    expectRefusal(result, { error: reason, hint: /letters, digits.*63 bytes/ });
  });

  test("as a schema", () =>
    untouched(database, project, async () => {
      await refused(["create-tenant", "x", "--schema", "pg_x"], /schema name "pg_x" starts with pg_/, /any identifier/);
      await refused(["create-tenant", "x", "--schema", ""], /schema name "" is empty/, /any identifier/);
      await refused(["create-tenant", "x", "--schema", "é".repeat(32)], /has 64 bytes/, /63 bytes/);
    }));

  test("as a host", () =>
    untouched(database, project, async () => {
      await refused(["create-tenant", "x", "--host", "https://x.local"], /host /, /without scheme, port and path/);
      await refused(["create-tenant", "x", "--host", "x.local:80"], /has a port/, /without scheme, port and path/);
    }));

  test("that somebody has", () =>
    untouched(database, project, async () => {
      await refused(["create-tenant", "thor"], /tenant "thor" exists already/, /tenantctl list/);
      await refused(
        ["create-tenant", "x", "--schema", "hp"],
        /schema "hp" is already that of tenant "potter"/,
        /--schema/,
      );
      await refused(["create-tenant", "hp"], /schema "hp" is already that of tenant "potter"/, /--schema/);
      await refused(["create-tenant", "x", "--host", "THOR.local"], /host "thor\.local" is already/, /one tenant/);
      await refused(["add-tenant", "thor"], /tenant "thor" exists already/, /tenantctl list/);
    }));

  test("63 bytes of several-byte letters are a name", async () => {
    const name = `${"é".repeat(31)}a`;
    expect(await project.tenantctl(["create-tenant", name])).toMatchObject({ code: 0 });
    expect(await tenantSchemas(database)).toContain(name);
    expect((await project.tenantctl(["status", name, "--check"])).code).toBe(0);
  });
});
