// The registry in the database: a table or a query, of the application's own or as init makes it.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ProblemsError, type TenantctlError } from "../../src/errors.js";
import {
  addTenant,
  createTenant,
  editTenant,
  exportTenants,
  type Fleet,
  importTenants,
  migrate,
  planMigrate,
  removeTenant,
  scaffold,
  status,
} from "../../src/fleet/index.js";
import { testFleet } from "../fleet/fleet.ts";
import { createDatabase, newest, newestAtLeast, type TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";

const migrations = { "1_a.sql": "create table a (id int primary key)" };
const table = { config: { tenants: { table: "public.tenants" } } };
const plain = { name: "thor", schema: "thor", hosts: [], labels: {}, state: "active" };

/** The shared migration that init writes. */
async function tenantsTable(): Promise<Record<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), "tenantctl-init-"));
  whenFileEnds(() => rm(folder, { recursive: true, force: true }));
  await scaffold(folder, { embedded: false, registry: "table" });
  const name = "20260101000000_create_tenants.sql";
  return { [name]: await readFile(join(folder, "migrations/shared", name), "utf8") };
}

/** A fleet whose registry is the table that init makes. */
async function ourFleet(database: TestDatabase, contents: object = {}) {
  return await testFleet(database, {
    migrations,
    shared: await tenantsTable(),
    config: { migrations: { tenant: "migrations/tenant", shared: "migrations/shared" }, ...table.config },
    ...contents,
  });
}

async function refusal(action: Promise<unknown>): Promise<TenantctlError> {
  const error = await action.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toHaveProperty("code");
  return error as TenantctlError;
}

async function problems(fleet: Fleet): Promise<readonly string[]> {
  const error = await refusal(fleet.registry.tenants());
  expect(error.code).toBe("REGISTRY_INVALID");
  return error instanceof ProblemsError ? error.problems : [error.message];
}

async function namesIn(database: TestDatabase): Promise<string[]> {
  return (await database.query<{ name: string }>("select name from tenants order by 1")).map(({ name }) => name);
}

async function schemasIn(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ name: string }>(
    "select nspname as name from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public', 'tenantctl') order by 1",
  );
  return rows.map(({ name }) => name);
}

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  describe("a table of the application's own", () => {
    test("is read whatever it and its columns are called, and holds what they can", async () => {
      const database = await createDatabase(server);
      const { fleet } = await testFleet(database, {
        migrations,
        config: {
          tenants: {
            table: '"Weird "" schema"."t;--"',
            columns: { name: 'Sl"ug', schema: "schema name", hosts: "host", labels: "l'abels" },
          },
        },
      });
      await database.query(`create schema "Weird "" schema"; create domain short as varchar(20);
        create table "Weird "" schema"."t;--" ("Sl""ug" short primary key, "schema name" name, host text, "l'abels" json, state char(9), name int)`);
      expect(await fleet.registry.tenants()).toEqual([]);
      await createTenant(fleet, { name: "thor", hosts: ["Thor.local"], labels: { plan: "it's" } });
      await createTenant(fleet, { name: "loki", schema: 'Lo"ki' });
      expect(await fleet.registry.tenants()).toEqual([
        { ...plain, name: "loki", schema: 'Lo"ki' },
        { ...plain, hosts: ["thor.local"], labels: { plan: "it's" } },
      ]);
      expect(await refusal(createTenant(fleet, { name: "odin", hosts: ["a.b", "c.d"] }))).toMatchObject({
        code: "REGISTRY_INVALID",
        message: '"Weird "" schema"."t;--" holds one host for each tenant',
      });
      expect(await refusal(createTenant(fleet, { name: "o".repeat(21) }))).toMatchObject({
        code: "REGISTRY_WRITE",
        message: expect.stringContaining("too long"),
      });
      expect(await refusal(createTenant(fleet, { name: "odin", schema: 'Weird " schema' }))).toMatchObject({
        code: "SCHEMA_EXISTS",
      });
      expect(await schemasIn(database)).toEqual(['Lo"ki', 'Weird " schema', "thor"]);
      await removeTenant(fleet, "loki");
      expect(await fleet.registry.tenants()).toHaveLength(1);
    });

    test("has hosts in an array, a JSON array or one text, whatever their type is called", async () => {
      const database = await createDatabase(server);
      const { fleet } = await testFleet(database, { migrations, ...table });
      for (const [type, value] of [
        ["varchar(50)[]", "{A.b,c.d,2001:DB8::0:1}"],
        ["jsonb", '["a.b", "c.d", "2001:db8:0::1"]'],
        ["json", '["a.b","C.d","2001:db8::1"]'],
      ] as const) {
        await database.query(`drop table if exists tenants; create table tenants (name text, hosts ${type})`);
        await database.query("insert into tenants values ('thor', $1)", [value]);
        expect(await fleet.registry.tenants()).toEqual([{ ...plain, hosts: ["a.b", "c.d", "2001:db8::1"] }]);
        for (const host of ["C.D", "2001:0db8::1"])
          expect(await refusal(createTenant(fleet, { name: "loki", hosts: [host] }))).toMatchObject({
            code: "HOST_TAKEN",
          });
        await fleet.registry.add({ ...plain, name: "loki", schema: "loki", hosts: ["e.f", "g.h"], state: "active" });
        expect((await fleet.registry.tenants())[0]).toMatchObject({ name: "loki", hosts: ["e.f", "g.h"] });
      }
    });
  });

  describe("a query", () => {
    test("lists what it answers, and is not to be edited", async () => {
      const database = await createDatabase(server);
      await database.query(
        "create table customers (slug text, live bool, host text); insert into customers values ('thor', true, 'a.b'), ('loki', false, null)",
      );
      const { fleet } = await testFleet(database, {
        migrations,
        config: {
          tenants: {
            query:
              "select slug as name, array[host] as hosts, case when live then 'active' else 'suspended' end as state from customers where host is not null or not live; -- ours",
          },
        },
      });
      await database.query("update customers set host = 'c.d' where slug = 'loki'");
      expect(await fleet.registry.tenants()).toEqual([
        { ...plain, hosts: ["a.b"] },
        { ...plain, name: "loki", schema: "loki", hosts: ["c.d"], state: "suspended" },
      ]);
      expect((await migrate(fleet, {})).summary).toMatchObject({ tenants: 2, changed: 2 });
      expect(await refusal(createTenant(fleet, { name: "odin", hosts: ["o.in"] }))).toMatchObject({
        code: "CONFIG_NOT_EDITABLE",
        hint: 'insert the row with which it answers "odin": { "schema": "odin", "hosts": ["o.in"], "labels": {} }; then tenantctl migrate odin',
      });
      expect(await refusal(removeTenant(fleet, "thor", { dropSchema: true }))).toMatchObject({
        code: "CONFIG_NOT_EDITABLE",
      });
      expect(await refusal(editTenant(fleet, "loki", { state: "archived" }))).toMatchObject({
        code: "CONFIG_NOT_EDITABLE",
        hint: 'change the rows, so that it answers "loki": { "hosts": ["c.d"], "state": "archived" }',
      });
      expect(await editTenant(fleet, "loki", { state: "suspended" })).toMatchObject({ changed: [] });
      expect(await schemasIn(database)).toEqual(["loki", "thor"]);
    });
  });

  describe("the table that init makes", () => {
    test("is there after the first migrate, and after the first create-tenant", async () => {
      const [one, other] = [await createDatabase(server), await createDatabase(server)];
      const { fleet } = await ourFleet(one);
      expect((await planMigrate(fleet, {})).shared?.pending).toHaveLength(1);
      expect(await refusal(status(fleet, {}))).toMatchObject({ code: "REGISTRY_MISSING" });
      const first = await migrate(fleet, {});
      expect(first).toMatchObject({ ok: true, shared: { applied: ["20260101000000_create_tenants"] }, tenants: [] });
      await one.query("insert into tenants (name, schema) values ('thor', 'thor')");
      expect(await migrate(fleet, {})).toMatchObject({ ok: true, shared: { applied: [] }, summary: { changed: 1 } });

      const { fleet: signUp } = await ourFleet(other);
      expect((await createTenant(signUp, { name: "thor", hosts: ["thor.local"] })).tenant).toMatchObject({
        name: "thor",
      });
      expect(await signUp.registry.tenants()).toEqual([{ ...plain, hosts: ["thor.local"] }]);
    });

    test("refuses, from whoever writes, what the registry would refuse", async () => {
      const database = await createDatabase(server);
      const { fleet } = await ourFleet(database);
      await migrate(fleet, {});
      const insert = async (row: Record<string, unknown>) => {
        const { name = "x", schema = name, hosts = [], labels = {}, state = "active" } = row;
        await database.query("insert into tenants (name, schema, hosts, labels, state) values ($1, $2, $3, $4, $5)", [
          name,
          schema,
          hosts,
          JSON.stringify(labels),
          state,
        ]);
      };
      await insert({
        name: "thor",
        hosts: ["thor.local", "*.thor.local", "::1", "10.0.0.1"],
        labels: { plan: "free" },
      });
      await insert({ name: "loki", schema: 'Lo"ki' });
      for (const row of [
        { name: "" },
        { name: "a b" },
        { name: "_x" },
        { name: "pg_x" },
        { name: "public" },
        { name: "x".repeat(64) },
        { name: "thor" },
        { schema: "thor" },
        { schema: "" },
        { schema: "$user" },
        { schema: "ü".repeat(32) },
        { hosts: ["thor.local"] },
        { hosts: ["A.b"] },
        { hosts: ["a.b:80"] },
        { hosts: ["a.b", "a.b"] },
        { hosts: ["a..b"] },
        { hosts: [null] },
        { labels: [] },
        { labels: { seats: 5 } },
        { labels: { seats: ["a"] } },
        { state: "gone" },
      ]) {
        await expect(insert(row), JSON.stringify(row)).rejects.toMatchObject({ code: expect.stringMatching(/^23/) });
      }
      expect(await fleet.registry.tenants()).toHaveLength(2);
      expect((await migrate(fleet, {})).ok).toBe(true);
    });

    test("gets a tenant's row in the transaction of its schema, or neither", async () => {
      const database = await createDatabase(server);
      const { fleet, project, again } = await ourFleet(database);
      await createTenant(fleet, { name: "thor", hosts: ["Thor.local"], labels: { plan: "free" } });
      const [same] = await database.query(
        "select (select xmin from tenants) = (select xmin from thor.tenantctl_migrations) as same",
      );
      expect(same).toEqual({ same: true });
      await project.write("migrations/tenant/2_b.sql", "select nowhere");
      await expect(createTenant(await again(), { name: "loki" })).rejects.toMatchObject({ sqlState: "42703" });
      await project.write("migrations/tenant/2_b.sql", "create table b ()");
      // somebody else takes the host while the migrations run
      await project.write(
        "migrations/tenant/3_c.sql",
        "do $$ begin perform pg_sleep(0.01); insert into public.tenants (name, schema, hosts) values ('rogue', 'rogue', '{loki.local}'); end $$",
      );
      expect(await refusal(createTenant(await again(), { name: "loki", hosts: ["loki.local"] }))).toMatchObject({
        code: "HOST_TAKEN",
      });
      expect(await namesIn(database)).toEqual(["thor"]);
      expect(await schemasIn(database)).toEqual(["thor"]);
    });

    test("gets it in the last part of a creation that has to commit in parts", async () => {
      const database = await createDatabase(server);
      const parts = {
        "1_a.sql": "create table a (id int)",
        "2_b.sql": "-- migrate:up transaction:false\ncreate index concurrently a_id on a (id)",
      };
      const { fleet, project, again } = await ourFleet(database, { migrations: parts });
      await createTenant(fleet, { name: "thor" });
      expect(await namesIn(database)).toEqual(["thor"]);
      await project.write("migrations/tenant/3_c.sql", "select nowhere");
      await expect(createTenant(await again(), { name: "loki" })).rejects.toMatchObject({ sqlState: "42703" });
      expect(await namesIn(database)).toEqual(["thor"]);
      expect(await schemasIn(database)).toEqual(["thor"]);
    });

    test("of eight sign-ups at once for one name, one host or one schema lets one through; eight others all", async () => {
      const database = await createDatabase(server);
      const { fleet, again } = await ourFleet(database);
      await migrate(fleet, {});
      const eight = Array.from({ length: 8 }, (_, index) => index);
      const fleets = await Promise.all(eight.map(() => again()));
      const codes = async (wanted: (index: number) => Parameters<typeof createTenant>[1]) => {
        const all = await Promise.allSettled(eight.map((index) => createTenant(fleets[index] as Fleet, wanted(index))));
        return all.map((one) => (one.status === "fulfilled" ? "created" : one.reason.code)).sort();
      };
      const one = (code: string) => [...Array.from({ length: 7 }, () => code), "created"].sort();
      expect(await codes(() => ({ name: "thor", hosts: ["thor.local"] }))).toEqual(one("TENANT_EXISTS"));
      expect(await codes((index) => ({ name: `h${index}`, hosts: ["h.local"] }))).toEqual(one("HOST_TAKEN"));
      expect(await codes((index) => ({ name: `s${index}`, schema: "s" }))).toEqual(one("SCHEMA_EXISTS"));
      expect(await codes((index) => ({ name: `t${index}`, hosts: [`t${index}.local`] }))).toEqual(
        eight.map(() => "created"),
      );
      expect(await namesIn(database)).toHaveLength(11);
      expect((await status(fleet, {})).summary).toMatchObject({ tenants: 11, current: 11 });
      expect(await schemasIn(database)).toHaveLength(11);
    });

    test("is edited, one change after the other, each whole or not at all", async () => {
      const database = await createDatabase(server);
      const { fleet, again } = await ourFleet(database);
      await createTenant(fleet, { name: "thor", hosts: ["a.local"], labels: { plan: "free" } });
      await createTenant(fleet, { name: "loki" });
      const edit = { state: "suspended", hosts: ["B.local"], removeHosts: ["A.local"], labels: { eu: "1" } } as const;
      const thor = { ...plain, hosts: ["b.local"], labels: { plan: "free", eu: "1" }, state: "suspended" };
      expect(await editTenant(fleet, "thor", edit)).toEqual({ tenant: thor, changed: ["hosts", "labels", "state"] });
      const version = () => database.query("select xmin from tenants where name = 'thor'");
      const written = await version();
      expect(await editTenant(fleet, "thor", edit)).toEqual({ tenant: thor, changed: [] });
      expect(await version()).toEqual(written);
      const codes = [
        editTenant(fleet, "loki", { hosts: ["B.LOCAL"] }),
        editTenant(fleet, "loki", { hosts: ["c.local", "x:80"] }),
        editTenant(fleet, "lokki", { state: "archived" }),
        editTenant(fleet, "loki", {}),
        editTenant(fleet, "loki", { hosts: ["d.local"], removeHosts: ["D.local"] }),
        editTenant(fleet, "loki", { labels: { a: "b" }, removeLabels: ["a"] }),
      ].map(async (refused) => (await refusal(refused)).code);
      expect(await Promise.all(codes)).toEqual([
        "HOST_TAKEN",
        "NAME_INVALID",
        "TENANT_UNKNOWN",
        "USAGE",
        "USAGE",
        "USAGE",
      ]);
      const fleets = [fleet, await again()];
      const labels = Array.from({ length: 12 }, (_, index) => `l${index}`);
      await Promise.all(
        labels.map((label, index) =>
          editTenant(fleets[index % 2] ?? fleet, "loki", { labels: { [label]: "1" }, hosts: [`${label}.local`] }),
        ),
      );
      const [loki, kept] = await fleet.registry.tenants();
      expect(Object.keys(loki?.labels ?? {}).sort()).toEqual([...labels].sort());
      expect(loki?.hosts).toHaveLength(12);
      expect(kept).toEqual(thor);
    });

    test("loses a tenant and its schema together", async () => {
      const database = await createDatabase(server);
      const { fleet } = await ourFleet(database);
      for (const name of ["thor", "loki", "odin"]) await createTenant(fleet, { name });
      await database.query("create table orders (tenant text references tenants); insert into orders values ('loki')");
      await removeTenant(fleet, "thor", { dropSchema: true });
      expect(await refusal(removeTenant(fleet, "loki", { dropSchema: true }))).toMatchObject({
        code: "REGISTRY_WRITE",
        message: expect.stringContaining("SQLSTATE 23503"),
      });
      await removeTenant(fleet, "odin");
      expect(await namesIn(database)).toEqual(["loki"]);
      expect(await schemasIn(database)).toEqual(["loki", "odin"]);
      expect((await addTenant(fleet, { name: "odin" })).applied).toEqual([]);
      expect(await refusal(removeTenant(fleet, "lokki"))).toMatchObject({
        code: "TENANT_UNKNOWN",
        hint: "did you mean loki?",
      });
    });
  });

  test("tenants move from a file to a table and back", async () => {
    const database = await createDatabase(server);
    const { fleet, project } = await ourFleet(database);
    const tenants = {
      thor: { hosts: ["thor.local"], labels: { plan: "free" } },
      loki: { schema: "trickster", state: "suspended" },
      10: {},
    };
    await project.write("old.yaml", `tenants: ${JSON.stringify(tenants)}`);
    const bring = async (file: string, dryRun = false) => await importTenants(fleet, project.path(file), { dryRun });
    expect(await bring("old.yaml")).toEqual({ added: ["10", "thor", "loki"], changed: [], unchanged: [] });
    expect(await exportTenants(fleet)).toEqual({ tenants });
    await project.write("export.json", JSON.stringify(await exportTenants(fleet)));
    expect(await bring("export.json")).toMatchObject({ added: [], changed: [], unchanged: ["10", "loki", "thor"] });

    await project.write("next.json", JSON.stringify({ tenants: { thor: { hosts: ["x.local"] }, odin: {} } }));
    expect(await bring("next.json", true)).toEqual({ added: ["odin"], changed: ["thor"], unchanged: [] });
    expect(await exportTenants(fleet)).toEqual({ tenants });
    await bring("next.json");
    expect(await exportTenants(fleet)).toEqual({
      tenants: { ...tenants, thor: { hosts: ["x.local"] }, odin: {} },
    });

    await project.write(
      "bad.json",
      JSON.stringify({ tenants: { freya: {}, loki: {}, y: { hosts: ["x.local"] }, z: { schema: "odin" } } }),
    );
    const error = await refusal(bring("bad.json"));
    expect(error.code).toBe("REGISTRY_INVALID");
    expect((error as ProblemsError).problems).toEqual([
      'public.tenants: loki: its schema is "trickster", and can\'t become "loki" by an import',
      'public.tenants: y.hosts[0]: host "x.local" is already that of tenant "thor"',
      'public.tenants: z.schema: schema "odin" is already that of tenant "odin"',
    ]);
    expect(await namesIn(database)).toEqual(["10", "loki", "odin", "thor"]);
    expect(await refusal(bring("tenants.config.json"))).toMatchObject({ code: "CONFIG_INVALID" });
  });

  test.skipIf(!pgbouncerAvailable)(`works behind pgbouncer in transaction mode${pgbouncerNote}`, async () => {
    const database = await createDatabase(server);
    const pooler = await startPgbouncer(database);
    const { fleet, again } = await ourFleet(database, { database: pooler.url });
    await createTenant(fleet, { name: "thor" });
    await Promise.all([createTenant(await again(), { name: "loki" }), createTenant(fleet, { name: "odin" })]);
    await removeTenant(fleet, "odin", { dropSchema: true });
    expect((await status(fleet, {})).summary).toMatchObject({ tenants: 2, current: 2 });
    const { fleet: asked } = await testFleet(database, {
      database: pooler.url,
      migrations,
      config: { tenants: { query: "select name, schema from tenants" } },
    });
    expect(await asked.registry.tenants()).toHaveLength(2);
  });
});

describe("on any server", () => {
  const server = newest();

  test("a table needs no column but the name; a view of one will do", async () => {
    const database = await createDatabase(server);
    await database.query(
      "create table customers (id int primary key, name varchar); insert into customers values (1, 'thor'); create view tenants as select name from customers",
    );
    const { fleet } = await testFleet(database, { migrations, config: { tenants: { table: "Tenants" } } });
    expect(await fleet.registry.tenants()).toEqual([plain]);
    for (const more of [{ schema: "x" }, { hosts: ["a.b"] }, { labels: { a: "b" } }, { state: "suspended" as const }]) {
      expect(await refusal(createTenant(fleet, { name: "loki", ...more }))).toMatchObject({
        code: "REGISTRY_INVALID",
        message: expect.stringContaining("has no column for"),
      });
    }
    for (const edit of [{ hosts: ["a.b"] }, { labels: { a: "b" } }, { state: "suspended" as const }]) {
      expect(await refusal(editTenant(fleet, "thor", edit))).toMatchObject({
        code: "REGISTRY_INVALID",
        message: expect.stringMatching(/^public\.tenants has no column for/),
      });
    }
    expect(await editTenant(fleet, "thor", { state: "active" })).toMatchObject({ changed: [] });
    // the row lacks what the table must have: then there is no schema either
    expect(await refusal(createTenant(fleet, { name: "loki" }))).toMatchObject({
      code: "REGISTRY_WRITE",
      hint: "columns that tenantctl does not know need a default",
    });
    expect(await schemasIn(database)).toEqual([]);
  });

  test("a table with rows that are wrong is refused, with all of them named", async () => {
    const database = await createDatabase(server);
    await database.query(`create table tenants (name text, schema text, hosts jsonb, labels jsonb, state text);
      insert into tenants values ('thor', null, '["a.b"]', '{"plan":"free"}', 'active'), ('thor', null, null, null, null),
        ('a b', null, null, null, null), ('loki', 'thor', '["A.b", 3]', '[]', 'gone'), (null, 'x', null, null, null),
        ('odin', null, '"o.in:80"', '{"seats": 5}', null), ('${"x".repeat(64)}', null, null, null, null)`);
    const { fleet } = await testFleet(database, { migrations, ...table });
    expect([...(await problems(fleet))].sort()).toEqual([
      "public.tenants: loki.hosts[1]: must be text, not a number",
      "public.tenants: loki.labels: must be an object of texts, not a list",
      'public.tenants: loki.state: must be active, suspended or archived, not "gone"',
      "public.tenants: odin.labels.seats: must be text, not a number",
      "public.tenants: row 7: its name must be text, not null",
      "public.tenants: thor: the name is there twice",
    ]);
    await database.query("delete from tenants where name in ('thor', 'odin') or name is null");
    await database.query(`update tenants set hosts = '["A.b"]', labels = null, state = null;
      insert into tenants values ('thor', null, '["a.b"]', null, null), ('odin', 'pg_x', '["o.in:80"]', null, null)`);
    expect(await problems(fleet)).toEqual([
      expect.stringMatching(/^public.tenants: \["a b"\]: tenant name "a b" must not contain " "/),
      'public.tenants: loki.hosts[0]: host "a.b" is already that of tenant "a b"',
      expect.stringMatching(/^public.tenants: odin.schema: schema name "pg_x" starts with pg_/),
      'public.tenants: odin.hosts[0]: host "o.in:80" has a port',
      'public.tenants: thor: schema "thor" is already that of tenant "loki"',
      'public.tenants: thor.hosts[0]: host "a.b" is already that of tenant "a b"',
      expect.stringMatching(/x: tenant name "x+" has 64 bytes/),
      expect.stringMatching(/x.hosts\[0\]: host "a.b" is already/),
    ]);
    await expect(migrate(fleet, {})).rejects.toMatchObject({ code: "REGISTRY_INVALID" });
    expect(await schemasIn(database)).toEqual([]);
  });

  test("a table that is not there, or not as the config says, is told", async () => {
    const database = await createDatabase(server);
    const open = async (tenants: object) => (await testFleet(database, { migrations, config: { tenants } })).fleet;
    const tells = async (tenants: object) => await refusal((await open(tenants)).registry.tenants());
    expect(await tells({ table: "no.where" })).toMatchObject({
      code: "REGISTRY_MISSING",
      message: "the table no.where, which lists the tenants, does not exist",
      hint: expect.stringContaining("tenantctl migrate"),
    });
    await database.query("create table tenants (name text)");
    expect(await tells({ table: "tenants", columns: { name: "slug", hosts: "hosts" } })).toMatchObject({
      code: "REGISTRY_INVALID",
      message: 'public.tenants has no column "slug", "hosts"',
    });
    const wrong = { table: "a.b.c", columns: { name: "x".repeat(64) } };
    const error = await tells(wrong);
    expect(error).toMatchObject({ code: "CONFIG_INVALID" });
    expect((error as ProblemsError).problems).toEqual([
      'tenants.table: "a.b.c" is no table\'s name: schema.table, as SQL writes it',
      expect.stringContaining("tenants.columns.name: column name"),
    ]);
  });

  test("a query can't write, can't be two, and what is wrong with it is told", async () => {
    const database = await createDatabase(server);
    await database.query("create table customers (slug text)");
    const ask = async (query: string) => {
      const { fleet } = await testFleet(database, { migrations, config: { tenants: { query } } });
      return await refusal(fleet.registry.tenants());
    };
    expect(await ask("insert into customers values ('x') returning slug as name")).toMatchObject({
      code: "REGISTRY_INVALID",
      message: expect.stringContaining("read-only transaction"),
    });
    expect(await ask("set transaction read write")).toMatchObject({ code: "REGISTRY_INVALID" });
    expect(await ask("commit; insert into customers values ('x')")).toMatchObject({ code: "REGISTRY_INVALID" });
    expect(await ask("select 'a' as slug")).toMatchObject({
      message: "the registry's query answers no column called name",
    });
    expect(await ask("select name from nowhere")).toMatchObject({ code: "REGISTRY_MISSING" });
    expect(await database.query("select * from customers")).toEqual([]);
  });

  test("a table is not reached for by a first migrate whose shared migration fails, and its result says so", async () => {
    const { fleet } = await ourFleet(await createDatabase(server), { shared: { "1_x.sql": "select nowhere" } });
    expect(await migrate(fleet, {})).toMatchObject({
      ok: false,
      stopped: "shared",
      shared: { error: { sqlState: "42703" } },
    });
  });

  test("a table gets a baseline and the row together", async () => {
    const database = await createDatabase(server);
    const { fleet } = await ourFleet(database);
    await migrate(fleet, {});
    await database.query("create schema thor; create table thor.a ()");
    await addTenant(fleet, { name: "thor" }, { baseline: true });
    expect((await status(fleet, {})).summary).toMatchObject({ tenants: 1, current: 1 });
  });

  test("a suspended tenant is migrated, an archived one only when it is named or asked for", async () => {
    const database = await createDatabase(server);
    const { fleet } = await ourFleet(database);
    await migrate(fleet, {});
    for (const state of ["active", "suspended", "archived"] as const)
      await fleet.registry.add({ ...plain, name: state, schema: state, state });
    const moved = async (selection: object) => (await migrate(fleet, selection)).tenants.map(({ name }) => name);
    expect(await moved({ states: ["suspended"] })).toEqual(["suspended"]);
    expect(await moved({})).toEqual(["active"]);
    await expect(moved({ tenants: ["arch*"] })).rejects.toMatchObject({ code: "TENANT_UNKNOWN" });
    expect(await moved({ tenants: ["archived"], states: ["active"] })).toEqual([]);
    expect((await status(fleet, {})).summary).toMatchObject({ tenants: 2, current: 2 });
    expect(await moved({ tenants: ["archived"] })).toEqual(["archived"]);
    expect((await status(fleet, { states: ["all"] })).summary).toMatchObject({ tenants: 3, current: 3 });
  });
});
