// Rolling out: canary, waves, a gate, a budget of failures; and what is looked at before the first tenant.
import { describe, expect, onTestFinished, test } from "vitest";
import { migrate, planMigrate, rollback, status } from "../../src/fleet/index.js";
import { createDatabase, newest } from "../support/database.ts";
import { tablesIn, tenantsNamed, testFleet } from "./fleet.ts";

const names = Array.from({ length: 10 }, (_, index) => `t${index}`);
const migrations = { "1_a.sql": "-- migrate:up\ncreate table a ()\n-- migrate:down\ndrop table a" };

/** A fleet of ten in which these can't take the migration, since the table is there. */
async function fleetOfTen(failing: string[] = []) {
  const database = await createDatabase();
  const made = await testFleet(database, { migrations, tenants: tenantsNamed(...names) });
  onTestFinished(() => made.fleet.close()); // its connections are wanted by the tests beside this one
  await migrate(made.fleet, {}, { steps: 1 });
  await rollback(made.fleet, {}, { to: "0" });
  for (const name of failing) await database.query(`create table ${name}.a ()`);
  return { ...made, database };
}

const outcomes = (result: { tenants: { name: string; outcome: string }[] }) =>
  Object.fromEntries(result.tenants.map(({ name, outcome }) => [name, outcome]));

describe("a canary", () => {
  test("that fails stops the run before anybody else", async () => {
    const { fleet, database } = await fleetOfTen(["t5"]);
    const run = await migrate(fleet, {}, { canary: "t5" });
    expect(run).toMatchObject({
      ok: false,
      stopped: "canary",
      error: { code: "CANARY" },
      summary: { failed: 1, skipped: 9 },
    });
    expect(await tablesIn(database, "t0")).toEqual([]);
  });

  test("that goes well lets the others follow", async () => {
    const { fleet, events } = await fleetOfTen();
    const run = await migrate(fleet, {}, { canary: "t5,t7" });
    expect(run).toMatchObject({ ok: true, stopped: null, summary: { changed: 10 } });
    const finished = events.filter((event) => event.type === "tenant-finished").slice(-10);
    expect(
      finished
        .slice(0, 2)
        .map((event) => event.name)
        .sort(),
    ).toEqual(["t5", "t7"]);
  });

  test("may be a number; a name that is not selected is refused, and nothing is touched", async () => {
    const { fleet, database } = await fleetOfTen(["t0"]);
    await expect(migrate(fleet, { tenants: ["t1"] }, { canary: "t2" })).rejects.toMatchObject({
      code: "TENANT_UNKNOWN",
    });
    expect(await tablesIn(database, "t1")).toEqual([]);
    expect(await migrate(fleet, {}, { canary: "1" })).toMatchObject({
      stopped: "canary",
      summary: { failed: 1, skipped: 9 },
    });
  });
});

describe("waves", () => {
  test("have a gate between them that gets the wave's result, and stops the run unless it exits with 0", async () => {
    const { fleet, project } = await fleetOfTen();
    const gate = `cat > ${project.path("gate.json")}; exit 3`;
    const run = await migrate(fleet, {}, { waves: "20%,100%", gate });
    expect(run).toMatchObject({ ok: false, stopped: "gate", summary: { changed: 2, skipped: 8 } });
    expect(run.error?.message).toContain("exit code 3");
    const told = JSON.parse(await project.read("gate.json"));
    expect(told).toMatchObject({
      run: run.run,
      wave: 1,
      waves: 2,
      canary: false,
      summary: { tenants: 2, migrated: 2 },
    });
    expect(told.tenants).toMatchObject([{ name: "t0", outcome: "migrated", applied: ["1_a"] }, { name: "t1" }]);
  });

  test("go on to the end when the gate is content, and the rest of the fleet needs no 100%", async () => {
    const { fleet, events } = await fleetOfTen();
    const run = await migrate(fleet, {}, { waves: "1,50%", gate: "true" });
    expect(run).toMatchObject({ ok: true, summary: { changed: 10 } });
    const waves = events.filter((event) => event.type === "wave-finished");
    expect(waves.map((event) => event.changed)).toEqual([1, 4]);
  });

  test.each([
    [{ waves: "50%,10%" }, "rise"],
    [{ waves: "many" }, "--waves"],
    [{ waves: "101%" }, "--waves"],
    [{ maxFailures: "-1" }, "--max-failures"],
    [{ gate: "true" }, "only one"],
  ])("%j is refused", async (rollout, message) => {
    const { fleet, database } = await fleetOfTen();
    await expect(migrate(fleet, {}, rollout)).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining(message),
    });
    expect(await tablesIn(database, "t0")).toEqual([]);
  });
});

describe("a budget of failures", () => {
  test("stops the run once more have failed, near there", async () => {
    const { fleet } = await fleetOfTen(["t0", "t1", "t2", "t3", "t4"]);
    const run = await migrate(fleet, {}, { maxFailures: "10%" });
    expect(run).toMatchObject({ ok: false, stopped: "max-failures", error: { code: "MAX_FAILURES" } });
    expect(run.summary.failed).toBeGreaterThan(1);
    expect(run.summary.failed).toBeLessThanOrEqual(1 + fleet.concurrency);
    expect(run.summary.skipped).toBeGreaterThan(0);
  });

  test("that is kept lets the run go on, and --failed takes just those that failed", async () => {
    const { fleet, database } = await fleetOfTen(["t0", "t1"]);
    const run = await migrate(fleet, {}, { maxFailures: "20%" });
    expect(run).toMatchObject({ stopped: null, summary: { failed: 2, changed: 8 } });
    const failing = (await status(fleet, {})).tenants.filter((tenant) => tenant.state !== "current");
    expect(failing).toMatchObject([
      { name: "t0", lastError: { run: run.run, sqlState: "42P07", migration: "1_a" } },
      { name: "t1", lastError: { run: run.run } },
    ]);
    for (const name of ["t0", "t1"]) await database.query(`drop table ${name}.a`);
    await rollback(fleet, { tenants: ["t9"] }, { steps: 1 }).then((result) => expect(result.ok).toBe(true));
    // The last run is the rollback now, and nobody failed in it.
    expect(await migrate(fleet, {}, { failed: true })).toMatchObject({ ok: true, summary: { tenants: 0 } });
    expect(outcomes(await migrate(fleet, {}))).toEqual({ t0: "migrated", t1: "migrated", t9: "migrated" });
  });

  test("half a fleet fails, is mended, and is taken again by --failed", async () => {
    const failing = ["t0", "t2", "t4", "t6", "t8"];
    const { fleet, database } = await fleetOfTen(failing);
    expect(await migrate(fleet, {})).toMatchObject({ ok: false, summary: { failed: 5, changed: 5 } });
    for (const name of failing) await database.query(`drop table ${name}.a`);
    const mended = await migrate(fleet, {}, { failed: true });
    expect(mended).toMatchObject({ ok: true, summary: { tenants: 5, changed: 5 } });
    expect(Object.keys(outcomes(mended))).toEqual(failing);
  });
});

describe("before the first tenant", () => {
  test("too few free connections stop the run with a hint, and fewer workers are taken where nobody asked for more", async () => {
    const { fleet, database, again } = await fleetOfTen();
    await fleet.close();
    await database.query(`alter database "${database.name}" connection limit 4`);
    const asked = await again({ concurrency: 8 });
    // A superuser is not held to the database's limit; the pre-flight is.
    const run = await migrate(asked, {});
    expect(run).toMatchObject({
      ok: false,
      stopped: "preflight",
      error: { code: "PREFLIGHT" },
      summary: { skipped: 10 },
    });
    expect(await tablesIn(database, "t0")).toEqual([]);
    await asked.close();
    const events: { type: string; concurrency?: number }[] = [];
    const left = await again({ report: (event) => events.push(event) });
    expect(await migrate(left, {})).toMatchObject({ ok: true, summary: { changed: 10 } });
    expect(events.find((event) => event.type === "run-planned")?.concurrency).toBeLessThan(4);
  });

  test("an estimate times one tenant and rolls it back", async () => {
    const { fleet, database } = await fleetOfTen();
    const plan = await planMigrate(fleet, {}, { estimate: true });
    expect(plan.estimate).toMatchObject({ tenant: "t0", concurrency: 4 });
    expect(plan.estimate?.tenantMs).toBeGreaterThanOrEqual(0);
    expect(await tablesIn(database, "t0")).toEqual([]);
    expect((await status(fleet, {})).summary.pending).toBe(10);
  });
});

describe("a reader in the way", () => {
  test("is waited for no longer than the lock timeout; that tenant is tried again, then reported, all others are done", async () => {
    const { fleet, database, events } = await fleetOfTen();
    const reader = await database.connect();
    await reader.query("begin; create table t3.a ()"); // the name is taken, and nobody knows yet whether for good
    const run = await migrate(fleet, {}, { lockTimeoutMs: 100, retries: 2 });
    expect(run).toMatchObject({ ok: false, summary: { changed: 9, failed: 1 } });
    expect(run.tenants.find((tenant) => tenant.name === "t3")).toMatchObject({ error: { sqlState: "55P03" } });
    expect(events.filter((event) => event.type === "tenant-waiting" && event.name === "t3")).toHaveLength(2);
    await reader.query("rollback");
    await reader.end();
    expect(await migrate(fleet, {}, { failed: true })).toMatchObject({ ok: true, summary: { changed: 1 } });
  });

  test("ends in time to be waited for", async () => {
    const { fleet, database } = await fleetOfTen();
    const reader = await database.connect();
    await reader.query("begin; create table t3.a ()");
    const running = migrate(fleet, {}, { lockTimeoutMs: 200, retries: 10 });
    setTimeout(() => void reader.query("rollback").then(() => reader.end()), 500);
    expect(await running).toMatchObject({ ok: true, summary: { changed: 10 } });
  });
});

test("deadlocks between tenants through a shared table are survived", async () => {
  const database = await createDatabase(newest());
  await database.query(
    "create table public.tally (id int primary key, n int); insert into public.tally values (1, 0), (2, 0)",
  );
  const update = (id: number) => `update tally set n = n + 1 where id = ${id};\nselect pg_sleep(0.05);\n`;
  const crossed = `do $$ begin if current_schema() ~ '[02468]$' then
    update tally set n = n + 1 where id = 1; perform pg_sleep(0.1); update tally set n = n + 1 where id = 2;
  else
    update tally set n = n + 1 where id = 2; perform pg_sleep(0.1); update tally set n = n + 1 where id = 1;
  end if; end $$;`;
  const { fleet } = await testFleet(database, {
    migrations: { "1_a.sql": `${update(1)}create table a ();`, "2_b.sql": crossed },
    tenants: tenantsNamed(...names),
    config: { sharedSchemas: ["public"] },
  });
  expect(await migrate(fleet, {}, { to: "1_a" })).toMatchObject({ ok: true });
  expect(await migrate(fleet, {}, { retries: 20 })).toMatchObject({ ok: true, summary: { changed: 10 } });
  expect(await database.query("select n from public.tally order by id")).toEqual([{ n: 20 }, { n: 10 }]);
});
