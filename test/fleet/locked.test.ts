// A tenant's own session can't keep its tenant from being migrated: it is named, and ended where we may.
import { describe, expect, test } from "vitest";
import { tenantLogin } from "../../src/database/roles.js";
import { lockKey } from "../../src/database/transaction.js";
import { createLogin, migrate, removeTenant } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { type IsolatedFleet, isolatedFleet } from "./isolated.ts";

const password = "open-sesame-1";

/** Two tenants that lack a migration, and a session of thor's login. */
async function withSession(database: TestDatabase, text = "alter table notes add more text") {
  const made = await isolatedFleet(database, ["thor", "loki"]);
  await migrate(made.fleet, {});
  await createLogin(made.fleet, "thor", password);
  const url = new URL(database.url);
  url.username = tenantLogin(database.name, "thor");
  url.password = password;
  const session = await database.connectAs(url.href);
  await made.project.write("migrations/tenant/2_more.sql", text);
  const { rows } = await session.query<{ pid: number }>("select pg_backend_pid() as pid");
  return { ...made, session, pid: rows[0]?.pid ?? 0, login: url.username };
}

const warnings = ({ events }: Pick<IsolatedFleet, "events">) =>
  events.flatMap((event) => (event.type === "warning" ? [event.message] : []));

describe.each(servers())("PostgreSQL $major", (server) => {
  test.each([
    ["its own", "thor"],
    ["another's", "loki"],
  ])("a tenant's login that holds %s lock is ended and named", async (_, schema) => {
    const database = await createDatabase(server);
    const { fleet, events, session, pid, login } = await withSession(database);
    await session.query(`select pg_advisory_lock(${lockKey(schema)})`);
    expect(await migrate(fleet, {}, { lockWaitMs: 0 })).toMatchObject({ ok: true, summary: { changed: 2 } });
    expect(warnings({ events })).toContainEqual(
      expect.stringMatching(
        new RegExp(
          `^${schema}: ended a tenant's session that held this tenant's lock: pid ${pid} \\(${login}, for \\d+ s\\)$`,
        ),
      ),
    );
    await expect(session.query("select 1")).rejects.toThrow();
  });

  test("so it is before a migration outside of transactions, and before a removal", async () => {
    const database = await createDatabase(server);
    const concurrently = "-- migrate:up transaction:false\ncreate index concurrently notes_owner on notes (owner)";
    const { fleet, session } = await withSession(database, concurrently);
    await session.query(`select pg_advisory_lock(${lockKey("thor")})`);
    expect(await migrate(fleet, {}, { lockWaitMs: 0 })).toMatchObject({ ok: true, summary: { changed: 2 } });
    const again = await database.connectAs(
      Object.assign(new URL(database.url), { username: tenantLogin(database.name, "thor"), password }).href,
    );
    await again.query(`select pg_advisory_lock(${lockKey("thor")}), pg_advisory_lock(${lockKey("loki")})`);
    await removeTenant(fleet, "loki", { dropSchema: true, lockWaitMs: 0 });
    await expect(again.query("select 1")).rejects.toThrow();
    await removeTenant(fleet, "thor", { dropSchema: true, lockWaitMs: 0 });
  });

  test("one that may not be ended is named; its tenant fails and is not waited for, and the others go on", async () => {
    const database = await createDatabase(server);
    const { fleet, session, pid, login } = await withSession(database);
    await database.query(`alter role ${login} superuser`); // whose sessions only superusers may end
    await session.query(`select pg_advisory_lock(${lockKey("thor")})`);
    const result = await migrate(fleet, {}, { lockWaitMs: 600_000 });
    expect(result).toMatchObject({ ok: false, summary: { changed: 1, failed: 1 } });
    expect(result.tenants.find(({ name }) => name === "thor")).toMatchObject({
      outcome: "failed",
      error: {
        code: "LOCKED_BY_TENANT",
        // to whom may not end it, the server does not show since when it is there
        message: `a tenant's own session holds this tenant's lock: pid ${pid} (${login})`,
        hint: expect.stringContaining(`select pg_terminate_backend(${pid})`),
      },
    });
    expect(await session.query("select 1 as one")).toMatchObject({ rows: [{ one: 1 }] });
  });

  test("another run is waited for, and then named with its pid, user and age", async () => {
    const database = await createDatabase(server);
    const { fleet, owner } = await withSession(database);
    const other = await database.connectAs(owner.url);
    await other.query(`begin; select pg_advisory_xact_lock(${lockKey("thor")})`);
    const result = await migrate(fleet, {}, { lockWaitMs: 0 });
    expect(result.tenants.find(({ name }) => name === "thor")?.error).toMatchObject({
      code: "LOCKED",
      message: expect.stringMatching(new RegExp(`: pid \\d+ \\(${owner.name}, for \\d+ s\\)$`)),
    });
    expect(await other.query("select 1 as one")).toMatchObject({ rows: [{ one: 1 }] });
  });

  test("a migration that waits too long for a table's lock names who holds it", async () => {
    const database = await createDatabase(server);
    const { fleet, session, pid, login } = await withSession(database);
    await session.query("begin; insert into notes (owner) values ('x')");
    const result = await migrate(fleet, {}, { lockTimeoutMs: 600, retries: 0 });
    expect(result.tenants.find(({ name }) => name === "thor")?.error).toMatchObject({
      sqlState: "55P03",
      message: expect.stringMatching(new RegExp(`; held by pid ${pid} \\(${login}, for \\d+ s\\)$`)),
      hint: expect.stringContaining(`pg_terminate_backend(${pid})`),
    });
  });
});
