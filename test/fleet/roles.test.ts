// Whose a role is: a tenant's role and login are that tenant's alone, whatever had its name before.
import { describe, expect, test } from "vitest";
import { sharedRole, tenantLogin, tenantLogins, tenantRole } from "../../src/database/roles.js";
import { createLogin, createTenant, isolate, migrate, removeTenant, verifyIsolation } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { as, isolatedFleet } from "./isolated.ts";

const password = "open-sesame-1";

/** Where a tenant's login connects to. */
function loginUrl(database: TestDatabase, schema: string, which = 0): string {
  const url = new URL(database.url);
  url.username = tenantLogins(database.name, schema)[which] ?? "";
  url.password = password;
  return url.href;
}

const connects = (database: TestDatabase, schema: string, which = 0) =>
  as(database, loginUrl(database, schema, which), "select 1").catch((error: { code: string }) => error.code);

const exists = async (database: TestDatabase, ...roles: string[]) =>
  (
    await database.query<{ name: string }>("select rolname as name from pg_roles where rolname = any($1) order by 1", [
      roles,
    ])
  ).map(({ name }) => name);

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a new tenant gets nothing of a former one of that schema: neither its login nor who could be it", async () => {
    const database = await createDatabase(server);
    const { fleet, role, app, owner } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    await createLogin(fleet, "thor", password);
    const former = await database.connectAs(loginUrl(database, "thor"));
    // the schema is dropped by hand, its role gets more rights, and then the name is used again
    await as(
      database,
      owner.url,
      "drop schema thor cascade",
      `grant usage on schema loki to ${role("thor")}`,
      `grant select on loki.notes to ${role("thor")}`,
    );
    await fleet.registry.remove("thor");
    await createTenant(fleet, { name: "thor" });
    await expect(former.query("select owner from thor.notes")).rejects.toThrow(/connection/);
    expect(await connects(database, "thor")).toMatch(/^28/);
    const becomeThor = (...texts: string[]) => as(database, app.url, `set role ${role("thor")}`, ...texts);
    expect(await becomeThor("select owner from thor.notes")).toBe("thor");
    expect(await becomeThor("select owner from loki.notes")).toBe("42501");
    expect(await verifyIsolation(fleet, {})).toMatchObject({ ok: true });
  });

  test("a role that is made by hand before its tenant is not taken for the tenant's", async () => {
    const database = await createDatabase(server);
    const { fleet, role, owner } = await isolatedFleet(database, ["loki"]);
    await migrate(fleet, {});
    await as(
      database,
      owner.url,
      `create role ${role("thor")} login password 'open-sesame-1' connection limit 3`,
      `grant usage on schema loki to ${role("thor")}`,
    );
    await createTenant(fleet, { name: "thor" });
    expect(
      await database.query("select rolcanlogin, rolconnlimit from pg_roles where rolname = $1", [
        tenantRole(database.name, "thor"),
      ]),
    ).toEqual([{ rolcanlogin: false, rolconnlimit: -1 }]);
    expect(await verifyIsolation(fleet, {})).toMatchObject({ ok: true });
  });

  test("one that owns something can't be dropped, and the new tenant is refused", async () => {
    const database = await createDatabase(server);
    const { fleet, role } = await isolatedFleet(database, ["loki"]);
    await migrate(fleet, {});
    const owner = (await fleet.database()).capabilities.user;
    const client = await database.connect();
    await client.query(
      `set role ${owner}; create role ${role("thor")}; reset role; select lo_create(4711); alter large object 4711 owner to ${role("thor")}`,
    );
    await expect(createTenant(fleet, { name: "thor" })).rejects.toMatchObject({
      code: "ROLE_UNSUITABLE",
      message: expect.stringContaining("large object 4711"),
      hint: expect.stringContaining("drop owned by"),
    });
    expect(await database.query("select from pg_namespace where nspname = 'thor'")).toEqual([]);
    await client.query("select lo_unlink(4711)");
    await createTenant(fleet, { name: "thor" });
  });

  test("roles of earlier releases, which have no comment, stay their tenants'", async () => {
    const database = await createDatabase(server);
    const { fleet, role, again } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    await createLogin(fleet, "thor", password);
    const oid = async () =>
      (await database.query("select oid from pg_roles where rolname = $1", [tenantRole(database.name, "thor")]))[0]
        ?.oid;
    const before = await oid();
    await database.query(`comment on role ${role("thor")} is null`);
    expect(await migrate(await again(), {})).toMatchObject({ summary: { changed: 0 } });
    expect(await isolate(await again(), {}, { again: true })).toMatchObject({ ok: true });
    expect(await oid()).toBe(before);
    expect(await connects(database, "thor")).toBe("1");
    // and one whose rights somebody took away is known by its comment
    await database.query(`revoke usage on schema thor from ${role("thor")}`);
    expect(await migrate(await again(), {})).toMatchObject({ ok: true, summary: { changed: 1 } });
    expect(await oid()).toBe(before);
  });

  test("after a rename of the schema the old role and login reach it no more", async () => {
    const database = await createDatabase(server);
    const { fleet, role, app, owner, project, again } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    await createLogin(fleet, "thor", password);
    await as(database, owner.url, "alter schema thor rename to odin");
    const config = JSON.parse(await project.read("tenants.config.json"));
    await project.write("tenants.config.json", JSON.stringify({ ...config, tenants: { odin: {}, loki: {} } }));
    const old = (text: string) => as(database, app.url, `set role ${role("thor")}`, text);
    expect(await old("select owner from odin.notes")).toBe("thor");
    expect(await migrate(await again(), {})).toMatchObject({ ok: true, summary: { changed: 1, current: 1 } });
    expect(await old("select owner from odin.notes")).toMatch(/42501|22023/);
    expect(await connects(database, "thor")).toMatch(/^28/);
    expect(await as(database, app.url, `set role ${role("odin")}`, "select owner from odin.notes")).toBe("thor");
    expect(await migrate(await again(), {})).toMatchObject({ summary: { changed: 0, current: 2 } });
    expect(await verifyIsolation(await again(), {})).toMatchObject({ ok: true });
  });

  test("what an earlier release left after a rename, without a comment, loses its rights there", async () => {
    const database = await createDatabase(server);
    const { fleet, role, owner, project, again } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    await database.query(`comment on role ${role("thor")} is null`);
    await as(database, owner.url, "alter schema thor rename to odin");
    const config = JSON.parse(await project.read("tenants.config.json"));
    await project.write("tenants.config.json", JSON.stringify({ ...config, tenants: { odin: {} } }));
    await isolate(await again(), {});
    const [has] = await database.query(
      "select has_schema_privilege($1, 'odin', 'usage') as schema, has_table_privilege($1, 'odin.notes', 'select') as table",
      [tenantRole(database.name, "thor")],
    );
    expect(has).toEqual({ schema: false, table: false });
  });

  test("two schemas that change their names each keep their own data", async () => {
    const database = await createDatabase(server);
    const { fleet, role, app, owner, again } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    await as(
      database,
      owner.url,
      "alter schema thor rename to x",
      "alter schema loki rename to thor",
      "alter schema x rename to loki",
    );
    expect(await migrate(await again(), {})).toMatchObject({ ok: true, summary: { changed: 2 } });
    for (const [schema, data] of [
      ["thor", "loki"],
      ["loki", "thor"],
    ] as const)
      expect(await as(database, app.url, `set role ${role(schema)}`, `select owner from ${schema}.notes`)).toBe(data);
    expect(await verifyIsolation(await again(), {})).toMatchObject({ ok: true });
    expect(await migrate(await again(), {})).toMatchObject({ summary: { current: 2 } });
  });

  test("a copy of the database takes rights from the roles of the first, and leaves them theirs", async () => {
    const database = await createDatabase(server);
    const { fleet, role, app } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    const [{ count } = { count: 0 }] = await database.query<{ count: number }>(
      "select count(*)::int from pg_roles where rolname = $1 and not rolcanlogin",
      [tenantRole(database.name, "thor")],
    );
    expect(count).toBe(1);
    // as a copy has them: roles of another database's name, members of that one's shared role
    const other = [sharedRole(`${database.name}0`), tenantRole(`${database.name}0`, "thor")];
    await database.query(
      `create role "${other[0]}"; create role "${other[1]}"; grant "${other[0]}" to "${other[1]}"; grant usage on schema thor to "${other[1]}"; grant select on thor.notes to "${other[1]}"`,
    );
    expect(await migrate(fleet, {})).toMatchObject({ summary: { changed: 1 } });
    expect(await database.query("select has_schema_privilege($1, 'thor', 'usage') as usage", [other[1]])).toEqual([
      { usage: false },
    ]);
    expect(await exists(database, ...other)).toHaveLength(2);
    expect(await as(database, app.url, `set role ${role("thor")}`, "select owner from thor.notes")).toBe("thor");
  });

  test("remove-tenant shuts a login out that has a temporary table, and drops it", async () => {
    const database = await createDatabase(server);
    const { fleet } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    await createLogin(fleet, "thor", password);
    const open = await database.connectAs(loginUrl(database, "thor"));
    await open.query("create temporary table mine ()");
    await removeTenant(fleet, "thor", { dropSchema: true });
    await expect(open.query("select 1")).rejects.toThrow();
    expect(await exists(database, tenantLogin(database.name, "thor"), tenantRole(database.name, "thor"))).toEqual([]);
  });

  test("remove-tenant that keeps the schema shuts its login out", async () => {
    const database = await createDatabase(server);
    const { fleet, events } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    await createLogin(fleet, "thor", password);
    await removeTenant(fleet, "thor");
    expect(await connects(database, "thor")).toBe("28000");
    expect(events).toContainEqual(
      expect.objectContaining({ type: "warning", message: expect.stringContaining("can no longer connect") }),
    );
  });

  test("a removal that fails lets the login in again", async () => {
    const database = await createDatabase(server);
    const { fleet } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    await createLogin(fleet, "thor", password);
    fleet.registry.remove = () => Promise.reject(new Error("disk full"));
    await expect(removeTenant(fleet, "thor", { dropSchema: true })).rejects.toThrow("disk full");
    expect(await connects(database, "thor")).toBe("1");
  });

  test("a login and a role that own large objects stay, without LOGIN and rights, and are named", async () => {
    const database = await createDatabase(server);
    const { fleet, events, role, app } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    await createLogin(fleet, "thor", password);
    const open = await database.connectAs(loginUrl(database, "thor"));
    await open.query("select lo_create(0)");
    await as(database, app.url, `set role ${role("thor")}`, "select lo_create(0)");
    await removeTenant(fleet, "thor", { dropSchema: true });
    expect(await connects(database, "thor")).toBe("28000");
    for (const name of [tenantLogin(database.name, "thor"), tenantRole(database.name, "thor")])
      expect(events).toContainEqual(
        expect.objectContaining({
          type: "warning",
          message: expect.stringMatching(new RegExp(`${name} stays, without LOGIN and rights: .*large object`)),
        }),
      );
    expect(
      await database.query(
        "select from pg_auth_members m join pg_roles r on r.oid = m.member where r.rolname = any($1)",
        [[tenantLogin(database.name, "thor"), tenantRole(database.name, "thor")]],
      ),
    ).toEqual([]);
  });

  test("isolate --undo is not stopped by what a tenant owns or holds open", async () => {
    const database = await createDatabase(server);
    const { fleet, events, role, app, project, again } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    for (const name of ["thor", "loki"]) await createLogin(fleet, name, password);
    const open = await database.connectAs(loginUrl(database, "loki"));
    await open.query("create temporary table mine ()");
    await as(database, app.url, `set role ${role("thor")}`, "select lo_create(0)");
    const { isolation: _, ...config } = JSON.parse(await project.read("tenants.config.json"));
    await project.write("tenants.config.json", JSON.stringify(config));
    expect(await isolate(await again(), {}, { undo: true })).toMatchObject({ ok: true, summary: { changed: 2 } });
    expect(await connects(database, "thor")).toMatch(/^28/);
    const all = ["thor", "loki"].flatMap((name) => [tenantLogin(database.name, name), tenantRole(database.name, name)]);
    expect(await exists(database, ...all)).toEqual([tenantRole(database.name, "thor")]);
    expect(
      await database.query("select has_schema_privilege($1, 'thor', 'usage') as usage", [
        tenantRole(database.name, "thor"),
      ]),
    ).toEqual([{ usage: false }]);
    expect(events).toContainEqual(
      expect.objectContaining({ type: "warning", message: expect.stringContaining("large object") }),
    );
  });
});
