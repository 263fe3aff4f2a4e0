// Schema names that were given up: an application that still knows the last tenant must not reach the next one's schema.
import { describe, expect, test } from "vitest";
import { addTenant, createTenant, type Fleet, importTenants, migrate, removeTenant } from "../../src/fleet/index.js";
import { createTenancy } from "../../src/runtime/index.js";
import { createDatabase, newestAtLeast, type TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { testFleet } from "./fleet.ts";

const migrations = { "1_notes.sql": "create table notes (owner text not null)" };
const table =
  "create table public.tenants (name text primary key, schema text, hosts text[], labels jsonb, state text)";

async function fleetOf(database: TestDatabase, kind: "file" | "table") {
  if (kind === "table") await database.query(table);
  const tenants = kind === "table" ? { table: "public.tenants" } : {};
  return await testFleet(database, { migrations, tenants });
}

const remove = (fleet: Fleet, dropSchema: boolean) => removeTenant(fleet, "thor", { dropSchema });
const retired = { code: "NAME_RETIRED", hint: expect.stringContaining("--reuse-name") };

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  describe.each(["file", "table"] as const)("registry in a %s", (kind) => {
    test("an application that runs writes nothing of a removed tenant's into the next one's schema", async () => {
      const database = await createDatabase(server);
      const { fleet, project } = await fleetOf(database, kind);
      await createTenant(fleet, { name: "thor" });
      const config = { config: project.configFile, env: {} };
      const tenancy = await createTenancy({ config, refreshMs: 1_000_000, missMs: 1_000_000 });
      whenFileEnds(() => tenancy.close());
      const write = () => tenancy.withTenant("thor", () => tenancy.query("insert into notes values ('thor')"));
      await write();
      await remove(fleet, true);
      await expect(createTenant(fleet, { name: "loki", schema: "thor" })).rejects.toMatchObject(retired);
      await expect(write()).rejects.toMatchObject({ code: "42P01" });
      expect(await database.query("select from pg_namespace where nspname = 'thor'")).toEqual([]);

      // what the refusal is for
      await createTenant(fleet, { name: "loki", schema: "thor" }, { reuseName: true });
      await write();
      expect(await database.query("select owner from thor.notes")).toEqual([{ owner: "thor" }]);
    });

    test("the same tenant may come back at once, and another one when the time is over", async () => {
      const database = await createDatabase(server);
      const { fleet } = await fleetOf(database, kind);
      for (let time = 0; time < 2; time++) {
        await createTenant(fleet, { name: "thor" });
        await remove(fleet, true);
      }
      await database.query("update tenantctl.retired set until = now()");
      await createTenant(fleet, { name: "loki", schema: "thor" });
      await removeTenant(fleet, "loki");
      expect(await database.query("select schema, tenant from tenantctl.retired")).toEqual([
        { schema: "thor", tenant: "loki" },
      ]);
    });

    test("a schema that stayed is given to no other tenant", async () => {
      const { fleet } = await fleetOf(await createDatabase(server), kind);
      await createTenant(fleet, { name: "thor" });
      await remove(fleet, false);
      const loki = { name: "loki", schema: "thor" };
      await expect(addTenant(fleet, loki)).rejects.toMatchObject(retired);
      await addTenant(fleet, loki, { reuseName: true });
    });
  });

  test("a row that was inserted by hand, or imported, gets no retired schema either", async () => {
    const database = await createDatabase(server);
    const { fleet, project, again } = await fleetOf(database, "table");
    await createTenant(fleet, { name: "thor" });
    await remove(fleet, true);
    await project.write("import.json", JSON.stringify({ tenants: { loki: { schema: "thor" }, odin: {} } }));
    const file = project.path("import.json");
    await expect(importTenants(fleet, file)).rejects.toMatchObject(retired);
    expect(await database.query("select name from public.tenants")).toEqual([]);
    await importTenants(fleet, file, { reuseName: true });
    const { tenants, summary } = await migrate(await again(), {});
    expect(summary).toMatchObject({ changed: 1, failed: 1 });
    expect(tenants).toContainEqual(
      expect.objectContaining({
        name: "loki",
        outcome: "failed",
        error: expect.objectContaining({ code: "NAME_RETIRED" }),
      }),
    );
    await importTenants(fleet, file); // they are there
  });

  test("a removal whose note can't be written goes on, and says so", async () => {
    const database = await createDatabase(server);
    const { fleet, events } = await fleetOf(database, "table");
    await createTenant(fleet, { name: "thor" });
    await database.query("create schema tenantctl; create view tenantctl.retired as select 1 as schema");
    await remove(fleet, true);
    expect(await database.query("select name from public.tenants")).toEqual([]);
    expect(events).toContainEqual(
      expect.objectContaining({
        type: "warning",
        message: expect.stringContaining("could not write to tenantctl.retired"),
      }),
    );
  });

  test("of a removal and a creation at once the name is either the one's or retired", async () => {
    const database = await createDatabase(server);
    const { fleet, again } = await fleetOf(database, "table");
    await createTenant(fleet, { name: "thor" });
    const other = await again();
    const tries = Array.from({ length: 20 }, () =>
      createTenant(other, { name: "loki", schema: "thor" }).then(
        () => "created",
        (error) => error.code,
      ),
    );
    await remove(fleet, true);
    expect(await Promise.all(tries)).not.toContain("created");
  });
});
