// A fleet that was there before tenantctl: what its schemas hold is taken as applied, and nothing is run.
import { describe, expect, test } from "vitest";
import { baseline, migrate, repair, status } from "../../src/fleet/index.js";
import { createDatabase, servers } from "../support/database.ts";
import { tablesIn, tenantsNamed, testFleet } from "./fleet.ts";

const migrations = { "1_a.sql": "create table a ()", "2_b.sql": "create table b ()", "3_c.sql": "create table c ()" };

describe.each(servers())("PostgreSQL $major", (server) => {
  test("schemas without a ledger get one; what has one stays, and what is missing fails", async () => {
    const database = await createDatabase(server);
    const tenants = {
      ...tenantsNamed("old", "older", "current", "missing"),
      hosted: { hosts: ["hosted.polls.local"] },
    };
    const { fleet } = await testFleet(database, { tenants, migrations });
    await migrate(fleet, { tenants: ["current"] });
    for (const schema of ["old", "older", "hosted"])
      await database.query(`create schema ${schema}; create table ${schema}.a (); create table ${schema}.b ()`);

    const run = await baseline(fleet, {}, { to: "2_b" });
    expect(
      run.tenants.map(({ name, outcome, migrations, error }) => [name, error?.code ?? outcome, migrations]),
    ).toEqual([
      ["old", "migrated", ["1_a", "2_b"]],
      ["older", "migrated", ["1_a", "2_b"]],
      ["missing", "SCHEMA_MISSING", []],
      ["hosted", "migrated", ["1_a", "2_b"]],
    ]);
    expect(run.summary).toMatchObject({ tenants: 5, changed: 3, current: 1, failed: 1 });
    expect((await status(fleet, {}, { verify: true })).tenants.map(({ name, state }) => `${name} ${state}`)).toEqual([
      "old pending",
      "older pending",
      "current current",
      "missing missing",
      "hosted pending",
    ]);

    expect(await migrate(fleet, { tenants: ["old*", "hosted"] })).toMatchObject({ ok: true, summary: { changed: 3 } });
    expect(await tablesIn(database, "older")).toEqual(["a", "b", "c"]);
    expect(await repair(fleet, { except: ["missing"] })).toMatchObject({ summary: { changed: 0, current: 4 } });
    expect(await fleet.registry.tenants()).toContainEqual(
      expect.objectContaining({ name: "hosted", hosts: ["hosted.polls.local"] }),
    );
  });

  test("a migration that no file describes is refused, and nothing is touched", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, { tenants: tenantsNamed("old"), migrations });
    await database.query("create schema old; create table old.a ()");
    await expect(baseline(fleet, {}, { to: "4_d" })).rejects.toMatchObject({ code: "MIGRATION_UNKNOWN" });
    expect((await status(fleet, {})).summary.unmanaged).toBe(1);
  });
});
