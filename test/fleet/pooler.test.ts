// Behind pgbouncer in transaction mode everything works but what needs a session, and that works with directDatabase.
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { createTenant, examine, migrate, readRuns, removeTenant, rollback, status } from "../../src/fleet/index.js";
import { createDatabase, servers } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import type { TestProject } from "../support/project.ts";
import { tablesIn, tenantsNamed, testFleet } from "./fleet.ts";

const both = (table: string) =>
  `-- migrate:up\ncreate table ${table} (n int);\n-- migrate:down\ndrop table ${table};\n`;
const migrations = { "1_a.sql": both("a"), "2_b.sql": both("b") };
const index = {
  "3_c.sql":
    "-- migrate:up transaction:false\ncreate index concurrently a_n on a (n);\n-- migrate:down transaction:false\ndrop index concurrently a_n;\n",
};
const names = Array.from({ length: 10 }, (_, at) => `t${at}`);
const doctor = async ({ configFile }: TestProject) =>
  (await examine({ config: configFile, env: { HOME: tmpdir() } })).findings;

describe.skipIf(!pgbouncerAvailable)(`behind pgbouncer${pgbouncerNote}`, () => {
  describe.each(servers())("PostgreSQL $major", (server) => {
    test("migrate, status, rollback, create, remove, on two server connections", async () => {
      const database = await createDatabase(server);
      const { url } = await startPgbouncer(database, { poolSize: 2 });
      const { fleet, project } = await testFleet(database, {
        database: url,
        tenants: tenantsNamed(...names),
        migrations,
      });
      const run = await migrate(fleet, {});
      expect(run).toMatchObject({ ok: true, summary: { changed: 10 } });
      expect((await status(fleet, {}, { verify: true })).summary.current).toBe(10);
      await rollback(fleet, {}, { run: run.run });
      expect(await tablesIn(database, "t3")).toEqual([]);
      await createTenant(fleet, { name: "new" });
      await removeTenant(fleet, "t0", { dropSchema: true });
      expect((await status(fleet, {})).summary).toMatchObject({ tenants: 10, current: 1, pending: 9 });
      expect(await readRuns(await fleet.database(), 9)).toHaveLength(2);
      expect(await doctor(project)).toMatchObject([
        { severity: "warning", check: "database", hint: expect.stringContaining("directDatabase") },
      ]);
    });

    test("transaction:false is refused before anything is touched, with a hint", async () => {
      const database = await createDatabase(server);
      const { url } = await startPgbouncer(database);
      const files = { ...migrations, ...index };
      const { fleet, project } = await testFleet(database, {
        database: url,
        tenants: tenantsNamed(...names),
        migrations: files,
      });
      await expect(migrate(fleet, {})).rejects.toMatchObject({
        code: "NEEDS_SESSION",
        hint: expect.stringContaining("directDatabase"),
      });
      await expect(createTenant(fleet, { name: "new" })).rejects.toMatchObject({ code: "NEEDS_SESSION" });
      expect(await database.query("select 1 from pg_namespace where nspname in ('t0', 'new')")).toEqual([]);
      expect(await migrate(fleet, {}, { to: "2_b" })).toMatchObject({ ok: true });
      expect(await doctor(project)).toMatchObject([{ severity: "error", message: expect.stringMatching(/^3_c is/) }]);
    });

    test("transaction:false works with directDatabase", async () => {
      const database = await createDatabase(server);
      const { url } = await startPgbouncer(database);
      const { fleet } = await testFleet(database, {
        database: url,
        tenants: tenantsNamed("thor", "loki"),
        migrations: { ...migrations, ...index },
        config: { directDatabase: database.url },
      });
      expect(await migrate(fleet, {})).toMatchObject({ ok: true, summary: { changed: 2 } });
      const found = await database.query("select schemaname from pg_indexes where indexname = 'a_n' order by 1");
      expect(found).toEqual([{ schemaname: "loki" }, { schemaname: "thor" }]);
      expect(await rollback(fleet, {}, { steps: 1 })).toMatchObject({ ok: true });
    });

    test("nothing of a run stays on the server connections", async () => {
      const database = await createDatabase(server);
      const { url } = await startPgbouncer(database, { poolSize: 1 });
      const { fleet } = await testFleet(database, { database: url, tenants: tenantsNamed("thor"), migrations });
      await migrate(fleet, {});
      const { rows } = await (await fleet.database()).withClient((client) =>
        client.query(`select current_setting('search_path') as path, current_setting('lock_timeout') as lock,
          current_setting('idle_in_transaction_session_timeout') as idle, current_user as user,
          (select count(*)::int from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())) as locks`),
      );
      expect(rows).toEqual([{ path: '"$user", public', lock: "0", idle: "0", user: "postgres", locks: 0 }]);
    });
  });
});
