// A server that goes away while a run is under way, or is not there yet: no tenant's failure.
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { type Fleet, migrate, type RunResult, readRuns } from "../../src/fleet/index.js";
import { createDatabase, newest, type TestDatabase } from "../support/database.ts";
import { type Relay, startRelay } from "../support/relay.ts";
import { type TestFleet, tablesIn, tenantsNamed, testFleet } from "./fleet.ts";

/** How long the server is gone, in seconds. */
const seconds = Number(process.env.TENANTCTL_DRILL_OUTAGE ?? 2);
const names = Array.from({ length: 40 }, (_, index) => `t${String(index).padStart(2, "0")}`);
const migrations = { "1_a.sql": "create table a (); select pg_sleep(0.03)" };

describe("a server that goes away in the middle of a run", () => {
  let database: TestDatabase;
  let relay: Relay;
  let made: TestFleet;

  beforeAll(async () => {
    database = await createDatabase(newest());
    relay = await startRelay(database.url);
  });

  /** A new fleet, and its run, in whose middle the server goes away. */
  async function runAndLose(options: Parameters<typeof migrate>[2], backAfterMs: number | undefined) {
    made = await testFleet(database, { database: relay.url, migrations, tenants: tenantsNamed(...names) });
    for (const name of names) await database.query(`drop schema if exists ${name} cascade`);
    const running = migrate(made.fleet, {}, options);
    await expect.poll(() => finished(made.events), { interval: 5 }).toBeGreaterThan(5);
    relay.down();
    if (backAfterMs !== undefined) await sleep(backAfterMs);
    if (backAfterMs !== undefined) await relay.up();
    return await running;
  }
  const finished = (events: TestFleet["events"]) => events.filter(({ type }) => type === "tenant-finished").length;
  const migratedIn = (run: RunResult) => run.tenants.filter(({ outcome }) => outcome === "migrated");

  test("and comes back in time is waited for: every tenant is migrated, once", async () => {
    const run = await runAndLose({ waitMs: (seconds + 30) * 1_000 }, seconds * 1_000);
    expect(run).toMatchObject({ ok: true, stopped: null, summary: { changed: names.length, failed: 0, skipped: 0 } });
    for (const name of names) expect(await tablesIn(database, name)).toEqual(["a"]);
    expect(made.events.filter(({ type }) => type === "tenant-waiting").length).toBeLessThanOrEqual(8);
  });

  test("and stays away stops the run: the tenants that are left are skipped, and the same command goes on", async () => {
    const run = await runAndLose({ waitMs: 1_000 }, undefined);
    expect(run).toMatchObject({ ok: false, stopped: "database", error: { code: "DATABASE_UNREACHABLE" } });
    const { changed, failed, skipped } = run.summary;
    expect(changed + failed + skipped).toBe(names.length);
    expect(failed).toBeLessThanOrEqual(4); // those that were under way
    for (const { error } of run.tenants.filter(({ outcome }) => outcome === "failed"))
      expect(error?.code).toBe("CONNECTION_LOST");
    expect(skipped).toBeGreaterThan(names.length / 2);
    for (const { name } of migratedIn(run)) expect(await tablesIn(database, name)).toEqual(["a"]);
    expect(made.events.filter(({ type }) => type === "run-stopped")).toHaveLength(1);
    expect(made.events.filter(({ type }) => type === "warning").length).toBeLessThanOrEqual(6);

    await relay.up();
    const again = await made.again();
    expect(await migrate(again, {})).toMatchObject({ ok: true, summary: { tenants: names.length } });
    for (const name of names) expect(await tablesIn(database, name)).toEqual(["a"]);
    const [last] = await readRuns(await again.database(), 1);
    expect(last).toMatchObject({ failed: 0, finishedAt: expect.any(String) });
  });
});

describe("a server that is not there at the start", () => {
  test("is waited for as long as it is said, and told of once", async () => {
    const database = await createDatabase();
    const relay = await startRelay(database.url);
    relay.down();
    const contents = { database: relay.url, migrations, tenants: tenantsNamed("thor") };
    const refused = await testFleet(database, contents);
    await expect(migrate(refused.fleet, {})).rejects.toMatchObject({ code: "DATABASE_UNREACHABLE" });
    const soon = await testFleet(database, contents, { waitMs: 700 });
    await expect(migrate(soon.fleet, {})).rejects.toMatchObject({ code: "DATABASE_UNREACHABLE" });
    const { fleet, events } = await testFleet(database, contents, { waitMs: 30_000 });
    const running = migrate(fleet, {});
    await sleep(1_200);
    await relay.up();
    expect(await running).toMatchObject({ ok: true, summary: { changed: 1 } });
    const waits = events.filter((event) => event.type === "warning" && event.message.includes("waiting for it"));
    expect(waits).toHaveLength(1);
  });

  test("is not waited for once the run is stopped", async () => {
    const stop = new AbortController();
    const contents = { database: "postgres://me@127.0.0.1:1/polls", migrations, tenants: tenantsNamed("thor") };
    const database = await createDatabase();
    const { fleet }: { fleet: Fleet } = await testFleet(database, contents, { waitMs: 60_000, stop: stop.signal });
    const running = migrate(fleet, {});
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "DATABASE_UNREACHABLE" });
  });
});
