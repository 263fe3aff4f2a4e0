// appRole: what the application's role may do, now and with what comes later.
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { createTenant, examine, migrate } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { tenantsNamed, testFleet } from "./fleet.ts";

const migrations = {
  "1_a.sql": "create table a (id serial, n int); create view v as select * from a",
  "2_b.sql": "create function f() returns int language sql as 'select 1'; revoke execute on function f() from public",
};

describe.each(servers())("PostgreSQL $major", (server) => {
  async function asRole(database: TestDatabase, role: string, sql: string): Promise<string> {
    const client = await database.connect();
    try {
      await client.query(`set role ${role}`);
      await client.query(sql);
      return "allowed";
    } catch (error) {
      return (error as { code: string }).code;
    } finally {
      await client.end();
    }
  }
  const works = [
    "insert into thor.a (n) values (1)",
    "select * from thor.v",
    "update thor.a set n = 2",
    "delete from thor.a",
    "select nextval('thor.a_id_seq')",
  ];

  test("it may use tables, views, sequences and functions, and not the ledger", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole();
    const { fleet, project } = await testFleet(database, { migrations, config: { appRole: role.name } });
    await createTenant(fleet, { name: "thor" });
    for (const sql of works) expect([sql, await asRole(database, role.name, sql)]).toEqual([sql, "allowed"]);
    for (const sql of [
      "select * from thor.tenantctl_migrations",
      "create table thor.mine ()",
      "truncate thor.a",
      "drop table thor.a",
    ]) {
      expect([sql, await asRole(database, role.name, sql)]).toEqual([sql, "42501"]);
    }
    await project.write(
      "migrations/tenant/3_c.sql",
      "create table c (id bigint generated always as identity); create sequence s",
    );
    await migrate(fleet, {});
    expect(await asRole(database, role.name, "select * from thor.c; select nextval('thor.s')")).toBe("allowed");
  });

  test("a fleet that lacks them gets them by migrate, once", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole();
    const { fleet, project, again } = await testFleet(database, { migrations, tenants: tenantsNamed("thor", "loki") });
    await migrate(fleet, {});
    expect(await asRole(database, role.name, "select * from thor.a")).toBe("42501");
    const config = JSON.parse(await project.read("tenants.config.json"));
    await project.write("tenants.config.json", JSON.stringify({ ...config, appRole: role.name }));
    const withRole = await again();
    expect(await migrate(withRole, {})).toMatchObject({ ok: true, summary: { changed: 2 } });
    for (const sql of works) expect([sql, await asRole(database, role.name, sql)]).toEqual([sql, "allowed"]);
    expect(await asRole(database, role.name, "select * from loki.tenantctl_migrations")).toBe("42501");
    expect(await migrate(withRole, {})).toMatchObject({ summary: { changed: 0, current: 2 }, tenants: [] });
  });

  test("what a migration makes as another role is that role's, and granted by nobody else; lint and doctor say so", async () => {
    const database = await createDatabase(server);
    const [role, owner] = [await database.createRole(), await database.createRole()];
    const { fleet, project } = await testFleet(database, {
      migrations: {
        "1_a.sql": `do $$ begin execute format('grant all on schema %I to ${owner.name}', current_schema()); end $$;
set local role ${owner.name};
create table theirs (); create table granted (); grant select on granted to ${role.name}`,
      },
      config: { appRole: role.name },
    });
    await createTenant(fleet, { name: "thor" });
    expect(await asRole(database, role.name, "select from thor.granted")).toBe("allowed");
    expect(await migrate(fleet, {})).toMatchObject({ summary: { changed: 0, current: 1 } });
    expect(await asRole(database, role.name, "select from thor.theirs")).toBe("42501");
    const { findings } = await examine({ config: project.configFile, env: { HOME: tmpdir() } });
    expect(findings.filter(({ check }) => ["owner", "migrations"].includes(check))).toMatchObject([
      { check: "migrations", message: expect.stringMatching(/^set-context: role holds.* gets no rights on it/) },
      { check: "owner", where: "thor", message: expect.stringContaining("table theirs") },
    ]);
  });

  test("a role that does not exist is refused before anything is touched", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, {
      migrations,
      tenants: tenantsNamed("thor"),
      config: { appRole: 'no"body' },
    });
    await expect(migrate(fleet, {})).rejects.toMatchObject({
      code: "ROLE_UNKNOWN",
      hint: expect.stringContaining('"no""body"'),
    });
    expect(await database.query("select 1 from pg_namespace where nspname = 'thor'")).toEqual([]);
  });

  test("the role that migrates may be the application's own", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole();
    await database.query(`grant create on database ${database.name} to ${role.name}`);
    const { fleet } = await testFleet(database, {
      database: role.url,
      migrations,
      tenants: tenantsNamed("thor"),
      config: { appRole: role.name },
    });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, summary: { changed: 1 } });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, summary: { current: 1 } });
  });
});
