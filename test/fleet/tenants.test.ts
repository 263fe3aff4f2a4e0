// Tenants come and go: all of it, or nothing.
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { lockKey } from "../../src/database/transaction.js";
import { addTenant, createTenant, removeTenant, status } from "../../src/fleet/index.js";
import { createDatabase, newestAtLeast, type TestDatabase } from "../support/database.ts";
import { tablesIn, testFleet } from "./fleet.ts";

const migrations = {
  "1_a.sql": "create table a (id bigint generated always as identity primary key, n serial)",
  "2_b.sql": "create table b (a bigint references a); create view v as select * from b",
};
const schemaExists = async (database: TestDatabase, schema: string) =>
  (await database.query("select 1 from pg_namespace where nspname = $1", [schema])).length > 0;

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  describe("create-tenant", () => {
    test("registers, creates and migrates", async () => {
      const database = await createDatabase(server);
      const { fleet, project } = await testFleet(database, { migrations });
      const { tenant, applied } = await createTenant(fleet, {
        name: "thor",
        hosts: ["Thor.example"],
        labels: { plan: "free" },
      });
      expect(tenant).toEqual({
        name: "thor",
        schema: "thor",
        hosts: ["thor.example"],
        labels: { plan: "free" },
        state: "active",
      });
      expect(applied).toEqual(["1_a", "2_b"]);
      expect(await tablesIn(database, "thor")).toEqual(["a", "b"]);
      expect(JSON.parse(await project.read("tenants.config.json")).tenants).toHaveProperty("thor");
      expect((await status(fleet, {})).summary).toMatchObject({ tenants: 1, current: 1 });
    });

    test("leaves nothing behind when a migration fails", async () => {
      const database = await createDatabase(server);
      const { fleet, project } = await testFleet(database, {
        migrations: { ...migrations, "3_c.sql": "select nowhere" },
      });
      const before = await project.read("tenants.config.json");
      await expect(createTenant(fleet, { name: "thor" })).rejects.toMatchObject({
        sqlState: "42703",
        place: { migration: "3_c" },
      });
      expect(await schemaExists(database, "thor")).toBe(false);
      expect(await project.read("tenants.config.json")).toBe(before);
    });

    test("leaves nothing behind when the registry does not take it", async () => {
      const database = await createDatabase(server);
      const { fleet } = await testFleet(database, { migrations });
      const { add } = fleet.registry;
      fleet.registry.add = () => Promise.reject(new Error("disk full"));
      await expect(createTenant(fleet, { name: "thor" })).rejects.toThrow("disk full");
      expect(await schemaExists(database, "thor")).toBe(false);
      fleet.registry.add = add;
      await createTenant(fleet, { name: "thor" });
    });

    test("refuses a schema that is there, and touches nothing", async () => {
      const database = await createDatabase(server);
      await database.query("create schema thor; create table thor.theirs ()");
      const shared = { "1_plans.sql": "create table plans ()" };
      const { fleet } = await testFleet(database, { migrations, shared });
      await expect(createTenant(fleet, { name: "thor" })).rejects.toMatchObject({
        code: "SCHEMA_EXISTS",
        hint: expect.stringContaining("add-tenant thor --baseline"),
      });
      expect(await tablesIn(database, "thor")).toEqual(["theirs"]);
      expect(await tablesIn(database, "public")).toEqual([]);
    });

    test("waits for whoever has made the schema and not listed the tenant yet", async () => {
      const database = await createDatabase(server);
      const { fleet, again } = await testFleet(database, { migrations });
      const { add } = fleet.registry;
      fleet.registry.add = async (tenant) => {
        await sleep(300);
        await add(tenant);
      };
      const first = createTenant(fleet, { name: "thor" });
      await expect.poll(() => schemaExists(database, "thor")).toBe(true);
      await expect(createTenant(await again(), { name: "thor" })).rejects.toMatchObject({ code: "TENANT_EXISTS" });
      await first;
    });

    test("refuses a name, a schema and a host that are taken", async () => {
      const { fleet } = await testFleet(await createDatabase(server), {
        migrations,
        tenants: { thor: { hosts: ["thor.example"] } },
      });
      await expect(createTenant(fleet, { name: "thor" })).rejects.toMatchObject({ code: "TENANT_EXISTS" });
      await expect(createTenant(fleet, { name: "loki", schema: "thor" })).rejects.toMatchObject({
        code: "SCHEMA_EXISTS",
      });
      await expect(createTenant(fleet, { name: "loki", hosts: ["THOR.example"] })).rejects.toMatchObject({
        code: "HOST_TAKEN",
      });
      await expect(createTenant(fleet, { name: "pg_x" })).rejects.toMatchObject({ code: "NAME_INVALID" });
    });

    test("drops nothing that somebody else has registered meanwhile", async () => {
      const database = await createDatabase(server);
      const { fleet, again } = await testFleet(database, { migrations });
      const other = await again();
      const { add } = fleet.registry;
      fleet.registry.add = async (tenant) => {
        await addTenant(other, { name: "thor" });
        await add(tenant);
      };
      await expect(createTenant(fleet, { name: "thor" })).rejects.toMatchObject({ code: "TENANT_EXISTS" });
      expect(await tablesIn(database, "thor")).toEqual(["a", "b"]);
    });

    test("drops nothing half-made that has a row by now, or that somebody else has migrated", async () => {
      const database = await createDatabase(server);
      const text = (more: string) =>
        `-- migrate:up transaction:false\n-- tenantctl-lint: may-change public.tenants -- a row by somebody else\n${more};\nselect nowhere`;
      const row = "insert into public.tenants values (replace(current_schema(), 'x', ''))";
      const { fleet, project } = await testFleet(database, {
        migrations: { ...migrations, "3_c.sql": text(row) },
        tenants: { table: "public.tenants" },
      });
      await database.query("create table public.tenants (name text primary key)");
      await expect(createTenant(fleet, { name: "thor" })).rejects.toMatchObject({ sqlState: "42703" });
      expect(await tablesIn(database, "thor")).toEqual(["a", "b"]);
      await expect(createTenant(fleet, { name: "xloki" })).rejects.toMatchObject({ sqlState: "42703" });
      expect(await schemaExists(database, "xloki")).toBe(false);
      await project.write(
        "migrations/tenant/3_c.sql",
        text("update tenantctl_migrations set run_id = 'other' where name = '1_a'"),
      );
      await expect(createTenant(fleet, { name: "odin" })).rejects.toMatchObject({ sqlState: "42703" });
      expect(await tablesIn(database, "odin")).toEqual(["a", "b"]);
      await expect(createTenant(fleet, { name: "odin" })).rejects.toMatchObject({ code: "SCHEMA_EXISTS" });
      expect((await addTenant(fleet, { name: "odin" })).applied).toEqual([]);
    });

    test("takes over what a crash left, and only that", async () => {
      const database = await createDatabase(server);
      await database.query(
        "create schema thor; create table thor.half (); comment on schema thor is 'tenantctl: creating 20260101000000-abcdef'",
      );
      const { fleet } = await testFleet(database, { migrations });
      await createTenant(fleet, { name: "thor" });
      expect(await tablesIn(database, "thor")).toEqual(["a", "b"]);
    });
  });

  describe("add-tenant", () => {
    test("with a baseline takes migrations as applied, all or up to one", async () => {
      const database = await createDatabase(server);
      await database.query(
        "create schema thor; create table thor.a (id int primary key); create schema loki; create table loki.a (id int primary key); create table loki.b ()",
      );
      const { fleet } = await testFleet(database, { migrations });
      await expect(addTenant(fleet, { name: "thor" })).rejects.toMatchObject({ code: "UNMANAGED" });
      expect((await addTenant(fleet, { name: "thor" }, { baselineTo: "1_a" })).applied).toEqual(["1_a"]);
      expect((await addTenant(fleet, { name: "loki" }, { baseline: true })).applied).toEqual(["1_a", "2_b"]);
      expect((await status(fleet, {})).tenants.map(({ state, applied }) => [state, applied])).toEqual([
        ["pending", 1],
        ["current", 2],
      ]);
    });

    test("refuses a schema that is being created, and one that is dropped just now", async () => {
      const database = await createDatabase(server);
      const { fleet, again } = await testFleet(database, { migrations });
      await createTenant(fleet, { name: "thor" });
      await removeTenant(fleet, "thor");
      const other = await database.connect();
      await other.query(`begin; select pg_advisory_xact_lock(${lockKey("thor")}); drop schema thor cascade`);
      const refused = expect(addTenant(await again(), { name: "thor" })).rejects.toMatchObject({
        code: "SCHEMA_MISSING",
      });
      await other.query("select pg_sleep(0.2); commit");
      await refused;
      await database.query("create schema thor; comment on schema thor is 'tenantctl: creating 20260101000000-abcdef'");
      await expect(addTenant(await again(), { name: "thor" })).rejects.toMatchObject({
        code: "SCHEMA_EXISTS",
        hint: expect.stringContaining("create-tenant thor takes it over"),
      });
      expect(await (await again()).registry.tenants()).toEqual([]);
    });

    test("refuses a schema that is missing, a baseline where there is a ledger, an unknown migration", async () => {
      const database = await createDatabase(server);
      const { fleet, again } = await testFleet(database, { migrations });
      await expect(addTenant(fleet, { name: "thor" })).rejects.toMatchObject({ code: "SCHEMA_MISSING" });
      await createTenant(fleet, { name: "thor" });
      await removeTenant(fleet, "thor");
      const next = await again();
      await expect(addTenant(next, { name: "thor" }, { baseline: true })).rejects.toMatchObject({
        code: "SCHEMA_EXISTS",
      });
      await expect(addTenant(next, { name: "thor" }, { baselineTo: "7_x" })).rejects.toMatchObject({
        code: "MIGRATION_UNKNOWN",
      });
      expect((await addTenant(next, { name: "thor" })).applied).toEqual([]);
      expect((await status(next, {})).summary.current).toBe(1);
    });
  });
});
