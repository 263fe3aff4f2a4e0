// isolation "role": what the database itself lets a tenant do, and the application's role without one.
import { describe, expect, test } from "vitest";
import { tenantRole } from "../../src/database/roles.js";
import { createTenant, migrate, openFleet, removeTenant, sql } from "../../src/fleet/index.js";
import { createTenancy } from "../../src/runtime/index.js";
import { createDatabase, servers } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { as, isolatedFleet } from "./isolated.ts";

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a tenant's role may use its own schema and read the shared ones, and nothing else", async () => {
    const database = await createDatabase(server);
    const { fleet, app, role, project, again } = await isolatedFleet(database, ["thor", "loki"]);
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, summary: { changed: 2 } });
    const thor = (...texts: string[]) => as(database, app.url, `set role ${role("thor")}`, ...texts);
    expect(await thor("insert into thor.notes (owner) values ('x') returning owner")).toBe("x");
    expect(await thor("update thor.notes set owner = 'y' where owner = 'x' returning owner")).toBe("y");
    expect(await thor("delete from thor.notes where owner = 'y' returning owner")).toBe("y");
    expect(await thor("select thor.f()")).toBe("1");
    expect(await thor("select name from shared.plans")).toBe("free");
    for (const text of [
      "select * from loki.notes",
      "insert into loki.notes (owner) values ('x')",
      "select 'loki.notes'::regclass",
      "select loki.f()",
      "create table loki.mine ()",
      "create table thor.mine ()",
      "create table public.mine ()",
      "create table shared.mine ()",
      "insert into shared.plans values ('x')",
      "select * from thor.tenantctl_migrations",
      "select * from shared.tenantctl_migrations",
      "select * from tenantctl.runs",
    ])
      expect([text, await thor(text)]).toEqual([text, "42501"]);
    // without a tenant's role the application can do nothing
    expect(await as(database, app.url, "select * from thor.notes")).toBe("42501");
    // what comes later is granted too; and whoever lacks nothing is left alone
    await project.write(
      "migrations/tenant/2_later.sql",
      "create table later (id serial); create view v as select * from later",
    );
    expect(await migrate(await again(), {})).toMatchObject({ ok: true, summary: { changed: 2 } });
    expect(await thor("insert into thor.later default values", "select count(*) from thor.v")).toBe("1");
    expect(await migrate(await again(), {})).toMatchObject({ ok: true, summary: { changed: 0, current: 2 } });
  });

  test("what was taken away, or given to others, is put right by migrate", async () => {
    const database = await createDatabase(server);
    const { fleet, app, owner, role, again } = await isolatedFleet(database, [
      "thor",
      "loki",
      "odin",
      "freya",
      "baldr",
    ]);
    await migrate(fleet, {});
    for (const text of [
      "grant usage on schema loki to public",
      `grant usage on schema odin to ${app.name}`,
      `drop owned by ${role("freya")}; drop role ${role("freya")}`,
    ])
      await database.query(text);
    expect(await as(database, owner.url, `revoke ${role("thor")} from ${app.name}`)).toBe("");
    expect(await migrate(await again(), {})).toMatchObject({ ok: true, summary: { changed: 4, current: 1 } });
    expect(await as(database, app.url, `set role ${role("freya")}`, "select owner from freya.notes")).toBe("freya");
    expect(await as(database, app.url, "select * from odin.notes")).toBe("42501");
    expect(await migrate(await again(), {})).toMatchObject({ ok: true, summary: { changed: 0, current: 5 } });
  });

  test("a role comes and goes with its tenant, whatever its schema is called", async () => {
    const database = await createDatabase(server);
    const { fleet, app, role } = await isolatedFleet(database, ["thor"]);
    const schema = `Glo"b\\ex 'ünd' ${"é".repeat(20)}`;
    await createTenant(fleet, { name: "globex", schema });
    expect(Buffer.byteLength(tenantRole(database.name, schema))).toBeLessThanOrEqual(63);
    const name = role(schema).replaceAll('""', "\0").slice(1, -1).replaceAll('"', '""').replaceAll("\0", '""');
    expect(
      await as(database, app.url, `set role "${name}"`, `select owner from "${schema.replace('"', '""')}".notes`),
    ).toBe(schema);
    const found = () => database.query("select from pg_roles where rolname = $1", [tenantRole(database.name, schema)]);
    expect(await found()).toHaveLength(1);
    await removeTenant(fleet, "globex", { dropSchema: true });
    expect(await found()).toHaveLength(0);
    // nothing remains of a tenant that could not be created
    await expect(createTenant(fleet, { name: "bad", schema: "bad", hosts: ["x y"] })).rejects.toThrow();
    expect(
      await database.query("select from pg_roles where rolname = $1", [tenantRole(database.name, "bad")]),
    ).toHaveLength(0);
  });

  test("an application's role that would have all tenants' rights at once is refused, and nothing is touched", async () => {
    const database = await createDatabase(server);
    const { fleet, app } = await isolatedFleet(database, ["thor"]);
    await database.query(`alter role ${app.name} inherit`);
    if (server.major >= 16) {
      expect(await migrate(fleet, {})).toMatchObject({ ok: true });
      expect(await as(database, app.url, "select * from thor.notes")).toBe("42501");
    } else {
      await expect(migrate(fleet, {})).rejects.toMatchObject({
        code: "ROLE_UNSUITABLE",
        hint: expect.stringContaining("noinherit"),
      });
      expect(await database.query("select from pg_namespace where nspname = 'thor'")).toEqual([]);
    }
  });

  test("in the application every statement is the tenant's role's, whatever the last one did", async () => {
    const database = await createDatabase(server);
    const { fleet, app, project } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    for (const poolMode of ["session", "transaction"] as const) {
      const tenancy = await createTenancy({
        config: project.configFile,
        database: app.url,
        poolMode,
        maxConnections: 1,
      });
      whenFileEnds(() => tenancy.close());
      const owners = async (name: string) =>
        tenancy.withTenant(name, async () => [
          (await tenancy.query("select owner from notes")).rows[0]?.owner,
          (await tenancy.query("select owner from notes where $1", [true])).rows[0]?.owner,
          (
            (await tenancy.query("select owner from notes; select owner from notes")) as never as {
              rows: { owner: string }[];
            }[]
          )[1]?.rows[0]?.owner,
        ]);
      const code = (text: string, values?: unknown[]) =>
        tenancy.query(text, values as never).then(
          () => "done",
          (error) => error.code,
        );
      for (const name of ["thor", "loki", "thor"]) expect(await owners(name)).toEqual([name, name, name]);
      await tenancy.withTenant("thor", async () => {
        expect(await code("select * from loki.notes")).toBe("42501");
        expect(await code("select * from loki.notes where $1", [true])).toBe("42501");
        // what a statement does to its role is no longer than itself, or than its transaction
        await code("reset role");
        expect(await code("select owner from notes where $1", [true])).toBe("done");
        await code("select set_config('role', 'none', false)");
        expect(await code("select * from loki.notes where $1", [true])).toBe("42501");
        await tenancy
          .transaction(async (client) => {
            expect((await client.query("select owner from notes")).rows[0]?.owner).toBe("thor");
            await client.query("savepoint a");
            await expect(client.query("select * from loki.notes")).rejects.toMatchObject({ code: "42501" });
            await client.query("rollback to a");
            expect((await client.query("select owner from notes")).rows[0]?.owner).toBe("thor");
            await client.query("reset role");
            await expect(client.query("select owner from thor.notes")).rejects.toMatchObject({ code: "42501" });
          })
          .catch((error) => expect(error.code).toBe("TRANSACTION_BROKEN"));
        await tenancy.transaction((client) => client.query("reset role"));
        expect(await code("select owner from notes where $1", [true])).toBe("done");
      });
      expect(await owners("loki")).toEqual(["loki", "loki", "loki"]);
    }
  });

  test("sql is the tenant's role's, also where it writes", async () => {
    const database = await createDatabase(server);
    const { fleet, project } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    const ask = async (text: string, options: { write?: boolean; asOwner?: boolean } = {}) => {
      const opened = await openFleet({ config: project.configFile, env: { HOME: project.folder } });
      const rows: unknown[] = [];
      const keep = (_tenant: string, _columns: unknown, batch: readonly unknown[]) => void rows.push(...batch);
      const { errors } = await sql(opened, { tenants: ["thor"] }, { text, ...options, rows: keep as never }).finally(
        () => opened.close(),
      );
      return errors[0]?.error.sqlState ?? String(rows[0]);
    };
    expect(await ask("select owner from notes")).toBe("thor");
    expect(await ask("select * from loki.notes")).toBe("42501");
    const write = { write: true };
    expect(await ask("update loki.notes set owner = 'x'", write)).toBe("42501");
    expect(await ask("update notes set owner = 'x'", write)).toBe("UPDATE 1");
    expect(await ask("create table t ()", write)).toBe("42501");
    expect(await ask("create table t ()", { write: true, asOwner: true })).toBe("CREATE TABLE");
    await expect(ask("create table u ()", { asOwner: true })).rejects.toMatchObject({ code: "SQL_REFUSED" });
    expect(await ask("select current_user = session_user, current_schema", { asOwner: true })).toBe("t,thor");
  });
});

test.skipIf(!pgbouncerAvailable)(
  `behind a transaction pooler each statement has its tenant's role${pgbouncerNote}`,
  async () => {
    const database = await createDatabase();
    const { fleet, app, project } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    const { url } = await startPgbouncer(database, { poolSize: 1, users: { [app.name]: app.password } });
    const pooled = new URL(url);
    pooled.username = app.name;
    pooled.password = app.password;
    const tenancy = await createTenancy({ config: project.configFile, database: pooled.href });
    whenFileEnds(() => tenancy.close());
    const owner = (name: string) =>
      tenancy.withTenant(name, () => tenancy.query("select owner from notes where $1", [true]));
    for (const name of ["thor", "loki", "thor"]) expect((await owner(name)).rows).toEqual([{ owner: name }]);
    const other = tenancy.withTenant("thor", () => tenancy.query("select owner from loki.notes"));
    await expect(other).rejects.toMatchObject({ code: "42501" });
  },
);
