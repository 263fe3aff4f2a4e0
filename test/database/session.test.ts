// Sessions: what needs one of its own gets one, or is told that there is none.
import { describe, expect, test } from "vitest";
import { createDatabase, servers } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { interrupted, openUrl, settingsOf } from "./settings.ts";

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a server gives sessions, each closed afterwards", async () => {
    const test = await createDatabase(server);
    const database = await openUrl(test.url);
    expect(await database.hasSession()).toBe(true);
    const pid = await database.withSession(async (client) => {
      await client.query("set search_path to nowhere; select pg_advisory_lock(42)");
      return (await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]?.pid;
    });
    await expect.poll(() => test.query("select 1 from pg_stat_activity where pid = $1", [pid])).toEqual([]);
    const { rows } = await database.withClient((client) => client.query("show search_path"));
    expect(rows).toEqual([{ search_path: '"$user", public' }]);
  });

  test("interrupted, it cancels what is under way, also what comes next on that connection, and nothing else", async () => {
    const database = await openUrl((await createDatabase(server)).url);
    expect(await interrupted(database)).toEqual(["57014", "57014", "slept"]);
  });

  test("its capabilities are asked once", async () => {
    const test = await createDatabase(server);
    const { capabilities } = await openUrl(test.url);
    const [settings] = await test.query<{ connections: number; reserved: number; locks: number }>(
      `select current_setting('max_connections')::int as connections, current_setting('superuser_reserved_connections')::int as reserved,
        current_setting('max_locks_per_transaction')::int as locks`,
    );
    expect(capabilities).toMatchObject({ inRecovery: false, user: "postgres", checksClient: true });
    expect(settings?.connections).toBeGreaterThan(3);
    expect(capabilities.connections).toBe((settings?.connections ?? 0) - (settings?.reserved ?? 0));
    expect(capabilities.lockTable).toBe((settings?.locks ?? 0) * (settings?.connections ?? 0));
  });

  test("it looks through all indexes for a column with a default only where it says so", async () => {
    const test = await createDatabase(server);
    const database = await openUrl(test.url);
    const scans = await database.withClient(async (client) => {
      const count = async () => {
        const { rows } = await client.query("select pg_stat_get_xact_numscans('pg_index'::regclass)::int as scans");
        return Number(rows[0]?.scans);
      };
      await client.query("begin; create table a (n int primary key)");
      const before = await count();
      await client.query("alter table a add column m int default 1");
      const after = await count();
      await client.query("rollback");
      return after - before;
    });
    expect(scans > 0).toBe(database.capabilities.scansAllIndexes);
  });

  describe.skipIf(!pgbouncerAvailable)(`behind pgbouncer${pgbouncerNote}`, () => {
    test("what is under way is cancelled through it", async () => {
      const database = await openUrl((await startPgbouncer(await createDatabase(server))).url);
      expect(await interrupted(database)).toEqual(["57014", "57014", "slept"]);
    });

    test("in transaction mode there are none, and the hint says how to have some", async () => {
      const pooler = await startPgbouncer(await createDatabase(server));
      const database = await openUrl(pooler.url);
      expect(await database.hasSession()).toBe(false);
      await expect(database.withSession(() => Promise.resolve())).rejects.toMatchObject({
        code: "NEEDS_SESSION",
        hint: expect.stringContaining("directDatabase"),
      });
      await expect(database.withClient((client) => client.query("select 1 as n"))).resolves.toMatchObject({
        rowCount: 1,
      });
    });

    test("directDatabase gives them", async () => {
      const test = await createDatabase(server);
      const pooler = await startPgbouncer(test);
      const database = await openUrl(pooler.url, { direct: settingsOf(test.url) });
      expect(await database.hasSession()).toBe(true);
      const { rows } = await database.withSession((client) => client.query("select inet_server_port() as port"));
      expect(String(rows[0].port)).toBe(new URL(test.url).port);
    });
  });
});
