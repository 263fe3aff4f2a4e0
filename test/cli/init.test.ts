import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { createDatabase, newest } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { polls } from "./polls.ts";
import { expectRefusal, ledgerOf } from "./traces.ts";

/** A folder with nothing in it. */
async function emptyFolder(): Promise<TestProject> {
  const project = await createProject();
  await rm(project.configFile);
  await rm(project.path("migrations"), { recursive: true });
  return project;
}

describe("init", () => {
  test("writes a config and a first migration with which create-tenant works once DATABASE_URL is set", async () => {
    const project = await emptyFolder();
    const init = await project.tenantctl(["init"]);
    expect(init).toMatchObject({ code: 0, stderr: "" });
    expect(init.stdout).toMatch(/created tenants\.config\.json\n.*DATABASE_URL.*create-tenant/s);
    expect(JSON.parse(await project.read("tenants.config.json")).database).toBe("$" + "{DATABASE_URL}");

    expectRefusal(await project.tenantctl(["create-tenant", "thor"]), {
      error: /tenants\.config\.json.*database.*DATABASE_URL\} is not set/,
      hint: /\.env|--database/,
    });

    const database = await createDatabase(newest());
    const created = await project.tenantctl(["create-tenant", "thor"], { env: { DATABASE_URL: database.url } });
    expect(created).toMatchObject({ code: 0 });
    expect(await ledgerOf(database, "thor")).toEqual(["20260101000000_create_polls"]);
    expect(JSON.parse(await project.read("tenants.config.json")).tenants).toHaveProperty("thor");
  });

  test("--embedded needs no server", { timeout: 120_000 }, async () => {
    const project = await emptyFolder();
    expect(await project.tenantctl(["init", "--embedded"])).toMatchObject({ code: 0 });
    const created = await project.tenantctl(["create-tenant", "thor", "--json"], { timeoutMs: 90_000 });
    expect(created.code).toBe(0);
    expect(created.json()).toMatchObject({ applied: ["20260101000000_create_polls"] });
    expect(created.stderr).toMatch(/embedded/);
    const status = await project.tenantctl(["status", "--check"]);
    expect(status).toMatchObject({ code: 0 });
  });

  test("overwrites nothing", async () => {
    const project = await emptyFolder();
    await project.tenantctl(["init"]);
    await project.write("tenants.config.json", '{ "tenants": { "mine": {} } }');
    const before = await readdir(project.path("migrations/tenant"));
    const again = await project.tenantctl(["init"]);
    expect(again).toMatchObject({ code: 0, stderr: "" });
    expect(again.stdout).toMatch(/kept +tenants\.config\.json/);
    expect(await project.read("tenants.config.json")).toBe('{ "tenants": { "mine": {} } }');
    expect(await readdir(project.path("migrations/tenant"))).toEqual(before);
  });

  test("writes no second config beside a YAML one", async () => {
    const project = await emptyFolder();
    await project.write("tenants.config.yaml", "tenants: {}\n");
    expect((await project.tenantctl(["init"])).stdout).toMatch(/kept +tenants\.config\.yaml/);
    expect(await readdir(project.folder)).not.toContain("tenants.config.json");
  });

  test("says how a config that it keeps names the table", async () => {
    const project = await emptyFolder();
    await project.write("tenants.config.json", "{}\n");
    const { stdout } = await project.tenantctl(["init", "--registry", "table"]);
    expect(stdout).toMatch(/^next: in tenants\.config\.json: "tenants": \{ "table": "public\.tenants" \}/m);
  });

  test("says why where it can't write", async () => {
    const project = await emptyFolder();
    await writeFile(project.path("migrations"), "a file where the folder should be");
    const result = await project.tenantctl(["init"]);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/^error: .*migrations/);
    expect(result.stderr).not.toMatch(/fault of tenantctl|\n {4}at /);
  });
});

describe("new-migration", () => {
  const up = /^-- migrate:up\n/;

  test("writes files whose timestamps rise, also within one second", async () => {
    const project = await createProject({ migrations: {} });
    const files: string[] = [];
    for (const name of ["add votes", "add-tags", "third"]) {
      const made = await project.tenantctl(["new-migration", name]);
      expect(made).toMatchObject({ code: 0, stderr: "" });
      files.push(made.stdout.trim());
    }
    expect(files.map((file) => file.replace(/\d{14}/, "…"))).toEqual([
      "migrations/tenant/…_add_votes.sql",
      "migrations/tenant/…_add_tags.sql",
      "migrations/tenant/…_third.sql",
    ]);
    expect([...files].sort()).toEqual(files);
    expect(await project.read(files[0] ?? "")).toMatch(up);
  });

  test("comes after a file whose timestamp lies in the future", async () => {
    const project = await createProject({ migrations: { "20991231235959_late.sql": "select 1;" } });
    const { stdout } = await project.tenantctl(["new-migration", "later"]);
    expect(stdout.trim()).toBe("migrations/tenant/20991231235960_later.sql");
  });

  test("--ts writes a module that migrates and rolls back as it is", async () => {
    const database = await createDatabase();
    const project = await createProject({ database, migrations: polls });
    const { stdout } = await project.tenantctl(["new-migration", "backfill", "--ts"]);
    expect(stdout).toMatch(/_backfill\.ts\n$/);
    expect(await project.tenantctl(["create-tenant", "thor"])).toMatchObject({ code: 0 });
    expect(await ledgerOf(database, "thor")).toHaveLength(4);
    expect(await project.tenantctl(["rollback", "--steps", "1"])).toMatchObject({ code: 0 });
  });

  test("--shared writes into the shared folder, and is refused where the config names none", async () => {
    const project = await createProject({ migrations: polls });
    expectRefusal(await project.tenantctl(["new-migration", "plans", "--shared"]), {
      error: /shared/,
      hint: /"shared"/,
    });
    const sharing = await createProject({ migrations: polls, shared: {} });
    expect((await sharing.tenantctl(["new-migration", "plans", "--shared"])).stdout).toMatch(
      /^migrations\/shared\/\d{14}_plans\.sql\n$/,
    );
  });

  test("refuses a name that makes no file name", async () => {
    const project = await createProject({ migrations: polls });
    for (const name of ["../../etc/passwd", "", "a;b"]) {
      expectRefusal(await project.tenantctl(["new-migration", name]), {
        error: /migration's name/,
        hint: /for example/,
      });
    }
    expect(await readdir(project.path("migrations/tenant"))).toHaveLength(3);
  });

  test("makes the folder that is missing, and needs no database", async () => {
    const project = await createProject({ config: { migrations: { tenant: "deep/er/migrations" } } });
    const { code, stdout } = await project.tenantctl(["new-migration", "first"]);
    expect(code).toBe(0);
    expect((await stat(project.path(stdout.trim()))).isFile()).toBe(true);
    expect(await readFile(project.path(stdout.trim()), "utf8")).toMatch(up);
  });
});
