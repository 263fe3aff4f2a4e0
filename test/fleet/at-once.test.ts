// Several at once: they share the work, and each thing is done once.
import { describe, expect, test } from "vitest";
import { createTenant, migrate, readRuns, status } from "../../src/fleet/index.js";
import { createDatabase, servers } from "../support/database.ts";
import { tenantsNamed, testFleet } from "./fleet.ts";

const names = Array.from({ length: 12 }, (_, at) => `t${at}`);
// a row for each time that it ran, anywhere
const migrations = {
  "1_a.sql": "create table a (); insert into public.log select current_schema()",
  "2_b.sql": "select pg_sleep(0.02); create table b ()",
};

describe.each(servers())("PostgreSQL $major", (server) => {
  async function logged(contents: object) {
    const database = await createDatabase(server);
    await database.query("create table public.log (schema text)");
    return { database, ...(await testFleet(database, { migrations, mayChange: ["public.log"], ...contents })) };
  }

  test("two migrates apply each migration once, and tell who did what", async () => {
    const { database, fleet, again } = await logged({ tenants: tenantsNamed(...names) });
    const results = await Promise.all([migrate(fleet, {}), migrate(await again(), {})]);
    expect(results.map(({ ok }) => ok)).toEqual([true, true]);
    const did = results.flatMap(({ tenants }) =>
      tenants.filter(({ outcome }) => outcome === "migrated").map(({ name }) => name),
    );
    expect(did.sort()).toEqual([...names].sort());
    expect(await database.query("select count(*)::int, count(distinct schema)::int as schemas from log")).toEqual([
      { count: 12, schemas: 12 },
    ]);
    expect((await status(fleet, {}, { verify: true })).summary.current).toBe(12);
    const runs = await readRuns(await fleet.database(), 10);
    expect(runs.reduce((sum, { migrated }) => sum + migrated, 0)).toBe(12);
  });

  test("two migrates of one fleet object, with more workers than connections", async () => {
    const { database, fleet } = await logged({ tenants: tenantsNamed(...names) });
    const results = await Promise.all([migrate(fleet, {}), migrate(fleet, {}), migrate(fleet, {})]);
    expect(results.map(({ ok }) => ok)).toEqual([true, true, true]);
    expect(await database.query("select count(*)::int from log")).toEqual([{ count: 12 }]);
  });

  test("eight create-tenants of one name: one has it, the others are told", async () => {
    const { database, again } = await logged({});
    const fleets = await Promise.all(Array.from({ length: 8 }, () => again({ concurrency: 1 })));
    const results = await Promise.allSettled(fleets.map((fleet) => createTenant(fleet, { name: "thor" })));
    expect(results.filter(({ status: end }) => end === "fulfilled")).toHaveLength(1);
    for (const result of results) {
      if (result.status === "rejected") expect(result.reason.code).toMatch(/^(TENANT|SCHEMA)_EXISTS$/);
    }
    expect(await database.query("select * from log")).toEqual([{ schema: "thor" }]);
    expect((await status(await again(), {})).summary).toMatchObject({ tenants: 1, current: 1 });
  });

  test("eight create-tenants of different names all come through", async () => {
    const { again } = await logged({});
    const fleets = await Promise.all(Array.from({ length: 8 }, () => again({ concurrency: 1 })));
    await Promise.all(fleets.map((fleet, at) => createTenant(fleet, { name: `new${at}` })));
    expect((await status(await again(), {})).summary).toMatchObject({ tenants: 8, current: 8 });
  });

  test("a migrate while tenants are created", async () => {
    const { again, fleet } = await logged({ tenants: tenantsNamed(...names) });
    const [run] = await Promise.all([
      migrate(fleet, {}),
      ...["x", "y"].map(async (name) => createTenant(await again({ concurrency: 1 }), { name })),
    ]);
    expect(run.ok).toBe(true);
    expect((await status(await again(), {})).summary).toMatchObject({ tenants: 14, current: 14 });
  });
});
