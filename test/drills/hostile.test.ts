// Hostile names, hosts, labels, settings and files, generated: none of their SQL runs, each is refused with a code or means exactly itself.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tenantRole } from "../../src/database/roles.js";
import {
  addTenant,
  createTenant,
  type Fleet,
  findTenant,
  migrate,
  type NewTenant,
  newMigration,
  openFleet,
  removeTenant,
  selectTenants,
  sql,
  status,
} from "../../src/index.js";
import type { Tenant } from "../../src/registry/index.js";
import { openTenancy } from "../runtime/tenancy.ts";
import { createDatabase, newestAtLeast, type TestDatabase } from "../support/database.ts";
import { createProject, type ProjectContents, type TestProject } from "../support/project.ts";
import { answerOf, type Guarded, guard, hostile, identifiers, own, storable } from "./hostile.ts";

const names = Number(process.env.TENANTCTL_DRILL_NAMES ?? 200);

const quote = pg.escapeIdentifier;
const environment = { HOME: tmpdir(), VAR: `";drop table public.canary;--` };
const migrations = { "1_notes.sql": "-- migrate:up\ncreate table notes (owner text default current_schema())" };
const sharedTable = {
  "1_tenants.sql":
    "create table public.tenants (name text primary key, schema text, hosts text[], labels jsonb, state text)",
};

const tenants: fc.Arbitrary<NewTenant> = fc.record({
  name: fc.oneof(hostile, fc.constantFrom("thor", "loki")),
  schema: fc.oneof(hostile, fc.constant(undefined)),
  hosts: fc.oneof(fc.array(hostile, { maxLength: 2 }), fc.constant<string[]>(["thor.polls.local"])),
  labels: fc.oneof(fc.dictionary(hostile, hostile, { maxKeys: 2 }), fc.constant({})),
});
// one that keeps the rules, in all but what it is called
const admissible: fc.Arbitrary<NewTenant & { schema: string }> = fc.record({
  name: fc.oneof(
    fc.constant("thor"),
    fc.stringMatching(/^[a-z0-9][A-Za-z0-9_.-]{0,60}$/).filter((name) => !/^pg_|^(public|tenantctl)$/.test(name)),
  ),
  schema: identifiers,
  hosts: fc.constant<string[]>(["thor.polls.local"]),
  labels: fc.dictionary(storable, storable, { maxKeys: 2 }),
});

const without = <T extends object>(record: T) =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let guarded: Guarded;
  const open: Fleet[] = [];

  beforeAll(async () => {
    database = await createDatabase(server);
    guarded = await guard(database);
  });
  // A run that failed leaves something behind, which the next, simpler one must not be blamed for.
  const tidy = async () => {
    for (const schema of await guarded.schemas()) await database.query(`drop schema ${quote(schema)} cascade`);
    // nor refused for a name that another one gave up
    const [{ kept } = {}] = await database.query("select to_regclass('tenantctl.retired') is not null as kept");
    if (kept) await database.query("delete from tenantctl.retired");
  };
  const holds = async <T>(property: fc.IAsyncPropertyWithHooks<T>, percent: number) =>
    await fc.assert(property.beforeEach(tidy), { numRuns: Math.max(3, Math.round((names * percent) / 100)) });
  afterAll(async () => {
    for (const fleet of open) await fleet.close();
  });

  const fleetOf = async (project: TestProject, file = project.configFile) =>
    await openFleet({ config: file, env: environment });
  const lasting = async (contents: ProjectContents) => {
    const project = await createProject({ database, migrations, ...contents });
    const fleet = await fleetOf(project);
    open.push(fleet);
    return { project, fleet };
  };

  /** Comes into the fleet and out of it; where it is admitted, under exactly its name and in exactly its schema. */
  async function comeAndGo(fleet: Fleet, wanted: NewTenant): Promise<boolean> {
    const made = await answerOf(() => createTenant(fleet, wanted));
    if (made === undefined) {
      await guarded.expectOnly();
      expect(await fleet.registry.tenants()).toEqual([]);
      return false;
    }
    const { tenant } = made.value;
    const schema = wanted.schema ?? wanted.name;
    expect(tenant).toMatchObject({ name: wanted.name, schema });
    await guarded.expectOnly(schema);
    const [listed] = await fleet.registry.tenants();
    expect(listed).toEqual({ ...tenant, labels: wanted.labels ?? {} });
    const labels = Object.entries(wanted.labels ?? {})
      .filter(([key]) => key !== "" && !key.includes("="))
      .map(([key, value]) => `${key}=${value}`);
    const found = await status(fleet, { tenants: [wanted.name], labels });
    expect(found.tenants).toMatchObject([{ name: wanted.name, schema, state: "current" }]);
    const told: unknown[] = [];
    await sql(
      fleet,
      { tenants: [wanted.name] },
      {
        text: "select current_schema()",
        rows: async (_, __, rows) => void told.push(...rows.flat()),
      },
    );
    expect(told).toEqual([schema]);
    await removeTenant(fleet, wanted.name);
    expect((await addTenant(fleet, wanted)).tenant.schema).toBe(schema);
    await removeTenant(fleet, wanted.name, { dropSchema: true });
    await guarded.expectOnly();
    return true;
  }

  const registries: [string, number, ProjectContents][] = [
    ["a table", 10, { tenants: { table: "public.tenants" }, shared: sharedTable }],
    ["a JSON file", 10, {}],
  ];
  test.each(registries)("tenants in %s", { timeout: 3_600_000 }, async (_, percent, contents) => {
    const { fleet, project } = await lasting(contents);
    if (contents.shared !== undefined) await migrate(fleet, {});
    let admitted = 0;
    const one = async (wanted: NewTenant) => {
      if (await comeAndGo(fleet, without(wanted))) admitted++;
    };
    await holds(fc.asyncProperty(tenants, one), percent / 2);
    await holds(fc.asyncProperty(admissible, one), percent / 2);
    expect(admitted).toBeGreaterThan(0);
    if (contents.tenants === undefined)
      expect(JSON.parse(await project.read("tenants.config.json")).tenants).toEqual({});
  });

  test("tenants in a YAML file", { timeout: 3_600_000 }, async () => {
    const project = await createProject({ migrations });
    await project.write("fleet.yaml", `database: ${database.url}\ntenants:\n`);
    const fleet = await fleetOf(project, project.path("fleet.yaml"));
    open.push(fleet);
    await holds(
      fc.asyncProperty(fc.oneof(tenants, admissible), async (wanted) => {
        await comeAndGo(fleet, without(wanted));
      }),
      8,
    );
  });

  test("tenants with a role each", { timeout: 3_600_000 }, async () => {
    const app = await database.createRole("login noinherit");
    const { fleet } = await lasting({ config: { appRole: app.name, isolation: "role" } });
    await holds(
      fc.asyncProperty(admissible, async ({ name, schema }) => {
        const made = await answerOf(() => createTenant(fleet, { name, schema }));
        if (made === undefined) return;
        await guarded.expectOnly(schema);
        const tenancy = await openTenancy(app, [made.value.tenant], { isolation: "role", maxConnections: 1 });
        const { rows } = await tenancy.withTenant(name, () =>
          tenancy.query(
            "insert into notes default values returning owner, current_schema() as schema, current_user as role",
          ),
        );
        await tenancy.close();
        expect(rows).toEqual([{ owner: schema, schema, role: tenantRole(database.name, schema) }]);
        await removeTenant(fleet, name, { dropSchema: true });
        await guarded.expectOnly();
        const left = await database.query("select from pg_roles where rolname = $1", [
          tenantRole(database.name, schema),
        ]);
        expect(left).toEqual([]);
      }),
      4,
    );
  });

  test("rows that somebody else wrote, read through a table and through a query", { timeout: 3_600_000 }, async () => {
    await database.query(
      "create table public.accounts (row jsonb); create view public.listed as select row->>'name' as name, row->>'schema' as schema, row->'hosts' as hosts, row->'labels' as labels from accounts",
    );
    const table = await lasting({ tenants: { table: "public.listed" } });
    const query = await lasting({ tenants: { query: "select * from public.listed" } });
    const row = fc.oneof(
      fc.record({ name: storable, schema: storable, hosts: storable, labels: fc.dictionary(storable, storable) }),
      fc.record({ name: fc.stringMatching(/^[a-z0-9]{1,20}$/), schema: identifiers }),
    );
    await holds(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 5 }), async (rows) => {
        await database.query("delete from public.accounts");
        for (const one of rows) await database.query("insert into public.accounts values ($1)", [JSON.stringify(one)]);
        const lists: (Tenant[] | undefined)[] = [];
        for (const { fleet } of [table, query]) lists.push((await answerOf(() => fleet.registry.tenants()))?.value);
        const schemas = lists[0]?.map(({ schema }) => schema) ?? [];
        // the schema that holds a table is nobody's; what a query reads is not known
        if (lists[0] !== undefined) expect(lists[1]?.map(({ schema }) => schema).sort()).toEqual([...schemas].sort());
        if (lists[0] === undefined) {
          await expect(migrate(table.fleet, {})).rejects.toMatchObject({ code: "REGISTRY_INVALID" });
          return await guarded.expectOnly();
        }
        expect(schemas.sort()).toEqual(rows.map(({ schema }) => schema).sort());
        expect(await migrate(table.fleet, {})).toMatchObject({ ok: true, summary: { changed: rows.length } });
        await guarded.expectOnly(...schemas);
        expect((await migrate(query.fleet, {})).summary).toMatchObject({ current: rows.length });
      }),
      4,
    );
  });

  test("words that select tenants", async () => {
    const { fleet } = await lasting({ tenants: { thor: { labels: { plan: "free" } }, loki: {} } });
    const all = await fleet.registry.tenants();
    const selections = fc.record({
      tenants: fc.array(hostile, { maxLength: 2 }),
      except: fc.array(hostile, { maxLength: 1 }),
      labels: fc.array(
        fc.oneof(
          hostile,
          hostile.map((text) => `plan=${text}`),
          hostile.map((text) => `${text}=free`),
        ),
        { maxLength: 1 },
      ),
      shard: fc.oneof(hostile, fc.constant(undefined)),
    });
    await holds(
      fc.asyncProperty(selections, async (selection) => {
        const found = await answerOf(() => selectTenants(all, without(selection)));
        for (const tenant of found?.value ?? []) expect(all).toContain(tenant);
        for (const name of selection.tenants) {
          expect(await answerOf(() => findTenant(fleet, name))).toBeUndefined();
          expect(await answerOf(() => removeTenant(fleet, name, { dropSchema: true }))).toBeUndefined();
        }
      }),
      18,
    );
    await guarded.expectOnly();
  });

  test("hosts of requests", async () => {
    const known = {
      name: "thor",
      schema: "thor",
      hosts: ["thor.polls.local", "*.thor.example", "::1"],
      labels: {},
      state: "active" as const,
    };
    const tenancy = await openTenancy(database, [known], {
      subdomainsOf: "polls.example",
      missMs: 3_600_000,
      maxConnections: 1,
    });
    const around = fc.oneof(
      hostile,
      hostile.map((text) => `thor.polls.local${text}`),
      hostile.map((text) => `${text}.polls.example`),
      hostile.map((text) => `${text}.thor.example`),
    );
    await holds(
      fc.asyncProperty(around, async (host) => {
        const found = tenancy.resolveHost(host);
        expect(await tenancy.findHost(host)).toBe(found);
        if (found !== undefined)
          expect(host).toMatch(
            /^(thor\.polls\.local|thor\.polls\.example|[a-z0-9_-]+\.thor\.example|\[::1\])\.?(:\d{0,5})?$/i,
          );
        await expect(tenancy.withTenant(host, () => tenancy.query("select 1"))).rejects.toMatchObject({
          code: "TENANT_UNKNOWN",
        });
      }),
      12,
    );
  });

  test("a registry's table and columns", { timeout: 3_600_000 }, async () => {
    const project = await createProject({ migrations });
    const write = (tenants: object) =>
      project.write("tenants.config.json", JSON.stringify({ database: database.url, tenants }));
    await holds(
      fc.asyncProperty(
        hostile,
        fc.dictionary(fc.constantFrom("name", "schema", "hosts", "labels"), hostile),
        async (table, columns) => {
          await write({ table, columns });
          const fleet = await answerOf(() => fleetOf(project));
          if (fleet === undefined) return;
          expect(await answerOf(() => fleet.value.registry.tenants())).toBeUndefined();
          expect(await answerOf(() => createTenant(fleet.value, { name: "thor" }))).toBeUndefined();
          await fleet.value.close();
          await guarded.expectOnly();
        },
      ),
      4,
    );
    const noVariable = identifiers.filter((name) => !name.includes("${"));
    await holds(
      fc.asyncProperty(
        noVariable,
        noVariable,
        fc.uniqueArray(noVariable, { minLength: 4, maxLength: 4 }),
        async (schema, table, columns) => {
          const [name = "", own = "", hosts = "", labels = ""] = columns;
          const place = `${quote(schema)}.${quote(table)}`;
          await database.query(
            `create schema ${quote(schema)}; create table ${place} (${quote(name)} text, ${quote(own)} text, ${quote(hosts)} text[], ${quote(labels)} jsonb)`,
          );
          await write({ table: place, columns: { name, schema: own, hosts, labels } });
          const fleet = await fleetOf(project);
          const wanted = { name: "thor", schema: "of thor", hosts: ["thor.local"], labels: { plan: "free" } };
          await createTenant(fleet, wanted);
          await guarded.expectOnly(schema, "of thor");
          expect(await fleet.registry.tenants()).toMatchObject([wanted]);
          await removeTenant(fleet, "thor", { dropSchema: true });
          expect(await fleet.registry.tenants()).toEqual([]);
          await fleet.close();
          await database.query(`drop schema ${quote(schema)} cascade`);
          await guarded.expectOnly();
        },
      ),
      3,
    );
  });

  test("the application's role and shared schemas", { timeout: 3_600_000 }, async () => {
    const project = await createProject({ migrations, shared: { "1_plans.sql": "create table plans ()" } });
    const write = (config: object) =>
      project.write(
        "tenants.config.json",
        JSON.stringify({ database: database.url, migrations: { shared: "migrations/shared" }, ...config }),
      );
    // the others that are there already would keep what the migration made in them
    const sharable = hostile.filter((schema) => schema === "public" || !own.includes(schema));
    await holds(
      fc.asyncProperty(hostile, sharable, fc.boolean(), async (appRole, shared, isRole) => {
        await write({ sharedSchemas: [shared], ...(isRole ? { appRole } : {}) });
        const fleet = await answerOf(() => fleetOf(project));
        if (fleet === undefined) return;
        const { config } = fleet.value;
        const made = await answerOf(() => createTenant(fleet.value, { name: "thor" }));
        await fleet.value.close();
        if (isRole) expect(made).toBeUndefined();
        else if (made !== undefined) {
          await guarded.expectOnly(...new Set([...config.sharedSchemas.filter((one) => one !== "public"), "thor"]));
        }
        for (const schema of await guarded.schemas()) expect([...config.sharedSchemas, "thor"]).toContain(schema);
        await tidy();
        await database.query("drop table if exists public.tenantctl_migrations, public.plans");
        await guarded.expectOnly();
      }),
      4,
    );
    await holds(
      fc.asyncProperty(
        identifiers.filter((name) => !name.includes("${")),
        async (appRole) => {
          if ((await database.query("select from pg_roles where rolname = $1", [appRole])).length > 0) return;
          await database.query(`create role ${quote(appRole)}`);
          await write({ appRole });
          const fleet = await fleetOf(project);
          await createTenant(fleet, { name: "thor" });
          const granted = await database.query(
            "select distinct grantee::text from information_schema.role_table_grants where table_schema = 'thor' and grantee <> current_user",
          );
          expect(granted).toEqual([{ grantee: appRole }]);
          await removeTenant(fleet, "thor", { dropSchema: true });
          await fleet.close();
          await database.query(
            `drop table public.tenantctl_migrations, public.plans; drop owned by ${quote(appRole)}; drop role ${quote(appRole)}`,
          );
          await guarded.expectOnly();
        },
      ),
      2,
    );
  });

  test("names of migration files", { timeout: 3_600_000 }, async () => {
    const project = await createProject({ database });
    const folder = project.path("migrations/tenant");
    const fleet = await fleetOf(project);
    open.push(fleet);
    const fileName = storable.map((text) => text.replaceAll("/", "∕")).filter((text) => Buffer.byteLength(text) < 240);
    const up = {
      sql: "create table notes ()",
      mjs: "export const up = ({ client }) => client.query('create table notes ()')",
    };
    await holds(
      fc.asyncProperty(
        fileName,
        fc.constantFrom("1_", "1", ""),
        fc.constantFrom("sql" as const, "mjs" as const),
        async (name, version, kind) => {
          await rm(folder, { recursive: true });
          await mkdir(folder);
          const base = `${version}${name}`;
          await writeFile(join(folder, `${base}.${kind}`), up[kind]);
          const made = await answerOf(() => createTenant(fleet, { name: "thor" }));
          if (made === undefined) return await guarded.expectOnly();
          expect(made.value.applied).toEqual([base]);
          expect(await database.query("select name from thor.tenantctl_migrations")).toEqual([{ name: base }]);
          await guarded.expectOnly("thor");
          expect((await status(fleet, {})).tenants).toMatchObject([{ version: base, state: "current" }]);
          await removeTenant(fleet, "thor", { dropSchema: true });
        },
      ),
      4,
    );
    await holds(
      fc.asyncProperty(hostile, async (name) => {
        const made = await answerOf(() => newMigration(fleet, name, { kind: "sql", shared: false }));
        if (made !== undefined) expect(made.value.startsWith(`${folder}/2`)).toBe(true);
        if (made !== undefined) expect(made.value.slice(folder.length + 1)).not.toContain("/");
      }),
      4,
    );
  });

  test("settings, and whole files", async () => {
    const project = await createProject({});
    const value: fc.Arbitrary<unknown> = fc.oneof(
      hostile,
      fc.constantFrom(null, 1, true, [], {}),
      fc.array(hostile, { maxLength: 2 }),
      fc.dictionary(hostile, hostile, { maxKeys: 2 }),
    );
    const key = fc.constantFrom(
      "database",
      "directDatabase",
      "migrations",
      "sharedSchemas",
      "appRole",
      "isolation",
      "transaction",
      "tenants",
      "$schema",
      "__proto__",
      "constructor",
      "toString",
    );
    const settings = fc.oneof(
      fc.dictionary(fc.oneof(key, hostile), value, { maxKeys: 4 }),
      fc
        .dictionary(
          hostile,
          fc.oneof(value, fc.dictionary(fc.constantFrom("schema", "hosts", "labels", "state"), value)),
          { maxKeys: 2 },
        )
        .map((tenants) => ({ tenants })),
    );
    const attempt = async (options: Parameters<typeof openFleet>[0]) => {
      const fleet = (await answerOf(() => openFleet({ env: environment, ...options })))?.value;
      if (fleet === undefined) return;
      await answerOf(() => fleet.config.database());
      await answerOf(() => fleet.config.directDatabase());
      if (fleet.config.registry === undefined) await answerOf(() => fleet.registry.tenants());
    };
    await holds(
      fc.asyncProperty(settings, hostile, fc.constantFrom("json", "yaml", "jsonc"), async (config, text, ending) => {
        const file = project.path(`fleet.${ending}`);
        await writeFile(file, JSON.stringify(config));
        await attempt({ config: file });
        await writeFile(file, text);
        await attempt({ config: file });
        await writeFile(file, JSON.stringify({ tenants: {} }));
        await attempt({ config: file, database: text });
        await attempt({ config: text, cwd: project.folder });
      }),
      10,
    );
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
