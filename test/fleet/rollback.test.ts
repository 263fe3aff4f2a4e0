// Rollback: exactly what was asked for is undone, or nothing.
import { describe, expect, test } from "vitest";
import { migrate, readRuns, rollback, status } from "../../src/fleet/index.js";
import { createDatabase, newestAtLeast, type Server } from "../support/database.ts";
import { tablesIn, tenantsNamed, testFleet } from "./fleet.ts";

const both = (table: string) => `-- migrate:up\ncreate table ${table} ();\n-- migrate:down\ndrop table ${table};\n`;
const migrations = { "1_a.sql": both("a"), "2_b.sql": both("b"), "3_c.sql": both("c") };

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  async function migrated(contents: object = {}, on: Server = server) {
    const database = await createDatabase(on);
    const made = await testFleet(database, { tenants: tenantsNamed("thor", "loki"), migrations, ...contents });
    const run = await migrate(made.fleet, {});
    expect(run.ok).toBe(true);
    return { database, run: run.run, ...made };
  }

  test("--steps undoes the last ones, the last first", async () => {
    const { fleet, database } = await migrated();
    const result = await rollback(fleet, { tenants: ["thor"] }, { steps: 2 });
    expect(result).toMatchObject({
      ok: true,
      summary: { changed: 1 },
      tenants: [{ name: "thor", outcome: "reverted", migrations: ["3_c", "2_b"] }],
    });
    expect(await tablesIn(database, "thor")).toEqual(["a"]);
    expect(await tablesIn(database, "loki")).toEqual(["a", "b", "c"]);
    expect((await status(fleet, {}, { verify: true })).wrongStamps).toEqual([]);
  });

  test("--steps beyond the first, and --to 0, undo all", async () => {
    const { fleet, database } = await migrated();
    await rollback(fleet, { tenants: ["thor"] }, { steps: 9 });
    await rollback(fleet, { tenants: ["loki"] }, { to: "0" });
    expect([await tablesIn(database, "thor"), await tablesIn(database, "loki")]).toEqual([[], []]);
    expect(await rollback(fleet, {}, { steps: 1 })).toMatchObject({ ok: true, summary: { changed: 0, current: 2 } });
  });

  test("--to undoes what came after it", async () => {
    const { fleet, database } = await migrated();
    await rollback(fleet, {}, { to: "1_a" });
    expect(await tablesIn(database, "thor")).toEqual(["a"]);
  });

  test("--run undoes just what that run applied", async () => {
    const { fleet, database, project } = await migrated();
    await project.write("migrations/tenant/4_d.sql", both("d"));
    await project.write("migrations/tenant/5_e.sql", both("e"));
    const second = await migrate(fleet, { tenants: ["thor"] });
    await rollback(fleet, {}, { run: second.run });
    expect(await tablesIn(database, "thor")).toEqual(["a", "b", "c"]);
    expect(await tablesIn(database, "loki")).toEqual(["a", "b", "c"]);
  });

  test("what was undone can be applied again", async () => {
    const { fleet, database } = await migrated();
    await rollback(fleet, {}, { steps: 1 });
    expect((await migrate(fleet, {})).tenants).toMatchObject([{ migrations: ["3_c"] }, { migrations: ["3_c"] }]);
    expect(await tablesIn(database, "thor")).toEqual(["a", "b", "c"]);
  });

  test("a tenant whose down section fails keeps everything, and stops nobody else", async () => {
    const { fleet, database } = await migrated();
    await database.query("drop table thor.b");
    const result = await rollback(fleet, {}, { steps: 2 });
    expect(result.tenants).toMatchObject([
      { name: "thor", outcome: "failed", migrations: [], error: { sqlState: "42P01", migration: "2_b", line: 4 } },
      { name: "loki", outcome: "reverted" },
    ]);
    expect(await tablesIn(database, "thor")).toEqual(["a", "c"]);
    const [record] = await readRuns(await fleet.database(), 1);
    expect(record).toMatchObject({ command: "rollback", migrated: 1, failed: 1, failures: [{ name: "thor" }] });
  });

  test("a lock in the way does not make it undo more than was asked for", async () => {
    const { fleet, database } = await migrated({ config: { transaction: "migration" } });
    const other = await database.connect();
    await other.query("begin; lock table thor.b in access share mode");
    const under = rollback(fleet, { tenants: ["thor"] }, { steps: 2, lockTimeoutMs: 100, retries: 50 });
    await expect.poll(() => tablesIn(database, "thor")).toEqual(["a", "b"]);
    await other.query("select pg_sleep(0.4); commit");
    expect((await under).tenants).toMatchObject([{ migrations: ["3_c", "2_b"] }]);
    expect(await tablesIn(database, "thor")).toEqual(["a"]);
  });

  describe("refused, and nothing touched:", () => {
    test("none or several of --steps, --to and --run", async () => {
      const { fleet } = await migrated();
      await expect(rollback(fleet, {}, {})).rejects.toMatchObject({ code: "USAGE" });
      await expect(rollback(fleet, {}, { steps: 1, to: "1_a" })).rejects.toMatchObject({ code: "USAGE" });
    });

    test("a migration or a run that nobody knows", async () => {
      const { fleet } = await migrated();
      await expect(rollback(fleet, {}, { to: "7_x" })).rejects.toMatchObject({ code: "MIGRATION_UNKNOWN" });
      await expect(rollback(fleet, {}, { run: "nope" })).rejects.toMatchObject({ code: "RUN_UNKNOWN" });
    });

    test("a migration without a down section, for any tenant", async () => {
      const { fleet, project, database } = await migrated();
      await project.write("migrations/tenant/4_d.sql", "create table d ()");
      await migrate(fleet, { tenants: ["thor"] });
      await expect(rollback(fleet, {}, { steps: 1 })).rejects.toMatchObject({
        code: "ROLLBACK_REFUSED",
        problems: [expect.stringMatching(/no -- migrate:down section \(.*4_d\.sql\)/)],
      });
      expect(await tablesIn(database, "loki")).toEqual(["a", "b", "c"]);
    });

    test("a migration that was edited, and one whose file is gone", async () => {
      const { fleet, project, database } = await migrated();
      await project.write("migrations/tenant/3_c.sql", both("cc"));
      await expect(rollback(fleet, {}, { steps: 1 })).rejects.toMatchObject({
        code: "ROLLBACK_REFUSED",
        message: expect.stringContaining("thor: 3_c was edited"),
      });
      await database.query(
        "insert into thor.tenantctl_migrations values ('9_z', 'x', 'r', now(), 0); comment on table thor.tenantctl_migrations is null",
      );
      await expect(rollback(fleet, {}, { steps: 1 })).rejects.toMatchObject({
        code: "ROLLBACK_REFUSED",
        message: expect.stringContaining("9_z"),
      });
      expect(await tablesIn(database, "loki")).toEqual(["a", "b", "c"]);
    });

    test("a run that a newer migration came after", async () => {
      const { fleet, project, run } = await migrated();
      await project.write("migrations/tenant/4_d.sql", both("d"));
      await migrate(fleet, { tenants: ["thor"] });
      await expect(rollback(fleet, {}, { run })).rejects.toMatchObject({
        code: "ROLLBACK_REFUSED",
        message: expect.stringContaining("4_d came after"),
      });
    });
  });
});
