// The registry while the application runs: read again in the background and for what is new, and never lost.
import { rename, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { openDirectory } from "../../src/runtime/directory.js";
import { createTenancy } from "../../src/runtime/index.js";
import { createDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createProject } from "../support/project.ts";
import { createTenants, listOf, openTenancy, tenantNamed, whose } from "./tenancy.ts";

const never = 1_000_000;

async function directoryOf(names: string[], options: Parameters<typeof openDirectory>[2] = {}) {
  const registry = listOf(names.map(tenantNamed));
  const errors: string[] = [];
  const directory = await openDirectory(registry, [], { onError: (error) => errors.push(error.message), ...options });
  whenFileEnds(async () => directory.close());
  return { registry, directory, errors };
}

describe("a tenant that is new", () => {
  test("is found when it is asked for, by host and by name", async () => {
    const { registry, directory } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
    registry.list.push(tenantNamed("loki"));
    expect(directory.byHost("loki.polls.local")).toBeUndefined();
    expect(await directory.findByHost("loki.polls.local:3000")).toMatchObject({ name: "loki" });
    expect(directory.byHost("loki.polls.local")).toMatchObject({ name: "loki" });
    registry.list.push(tenantNamed("odin"));
    expect(await directory.findByName("odin")).toMatchObject({ name: "odin" });
  });

  test("makes the registry be read once for all who ask, and no more often than it may", async () => {
    const { registry, directory } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
    registry.asked = 0;
    await Promise.all(Array.from({ length: 50 }, (_, at) => directory.findByHost(`x${at}.polls.local`)));
    expect(registry.asked).toBe(1);

    const limited = await directoryOf(["thor"], { refreshMs: never, missMs: never });
    for (let at = 0; at < 50; at++) expect(await limited.directory.findByHost(`x${at}.polls.local`)).toBeUndefined();
    expect(limited.registry.asked).toBe(1);
  });

  test("is no host: nobody is asked", async () => {
    const { registry, directory } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
    for (const header of ['x"; drop schema thor', "", "é", "a".repeat(9999)])
      expect(await directory.findByHost(header)).toBeUndefined();
    expect(registry.asked).toBe(1);
  });
});

test("one that was removed is gone after a while, without being asked for", async () => {
  const { registry, directory } = await directoryOf(["thor", "loki"], { refreshMs: 20 });
  registry.list.pop();
  await expect.poll(() => directory.byHost("loki.polls.local")).toBeUndefined();
  expect(directory.byName("thor")).toBeDefined();
});

test("one that was removed while its statement waited for a connection is refused", async () => {
  const database = await createDatabase();
  const registry = listOf(await createTenants(database, ["thor", "loki"]));
  const tenancy = await openTenancy(database, [], { registry, refreshMs: 20, maxConnections: 1 });
  const client = await tenancy.withTenant("thor", () => tenancy.pool.connect());
  const waiting = tenancy.withTenant("loki", () => tenancy.query(whose));
  registry.list.pop();
  await expect.poll(() => tenancy.resolveHost("loki.polls.local")).toBeUndefined();
  client.release();
  await expect(waiting).rejects.toMatchObject({ code: "TENANT_UNKNOWN" });
  expect((await tenancy.withTenant("thor", () => tenancy.query(whose))).rows).toEqual([{ owner: "thor" }]);
});

test("one that is suspended or archived is not served", async () => {
  const { registry, directory } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
  registry.list.push({ ...tenantNamed("loki"), state: "suspended" }, { ...tenantNamed("odin"), state: "archived" });
  expect(await directory.findByHost("loki.polls.local")).toBeUndefined();
  expect(await directory.findByName("odin")).toBeUndefined();
  expect(directory.byName("thor")).toBeDefined();
});

test("a registry in the database is followed", async () => {
  const database = await createDatabase();
  await database.query("create table public.tenants (name text primary key, hosts text[], state text)");
  const project = await createProject({
    database,
    tenants: { table: "public.tenants", columns: { name: "name", hosts: "hosts" } },
  });
  const tenancy = await createTenancy({ config: { config: project.configFile, env: {} }, refreshMs: 50, missMs: 0 });
  whenFileEnds(() => tenancy.close());
  await database.query("insert into public.tenants values ('thor', '{thor.polls.local}')");
  expect(await tenancy.findHost("thor.polls.local")).toMatchObject({ name: "thor" });
  const gone = () => expect.poll(() => tenancy.resolveHost("thor.polls.local")).toBeUndefined();
  for (const state of ["suspended", "archived"]) {
    await database.query("update public.tenants set state = $1", [state]);
    await gone();
    await expect(tenancy.withTenant("thor", () => "served")).rejects.toMatchObject({ code: "TENANT_UNKNOWN" });
    await database.query("update public.tenants set state = 'active'");
    expect(await tenancy.findHost("thor.polls.local")).toMatchObject({ name: "thor" });
  }
  await database.query("delete from public.tenants");
  await gone();
});

describe("a registry that is wrong", () => {
  test("is told once, and the last good one stays", async () => {
    const { registry, directory, errors } = await directoryOf(["thor"], { refreshMs: 10 });
    const clash = { ...tenantNamed("loki"), hosts: ["THOR.polls.local"] };
    registry.list.push(clash);
    await expect.poll(() => errors).toHaveLength(1);
    expect(errors[0]).toContain("already that of tenant");
    const asked = registry.asked;
    await expect.poll(() => registry.asked).toBeGreaterThan(asked + 2);
    expect(errors).toHaveLength(1);
    expect(directory.byHost("thor.polls.local")).toMatchObject({ name: "thor" });
    registry.list = [tenantNamed("odin")];
    await expect.poll(() => directory.byName("odin")).toBeDefined();
    registry.list.push(clash, clash);
    await expect.poll(() => errors).toHaveLength(2);
  });

  test("without a hook is a warning of the process", async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on("warning", listen);
    const registry = listOf([tenantNamed("thor")]);
    const directory = await openDirectory(registry, [], { refreshMs: never, missMs: 0 });
    registry.tenants = () => Promise.reject(new Error("out of order"));
    expect(await directory.findByName("loki")).toBeUndefined();
    await expect
      .poll(() => warnings.map(({ message }) => message))
      .toContainEqual(expect.stringContaining("out of order"));
    process.off("warning", listen);
    directory.close();
  });

  test("at the start is an error", async () => {
    await expect(directoryOf(["thor", "thor"])).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(directoryOf(["thor", "pg_x"])).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});

test("a config file is followed: added to, taken from, broken, mended", async () => {
  const database = await createDatabase();
  const project = await createProject({ database, tenants: { thor: { hosts: ["thor.polls.local"] } } });
  const errors: string[] = [];
  const tenancy = await createTenancy({
    config: { config: project.configFile, env: {} },
    refreshMs: 50,
    missMs: 0,
    onError: (error) => errors.push(error.message),
  });
  whenFileEnds(() => tenancy.close());
  const good = await project.read("tenants.config.json");
  const replace = async (text: string) => {
    await writeFile(project.path("new"), text);
    await rename(project.path("new"), project.configFile);
  };
  expect(tenancy.resolveHost("thor.polls.local")?.name).toBe("thor");
  await replace(good.replace('"thor"', '"loki": { "hosts": ["loki.polls.local"] }, "thor"'));
  expect((await tenancy.findHost("loki.polls.local"))?.name).toBe("loki");
  await replace("{ broken");
  await expect.poll(() => errors.length).toBeGreaterThan(0);
  expect(tenancy.resolveHost("loki.polls.local")?.name).toBe("loki");
  await replace(good);
  await expect.poll(() => tenancy.resolveHost("loki.polls.local")).toBeUndefined();
  const stayed = await tenancy.withTenant("thor", async () => {
    await replace(good.replace('"thor"', '"odin"'));
    await expect.poll(() => tenancy.currentTenant()).toBeUndefined();
    return await tenancy.query("select 1").catch((error) => error);
  });
  expect(stayed).toMatchObject({ code: "TENANT_UNKNOWN" });
});
