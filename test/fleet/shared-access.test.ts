// sharedAccess: what tenants may do with shared tables is listed one by one, and the registry and ledgers are never theirs.
import { describe, expect, test } from "vitest";
import { sharedRole, tenantRole } from "../../src/database/roles.js";
import { createTenant, examine, importTenants, isolate, migrate, verifyIsolation } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { type IsolatedFleet, isolatedFleet } from "./isolated.ts";

const noAccess = { isolation: "role" };

/** What thor's role may do with a table in the schema `shared`. */
const mayOn = async (database: TestDatabase, table: string) =>
  (
    await database.query<{ may: string }>(
      `select privilege as may from unnest(array['select', 'insert', 'update', 'delete']) privilege
       where has_table_privilege($1, $2, privilege)`,
      [tenantRole(database.name, "thor"), `shared.${table}`],
    )
  ).map(({ may }) => may);

/** What an earlier release gave all tenants: reading in shared schemas, now and later. */
const asBefore = ({ name }: TestDatabase) => `grant usage on schema shared to "${sharedRole(name)}";
  grant select on all tables in schema shared to "${sharedRole(name)}"; revoke all on shared.tenantctl_migrations from "${sharedRole(name)}";
  alter default privileges in schema shared grant select on tables to "${sharedRole(name)}"`;

async function rewrite({ project }: IsolatedFleet, change: object): Promise<void> {
  const config = JSON.parse(await project.read("tenants.config.json"));
  await project.write("tenants.config.json", JSON.stringify({ ...config, ...change }));
}

const warnings = ({ events }: IsolatedFleet) =>
  events.flatMap((event) => (event.type === "warning" ? [event.message] : []));

describe.each(servers())("PostgreSQL $major", (server) => {
  test("nothing by default, then what is listed and not more; what is no longer listed is taken away where that is asked for", async () => {
    const database = await createDatabase(server);
    const made = await isolatedFleet(database, ["thor"], noAccess);
    const { project, again } = made;
    await project.write(
      "migrations/shared/2_more.sql",
      "create table shared.events (id int generated always as identity, what text); create table shared.secrets (s text); create sequence shared.numbers",
    );
    await migrate(made.fleet, {});
    for (const table of ["plans", "events", "secrets", "tenantctl_migrations"])
      expect(await mayOn(database, table)).toEqual([]);
    await rewrite(made, { sharedAccess: { plans: "select", "shared.events": "INSERT, select", numbers: "usage" } });
    await migrate(await again(), {});
    expect(await mayOn(database, "plans")).toEqual(["select"]);
    expect(await mayOn(database, "events")).toEqual(["select", "insert"]);
    expect(await mayOn(database, "secrets")).toEqual([]);
    const thor = tenantRole(database.name, "thor");
    expect(await database.query("select has_sequence_privilege($1, 'shared.numbers', 'usage') as may", [thor])).toEqual(
      [{ may: true }],
    );
    expect(await verifyIsolation(await again(), {})).toMatchObject({ ok: true });

    await rewrite(made, { sharedAccess: { events: "select", gone: "select" } });
    await migrate(await again(), {});
    expect(await mayOn(database, "events")).toEqual(["select", "insert"]);
    expect(warnings(made)).toEqual(
      expect.arrayContaining([
        '"sharedAccess" lists shared.gone, and there is no such table',
        expect.stringMatching(/may do more with shared tables than "sharedAccess" lists: .*insert of shared.events/),
      ]),
    );
    await isolate(await again(), {}, { again: true });
    expect(await mayOn(database, "plans")).toEqual([]);
    expect(await mayOn(database, "events")).toEqual(["select"]);
    await rewrite(made, { sharedAccess: { "shared.*": "select" } });
    await isolate(await again(), {}, { again: true });
    expect([await mayOn(database, "secrets"), await mayOn(database, "tenantctl_migrations")]).toEqual([["select"], []]);
  });

  test("a fleet of an earlier release keeps what it has, but for the registry and the ledgers that come to be", async () => {
    const database = await createDatabase(server);
    const made = await isolatedFleet(database, ["thor", "loki"], noAccess);
    const { fleet, project, again } = made;
    await migrate(fleet, {});
    await database.query(`set role ${made.owner.name}; ${asBefore(database)}; reset role`);
    await migrate(await again(), {});
    expect(await mayOn(database, "plans")).toEqual(["select"]);
    // from the file to a table, as the README tells it
    const { tenants } = JSON.parse(await project.read("tenants.config.json"));
    await project.write("tenants.json", JSON.stringify({ tenants }));
    await project.write(
      "migrations/shared/2_tenants.sql",
      "create table shared.tenants (name text primary key, schema text unique, hosts text[], labels jsonb, state text)",
    );
    await rewrite(made, { tenants: { table: "shared.tenants" } });
    const moved = await again();
    expect(await importTenants(moved, project.path("tenants.json"))).toMatchObject({ added: ["thor", "loki"] });
    expect(await mayOn(database, "tenants")).toEqual([]);
    expect(await mayOn(database, "plans")).toEqual(["select"]);
    expect(await verifyIsolation(moved, {})).toMatchObject({ ok: true });
  });

  test("a registry's table that was made by hand, and a shared ledger that comes later, are taken away", async () => {
    const database = await createDatabase(server);
    const made = await isolatedFleet(database, ["thor"], noAccess);
    const { project, owner, again } = made;
    await rewrite(made, { migrations: { tenant: "migrations/tenant" } });
    await migrate(await again(), {});
    await database.query(
      `set role ${owner.name}; grant usage on schema shared to "${sharedRole(database.name)}";
       alter default privileges in schema shared grant select on tables to "${sharedRole(database.name)}";
       create table shared.tenants (name text primary key, schema text, hosts text[], labels jsonb, state text); reset role`,
    );
    expect(await mayOn(database, "tenants")).toEqual(["select"]);
    await project.write("tenants.json", JSON.stringify({ tenants: { thor: {} } }));
    await rewrite(made, {
      migrations: { tenant: "migrations/tenant", shared: "migrations/shared" },
      tenants: { table: "shared.tenants" },
    });
    await importTenants(await again(), project.path("tenants.json"));
    expect(await mayOn(database, "tenants")).toEqual([]);
    await migrate(await again(), {});
    expect([await mayOn(database, "plans"), await mayOn(database, "tenantctl_migrations")]).toEqual([["select"], []]);
    expect(await verifyIsolation(await again(), {})).toMatchObject({ ok: true });
  });

  test("doctor tells of what every tenant can read that says whose a row is, unless it has row level security", async () => {
    const database = await createDatabase(server);
    const made = await isolatedFleet(database, ["thor"], {
      isolation: "role",
      sharedAccess: { plans: "select", invoices: "select", guarded: "select" },
    });
    await made.project.write(
      "migrations/shared/2_more.sql",
      `create table shared.invoices (tenant_id text, amount int); create table shared.private (tenant text);
       create table shared.guarded (tenant text); alter table shared.guarded enable row level security`,
    );
    await migrate(made.fleet, {});
    const { findings } = await examine({ config: made.project.configFile, env: {} });
    expect(findings.filter(({ where }) => where.startsWith("shared."))).toEqual([
      {
        severity: "warning",
        check: "role",
        where: "shared.invoices",
        message: "every tenant can read it, also the rows of others: it has tenant_id, and no row level security",
        hint: expect.stringContaining('alter table "shared"."invoices" enable row level security'),
      },
    ]);
  });

  test("what can't be listed is refused before anything is touched", async () => {
    const database = await createDatabase(server);
    const made = await isolatedFleet(database, ["thor"], {
      isolation: "role",
      sharedAccess: { "thor.notes": "select", "shared.tenantctl_migrations": "select" },
    });
    await expect(createTenant(made.fleet, { name: "odin" })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      problems: [
        'sharedAccess: thor.notes is not in one of "sharedSchemas"',
        "sharedAccess: shared.tenantctl_migrations says who the other tenants are, and is never theirs",
      ],
    });
    expect(await database.query("select from pg_namespace where nspname in ('odin', 'tenantctl')")).toEqual([]);
  });
});
