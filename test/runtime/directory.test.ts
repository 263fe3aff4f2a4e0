// The registry while the application runs: read again in the background and for what is new, and never lost.
import { rename, writeFile } from "node:fs/promises";
import { describe, expect, test, vi } from "vitest";
import type { Tenant } from "../../src/registry/index.js";
import { openDirectory } from "../../src/runtime/directory.js";
import { createTenancy } from "../../src/runtime/index.js";
import { givenRegistry } from "../../src/runtime/registry.js";
import { createDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createProject } from "../support/project.ts";
import { createTenants, listOf, openTenancy, tenantNamed, whose } from "./tenancy.ts";

const never = 1_000_000;

async function directoryOf(names: string[], options: Parameters<typeof openDirectory>[2] = {}) {
  const registry = listOf(names.map(tenantNamed));
  const errors: string[] = [];
  const onError = (error: Error) => errors.push(error.message);
  const directory = await openDirectory(givenRegistry(registry), [], { onError, ...options });
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

test("one that is suspended is known as such, and one that is archived is not known", async () => {
  const { registry, directory } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
  registry.list.push({ ...tenantNamed("loki"), state: "suspended" }, { ...tenantNamed("odin"), state: "archived" });
  expect(await directory.findByHost("loki.polls.local")).toMatchObject({ name: "loki", state: "suspended" });
  expect(await directory.findByName("odin")).toBeUndefined();
  expect(await directory.findByHost("odin.polls.local")).toBeUndefined();
  expect(directory.byName("thor")).toBeDefined();
});

test("a tenant that is listed while a reading goes on is found by whoever asks then", async () => {
  const { registry, directory } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
  const answers: (() => void)[] = [];
  const answer = registry.tenants;
  registry.tenants = async function () {
    const rows = await answer.call(this);
    await new Promise<void>((resolve) => answers.push(resolve));
    return rows;
  };
  const nobody = directory.findByName("nobody");
  await expect.poll(() => answers).toHaveLength(1); // it has read its rows
  registry.list.push(tenantNamed("loki"));
  const loki = [directory.findByName("loki"), directory.findByHost("loki.polls.local")];
  answers[0]?.();
  expect(await nobody).toBeUndefined();
  await expect.poll(() => answers).toHaveLength(2);
  answers[1]?.();
  for (const found of await Promise.all(loki)) expect(found).toMatchObject({ name: "loki" });
  expect(answers).toHaveLength(2);
});

test("of many rows that change at once none is lost, and none of those that stay", async () => {
  const names = Array.from({ length: 2_000 }, (_, at) => `t${at}`);
  const { registry, directory } = await directoryOf(names, { refreshMs: never, missMs: 0 });
  registry.list = names.map((name, at) => ({ ...tenantNamed(name), ...(at % 2 ? { labels: { odd: "yes" } } : {}) }));
  registry.list.splice(500, 700, { ...tenantNamed("loki"), hosts: ["t600.polls.local"] });
  expect(await directory.findByName("loki")).toBe(directory.byHost("t600.polls.local"));
  expect(directory.list()).toHaveLength(1_301);
  expect(directory.list({ label: { odd: "yes" } })).toHaveLength(650);
  expect(directory.byHost("t501.polls.local")).toBeUndefined();
  expect(directory.byHost("t1999.polls.local")).toMatchObject({ name: "t1999", labels: { odd: "yes" } });
});

test("a tenant whose row changes keeps its host while another one claims it too", async () => {
  const { registry, directory, errors } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
  const loki = { ...tenantNamed("loki"), hosts: ["thor.polls.local"] };
  for (const labels of [{}, { plan: "gold" }, { plan: "free" }]) {
    registry.list = [loki, { ...tenantNamed("thor"), labels: { ...labels } as Record<string, string> }];
    await directory.findByName("nobody");
    expect(directory.byHost("thor.polls.local")).toMatchObject({ name: "thor", labels });
    expect(directory.byName("loki")).toBeUndefined();
  }
  expect(errors).toHaveLength(1);
  registry.list = [loki];
  expect(await directory.findByName("loki")).toBe(directory.byHost("thor.polls.local"));
});

test("tenants are listed by state and by labels, as they were read last", async () => {
  const { registry, directory } = await directoryOf([], { refreshMs: never, missMs: 0 });
  registry.list.push(
    { ...tenantNamed("thor"), labels: { plan: "gold", region: "eu" } },
    { ...tenantNamed("loki"), labels: { plan: "gold" }, state: "suspended" },
    { ...tenantNamed("odin"), state: "archived" },
    tenantNamed("freya"),
  );
  await directory.findByName("nobody");
  const names = (filter?: Parameters<typeof directory.list>[0]) => directory.list(filter).map(({ name }) => name);
  expect(names()).toEqual(["freya", "thor"]);
  expect(names({ label: { plan: "gold" } })).toEqual(["thor"]);
  expect(names({ label: { plan: "gold", region: "us" } })).toEqual([]);
  expect(names({ label: { plan: "gold" }, state: "all" })).toEqual(["loki", "thor"]);
  expect(names({ state: "archived" })).toEqual(["odin"]);
  expect(names({ label: { constructor: "x" } })).toEqual([]);
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
  const state = () => tenancy.resolveHost("thor.polls.local")?.state;
  const gone = () => expect.poll(state).toBeUndefined();
  for (const [word, code] of [
    ["suspended", "TENANT_SUSPENDED"],
    ["archived", "TENANT_UNKNOWN"],
  ]) {
    await database.query("update public.tenants set state = $1", [word]);
    await expect.poll(state).toBe(word === "archived" ? undefined : word);
    await expect(tenancy.withTenant("thor", () => "served")).rejects.toMatchObject({ code });
    await database.query("update public.tenants set state = 'active'");
    await expect.poll(state).toBe("active");
  }
  await database.query("delete from public.tenants");
  await gone();
});

describe("a registry that is wrong", () => {
  test("serves the tenants that are right, and tells once of each change of what is wrong", async () => {
    const { registry, directory, errors } = await directoryOf(["thor"], { refreshMs: 10 });
    const clash = { ...tenantNamed("loki"), hosts: ["THOR.polls.local"] };
    registry.list.push(clash, tenantNamed("freya"));
    await expect.poll(() => errors).toHaveLength(1);
    expect(errors[0]).toContain('loki: host "thor.polls.local" is already that of tenant "thor"');
    const asked = registry.asked;
    await expect.poll(() => registry.asked).toBeGreaterThan(asked + 2);
    expect(errors).toHaveLength(1);
    expect(directory.byHost("thor.polls.local")).toMatchObject({ name: "thor" });
    expect(directory.byName("loki")).toBeUndefined();
    expect(directory.byName("freya")).toBeDefined();
    registry.list = [tenantNamed("odin"), clash];
    await expect.poll(() => directory.byHost("thor.polls.local")).toMatchObject({ name: "loki" });
    registry.list.push({ ...tenantNamed("pg_x"), hosts: [] });
    await expect.poll(() => errors).toHaveLength(2);
    expect(errors[1]).toContain("pg_");
    registry.list.pop();
    registry.list.pop();
    await expect.poll(() => directory.byName("loki")).toBeUndefined();
  });

  test("lets nobody take the name, schema, host or subdomain of a tenant that is served", async () => {
    const { registry, directory, errors } = await directoryOf(["thor"], {
      refreshMs: never,
      missMs: 0,
      subdomainsOf: "x.local",
    });
    const takes: Tenant[] = [
      { ...tenantNamed("loki"), schema: "thor" },
      { ...tenantNamed("thor"), schema: "loki", hosts: [] },
      { ...tenantNamed("freya"), hosts: ["thor.polls.local"] },
      { ...tenantNamed("Thor"), hosts: [] },
    ];
    for (const taker of takes) {
      for (const list of [
        [tenantNamed("thor"), taker],
        [taker, tenantNamed("thor")],
      ]) {
        registry.list = list;
        await directory.findByName("nobody");
        expect(directory.list({ state: "all" })).toEqual([tenantNamed("thor")]);
        expect(directory.byHost("thor.polls.local")).toMatchObject({ name: "thor", schema: "thor" });
        expect(directory.byHost("thor.x.local")).toMatchObject({ name: "thor", schema: "thor" });
        expect(errors.at(-1)).toContain(taker.name);
      }
    }
  });

  test("at the start leaves out all that collide, since nobody knows whose it is", async () => {
    const loki = { ...tenantNamed("loki"), hosts: ["THOR.polls.local"] };
    const errors: Error[] = [];
    const list = [tenantNamed("thor"), loki, tenantNamed("odin"), tenantNamed("odin"), tenantNamed("freya")];
    const directory = await openDirectory(givenRegistry(listOf(list)), [], { onError: (error) => errors.push(error) });
    directory.close();
    expect(directory.list()).toEqual([tenantNamed("freya")]);
    expect(directory.byHost("thor.polls.local")).toBeUndefined();
    expect(errors).toMatchObject([{ code: "REGISTRY_INVALID", problems: { length: 3 } }]);
  });

  test("leads nobody to another tenant's wildcard in place of one that is left out or archived", async () => {
    const { registry, directory } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
    const any = { ...tenantNamed("any"), hosts: ["*.polls.local"] };
    const wrong: Tenant[] = [
      { ...tenantNamed("loki"), schema: "thor" },
      { ...tenantNamed("loki"), schema: "pg_x" },
      { ...tenantNamed("loki"), state: "archived" },
      { ...tenantNamed("loki"), labels: { n: 1n as never } },
    ];
    for (const loki of wrong) {
      registry.list = [any, tenantNamed("thor"), loki];
      await directory.findByName("nobody");
      expect(directory.byHost("loki.polls.local")).toBeUndefined();
      expect(directory.byHost("odin.polls.local")).toMatchObject({ name: "any" });
    }
    registry.list = [any, tenantNamed("thor")];
    await directory.findByName("nobody");
    expect(directory.byHost("loki.polls.local")).toMatchObject({ name: "any" });
  });

  test.each<Partial<Tenant>>([{ state: "archived" }, { schema: "pg_x" }])(
    "leads nobody to another tenant's subdomain where it is a host of one that is %o",
    async (what) => {
      const options = { refreshMs: never, missMs: 0, subdomainsOf: "polls.local" };
      const { registry, directory } = await directoryOf(["loki"], options);
      const odin = { ...tenantNamed("odin"), hosts: ["thor.polls.local"] };
      registry.list = [tenantNamed("loki"), { ...tenantNamed("thor"), hosts: [] }, { ...odin, ...what }];
      await directory.findByName("nobody");
      expect(directory.byHost("thor.polls.local")).toBeUndefined();
      expect(directory.byHost("loki.polls.local")).toMatchObject({ name: "loki" });
      registry.list.pop();
      await directory.findByName("nobody");
      expect(directory.byHost("thor.polls.local")).toMatchObject({ name: "thor" });
    },
  );

  test("of rows that change all at once never one is away", async () => {
    const names = Array.from({ length: 5_000 }, (_, at) => `t${at}`);
    const { registry, directory } = await directoryOf(names, { refreshMs: never, missMs: 0 });
    registry.list = names.map((name) => ({ ...tenantNamed(name), labels: { plan: "gold" } }));
    let done = false;
    const reading = directory.findByName("nobody").finally(() => {
      done = true;
    });
    let looks = 0;
    for (; !done; looks++) {
      await new Promise(setImmediate);
      expect(directory.list()).toHaveLength(5_000);
    }
    await reading;
    expect(looks).toBeGreaterThan(2);
    expect(directory.list({ label: { plan: "gold" } })).toHaveLength(5_000);
  });

  test("holds rows that are no tenants at all: they are left out", async () => {
    const rows = [
      null,
      { name: 5.5 },
      { name: "thor", hosts: [1] },
      { name: "loki", state: "x" },
      { name: "odin", labels: [] },
    ];
    const registry = { tenants: async () => rows.map((row) => row ?? {}) as never };
    const errors: Error[] = [];
    const directory = await openDirectory(givenRegistry(registry), ["odin"], {
      onError: (error) => errors.push(error),
    });
    directory.close();
    expect(directory.list({ state: "all" })).toEqual([]);
    expect(errors).toMatchObject([{ problems: { length: 6 } }]);
  });

  test("without a hook is a warning of the process", async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on("warning", listen);
    const registry = listOf([tenantNamed("thor")]);
    const directory = await openDirectory(givenRegistry(registry), [], { refreshMs: never, missMs: 0 });
    registry.tenants = () => Promise.reject(new Error("out of order"));
    expect(await directory.findByName("loki")).toBeUndefined();
    await expect
      .poll(() => warnings.map(({ message }) => message))
      .toContainEqual(expect.stringContaining("out of order"));
    process.off("warning", listen);
    directory.close();
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

test("a row that can't even be read is left out, and the others are served", async () => {
  const circle: Record<string, unknown> = {};
  circle.circle = circle;
  const lazy = {
    get name() {
      throw new Error("not loaded");
    },
  };
  const { directory, errors, registry } = await directoryOf(["thor"], { refreshMs: 10 });
  registry.list.push({ ...tenantNamed("odin"), labels: circle as never }, lazy as never, tenantNamed("loki"));
  await expect.poll(() => directory.list().map(({ name }) => name)).toEqual(["loki", "thor"]);
  expect(errors).toEqual([expect.stringMatching(/row 2 can't be read: .*circular.*row 3 can't be read: not loaded/s)]);
});

test("an onError that throws stops no reading", async () => {
  const warned: string[] = [];
  const warn = ({ message }: Error) => warned.push(message);
  process.on("warning", warn);
  const onError = () => {
    throw new Error("no such collector");
  };
  const { directory, registry } = await directoryOf(["thor"], { refreshMs: 10, onError });
  registry.list.push({ ...tenantNamed("odin"), hosts: ["a b"] });
  await expect.poll(() => warned).toEqual(["onError threw: no such collector"]);
  registry.list = [tenantNamed("loki")];
  await expect.poll(() => directory.list().map(({ name }) => name)).toEqual(["loki"]);
  process.off("warning", warn);
});

test("a registry that does not answer is given up, and asked again", async () => {
  const { directory, registry, errors } = await directoryOf(["thor"], { refreshMs: never, missMs: 0 });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    vi.spyOn(registry, "tenants").mockReturnValueOnce(new Promise(() => {}));
    const found = directory.findByHost("loki.polls.local");
    await vi.advanceTimersByTimeAsync(30_000);
    expect(await found).toBeUndefined();
    expect(errors).toEqual(["no answer within 30 s"]);
    registry.list.push(tenantNamed("loki"));
    expect(await directory.findByHost("loki.polls.local")).toMatchObject({ name: "loki" });
  } finally {
    vi.useRealTimers();
  }
});
