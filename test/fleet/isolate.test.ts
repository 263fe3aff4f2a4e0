// isolate brings a fleet to roles and back, and no tenant is without rights on the way.
import { expect, test } from "vitest";
import { tenantRole } from "../../src/database/roles.js";
import { isolate, migrate, verifyIsolation } from "../../src/fleet/index.js";
import { createDatabase, servers } from "../support/database.ts";
import { as, isolatedFleet } from "./isolated.ts";

test.each(servers())("there and back, on PostgreSQL $major", async (server) => {
  const database = await createDatabase(server);
  const { fleet, app, owner, role, project, again } = await isolatedFleet(database, ["thor", "loki"], {});
  await migrate(fleet, {});
  const direct = () => as(database, app.url, "select owner from thor.notes");
  const byRole = () => as(database, app.url, `set role ${role("thor")}`, "select owner from thor.notes");
  expect([await direct(), await byRole()]).toEqual(["thor", "22023"]);
  await expect(isolate(fleet, {})).rejects.toMatchObject({ code: "NOT_ISOLATED" });

  const config = JSON.parse(await project.read("tenants.config.json"));
  await project.write("tenants.config.json", JSON.stringify({ ...config, isolation: "role" }));
  const roles = await again();
  await expect(isolate(roles, {}, { undo: true })).rejects.toMatchObject({ code: "NOT_ISOLATED" });
  expect(await isolate(roles, {}, { keep: true })).toMatchObject({ ok: true, summary: { changed: 2 } });
  expect([await direct(), await byRole()]).toEqual(["thor", "thor"]);
  expect(await isolate(roles, {}, { keep: true })).toMatchObject({ ok: true, summary: { changed: 0, current: 2 } });
  expect((await verifyIsolation(roles, {})).leaks).toContainEqual(
    expect.objectContaining({ role: app.name, object: "thor.notes" }),
  );

  expect(await isolate(roles, { tenants: ["thor"] })).toMatchObject({ ok: true, summary: { changed: 1 } });
  expect([await direct(), await byRole()]).toEqual(["42501", "thor"]);
  expect(await as(database, app.url, "select owner from loki.notes")).toBe("loki");
  expect(await migrate(roles, {})).toMatchObject({ ok: true, summary: { changed: 1, current: 1 } });
  expect(await verifyIsolation(roles, {}, { attempts: "all" })).toMatchObject({ ok: true });

  // what was granted to others is found, and taken away where that is asked for
  await database.query("grant select on thor.notes to public");
  expect(await isolate(roles, {})).toMatchObject({ summary: { changed: 0 } });
  expect(await verifyIsolation(roles, {})).toMatchObject({ ok: false });
  expect(await isolate(roles, {}, { again: true })).toMatchObject({ ok: true, summary: { changed: 2 } });
  expect(await verifyIsolation(roles, {})).toMatchObject({ ok: true });

  await project.write("tenants.config.json", JSON.stringify(config));
  const back = await again();
  expect(await isolate(back, { tenants: ["thor"] }, { undo: true })).toMatchObject({
    ok: true,
    summary: { changed: 1 },
  });
  expect([await direct(), await byRole()]).toEqual(["thor", "22023"]);
  expect(await isolate(back, {}, { undo: true })).toMatchObject({ ok: true, summary: { changed: 1, current: 1 } });
  expect(await as(database, app.url, "select owner from loki.notes")).toBe("loki");
  expect(
    await database.query("select rolname from pg_roles where rolname ~ '^tenants?_' and strpos(rolname, $1) > 0", [
      database.name,
    ]),
  ).toEqual([]);
  // a role that owns something stays, and is told of; that of a schema which is gone goes
  await database.query(
    `drop schema loki cascade; create role ${role("thor")}; create table public.mine (); alter table public.mine owner to ${role("thor")}`,
  );
  await as(database, owner.url, `create role ${role("loki")}`);
  expect(await isolate(back, {}, { undo: true })).toMatchObject({ ok: true });
  const left = ["thor", "loki"].map((schema) => tenantRole(database.name, schema));
  expect(await database.query("select rolname from pg_roles where rolname = any($1)", [left])).toEqual([
    { rolname: left[0] },
  ]);
});
