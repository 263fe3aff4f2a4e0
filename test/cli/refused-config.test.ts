import { chmod, mkdir, rm, symlink, utimes } from "node:fs/promises";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { tenantctl } from "../support/cli.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { polls } from "./polls.ts";
import { expectRefusal, untouched } from "./traces.ts";

let database: TestDatabase;
let project: TestProject;
let good: string;

beforeAll(async () => {
  database = await createDatabase();
  project = await createProject({ database, migrations: polls, tenants: { thor: {} } });
  good = await project.read("tenants.config.json");
});

afterEach(() => project.write("tenants.config.json", good));

/** What `migrate` says to a config of this text. */
async function migrateWith(file: string, text: string, env: Record<string, string> = {}) {
  await project.write(file, text);
  return await untouched(database, project, () => project.tenantctl(["migrate", "-c", file], { env }));
}

describe("a config is refused", () => {
  test("where there is none", async () => {
    const bare = await createProject();
    await rm(bare.configFile);
    expectRefusal(await bare.tenantctl(["migrate"]), { error: /no tenants\.config\.\*/, hint: /tenantctl init/ });
    expectRefusal(await tenantctl(["migrate"], { cwd: "/" }), { error: /no tenants\.config\.\*/, hint: /init/ });
  });

  test("where -c names a file that isn't there, or none that could be one", async () => {
    expectRefusal(await project.tenantctl(["migrate", "-c", "nope.json"]), {
      error: /no config file .*nope\.json/,
      hint: /init/,
    });
    expectRefusal(await project.tenantctl(["migrate", "-c", "migrations"]), {
      error: /is no config file/,
      hint: /\.json/,
    });
  });

  test("that is there and can't be read, also where another one lies further up", async () => {
    await mkdir(project.path("below"));
    await symlink("nowhere.json", project.path("below/tenants.config.json"));
    const error = /^error: tenants\.config\.json can't be read: ENOENT$/m;
    expectRefusal(await project.tenantctl(["migrate"], { cwd: project.path("below") }), { error, hint: /this user/ });
  });

  test("with broken JSON, at file:line:column", async () => {
    const result = await migrateWith("broken.json", '{\n  "tenants": {\n    "a" 1\n  }\n}\n');
    expectRefusal(result, { error: /broken\.json:3:9: /, hint: /mend the file/ });
  });

  test("with broken YAML, at file:line:column", async () => {
    const result = await migrateWith("broken.yaml", "tenants:\n  thor: { hosts: [a\n");
    expect(result).toMatchObject({ code: 2, stdout: "" });
    expect(result.stderr).toMatch(/^error: broken\.yaml:\d+:\d+: .*\n(error: .*\n)*hint: .*\n$/);
  });

  test("with everything that is wrong at once, each at its place", async () => {
    const text = `{
  "databse": "x",
  "migrations": 3,
  "tenants": {
    "thor": { "shema": "x", "hosts": [7] },
    "odin": { "hosts": "odin.local" }
  }
}`;
    expectRefusal(await migrateWith("many.json", text), {
      error: [
        /many\.json:2:\d+: databse: unknown key, did you mean database\?/,
        /many\.json:3:17: migrations: must be a map, not a number/,
        /many\.json:5:\d+: tenants\.thor\.shema: unknown key, did you mean schema\?/,
        /many\.json:5:39: tenants\.thor\.hosts\[0\]: must be text, not a number/,
        /many\.json:6:24: tenants\.odin\.hosts: must be a list, not text/,
      ],
      hint: /mend the file/,
    });
  });

  test("with names, schemas and hosts that can't be or that two tenants share", async () => {
    const tenants = {
      public: {},
      thor: { hosts: ["a.local"] },
      odin: { schema: "thor", hosts: ["A.LOCAL"] },
      loki: { schema: "pg_loki" },
    };
    const result = await migrateWith("names.json", JSON.stringify({ database: database.url, tenants }));
    expectRefusal(result, {
      error: [
        /tenants\.public: tenant name "public" is reserved/,
        /tenants\.odin\.schema: schema "thor" is already that of tenant "thor"/,
        /tenants\.odin\.hosts\[0\]: host "a\.local" is already that of tenant "thor"/,
        /tenants\.loki\.schema: .*starts with pg_/,
      ],
      hint: /mend the file/,
    });
  });

  test("with variables that are not set, all of them", async () => {
    const text = JSON.stringify({ migrations: { tenant: "$" + "{NOWHERE}" }, appRole: "$" + "{NOBODY}", tenants: {} });
    expectRefusal(await migrateWith("vars.json", text), {
      error: [/migrations\.tenant: \$\{NOWHERE\} is not set/, /appRole: \$\{NOBODY\} is not set/],
      hint: /\.env/,
    });
  });

  test("where nothing says which database", async () => {
    const result = await migrateWith("nodb.json", '{ "tenants": { "thor": {} } }');
    expectRefusal(result, { error: /nothing says which database/, hint: /--database.*DATABASE_URL.*PGHOST/ });
    const empty = await migrateWith("nodb.json", '{ "database": "$' + '{DATABASE_URL}", "tenants": {} }', {
      DATABASE_URL: "",
    });
    expectRefusal(empty, { error: /DATABASE_URL/, hint: /--database/ });
  });

  test("in TypeScript that throws", async () => {
    const result = await migrateWith("tenants.config.ts", "throw new Error('no vault today');\n");
    expectRefusal(result, { error: /tenants\.config\.ts can't be loaded: no vault today/, hint: /mend the file/ });
  });
});

describe("a config that can't be edited", () => {
  test("in TypeScript: says the line to add, and creates nothing", async () => {
    const text = `export default { database: ${JSON.stringify(database.url)}, migrations: { tenant: "migrations/tenant" }, tenants: { thor: {} } };\n`;
    await project.write("tenants.config.ts", text);
    const act = (...args: string[]) =>
      untouched(database, project, () => project.tenantctl([...args, "-c", "tenants.config.ts"]));
    expectRefusal(await act("create-tenant", "odin", "--host", "odin.local"), {
      error: /is a program.*"odin": \{ "hosts": \["odin\.local"\] \}/,
      hint: /\.json/,
    });
    expectRefusal(await act("remove-tenant", "thor"), { error: /is a program.*thor/, hint: /\.json/ });
    expect(await project.read("tenants.config.ts")).toBe(text);
    expect((await project.tenantctl(["list", "-c", "tenants.config.ts"])).stdout).toMatch(/^thor/m);
  });

  const asRoot = process.getuid?.() === 0;
  test.skipIf(asRoot)(
    `on a read-only disk: no schema is made${asRoot ? " (skipped: root writes everywhere)" : ""}`,
    async () => {
      await chmod(project.configFile, 0o400);
      const result = await untouched(database, project, () => project.tenantctl(["create-tenant", "odin"]));
      await chmod(project.configFile, 0o600);
      expect(result).toMatchObject({ code: 1, stdout: "" });
      expect(result.stderr).toMatch(/^error: .*tenants\.config\.json can't be changed: EACCES/);
    },
  );

  test("since its lock can't be taken: the schema that was made is dropped again", async () => {
    const lock = project.path("tenants.config.json.lock"); // a file where the lock's folder should be
    await project.write("tenants.config.json.lock", "");
    await utimes(lock, 0, 0);
    const result = await untouched(database, project, () => project.tenantctl(["create-tenant", "odin"]));
    await rm(lock);
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(/^error: .*tenants\.config\.json can't be changed/);
    expect(await project.tenantctl(["create-tenant", "odin"])).toMatchObject({ code: 0 });
  });
});
