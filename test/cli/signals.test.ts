import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { fleetOf } from "./polls.ts";
import { ledgerOf, tenantSchemas } from "./traces.ts";

const migration = "20260101000000_slow";

async function slowFleet(seconds: number): Promise<{ database: TestDatabase; project: TestProject }> {
  const database = await createDatabase();
  const sql = `create table slow (id int);\nselect pg_sleep(${seconds});\ncreate table done (id int);\n`;
  const project = await createProject({ database, migrations: { [`${migration}.sql`]: sql }, tenants: fleetOf(10) });
  return { database, project };
}

/** Schemas, each of which must be wholly migrated. */
async function migrated(database: TestDatabase): Promise<string[]> {
  const schemas = await tenantSchemas(database);
  for (const schema of schemas) expect(await ledgerOf(database, schema)).toEqual([migration]);
  return schemas;
}

describe.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("the first %s", (signal, code) => {
  test("lets the tenants under way finish, starts no more, and says what is left; the next migrate goes on", async () => {
    const { database, project } = await slowFleet(0.4);
    const run = project.startTenantctl(["migrate", "--concurrency", "2"]);
    await run.waitFor(/migrated/);
    run.kill(signal);
    const result = await run.ended;
    expect(result).toMatchObject({ code, signal: null });
    expect(result.stderr).toMatch(new RegExp(`${signal}: finishing the tenants under way`));
    const done = await migrated(database);
    expect(done.length).toBeGreaterThan(0);
    expect(done.length).toBeLessThan(10);
    expect(result.stdout).toMatch(
      new RegExp(`^10 tenants: ${done.length} migrated, 0 current, ${10 - done.length} skipped`),
    );
    expect(result.stdout).toMatch(new RegExp(`${10 - done.length} tenants? left: tenantctl migrate goes on`));

    const next = await project.tenantctl(["migrate", "--json"]);
    expect(next.code).toBe(0);
    expect(next.json()).toMatchObject({ summary: { migrated: 10 - done.length, current: done.length } });
  });
});

test("with --json the document says that a signal stopped it", async () => {
  const { database, project } = await slowFleet(0.4);
  const run = project.startTenantctl(["migrate", "--json", "--concurrency", "2"]);
  await run.waitFor(/migrated/);
  run.kill("SIGTERM");
  const result = await run.ended;
  expect(result.code).toBe(143);
  const found = result.json<{ summary: { migrated: number; skipped: number } }>();
  expect(found).toMatchObject({ ok: false, stopped: "signal" });
  expect(found.summary.migrated).toBe((await migrated(database)).length);
  expect(found.summary.skipped).toBe(10 - found.summary.migrated);
  const { runs } = (await project.tenantctl(["runs", "--json"])).json<{ runs: object[] }>();
  expect(runs[0]).toMatchObject({ finishedAt: expect.any(String), skipped: found.summary.skipped });
});

test("the second signal rolls the tenants under way back, and says so; the next migrate goes on", {
  timeout: 60_000,
}, async () => {
  const database = await createDatabase();
  const sql = `create table slow (id int);\n${"select pg_sleep(0.3);\n".repeat(100)}`;
  const project = await createProject({ database, migrations: { "1_slow.sql": sql }, tenants: fleetOf(10) });
  const run = project.startTenantctl(["migrate", "--concurrency", "2", "--json"]);
  while ((await sleeping(database)) < 2) await sleep(20);
  run.kill("SIGINT");
  await run.waitFor(/again to roll them back/);
  run.kill("SIGINT");
  const result = await run.ended;
  expect(await sleeping(database)).toBe(0);
  expect(await tenantSchemas(database)).toEqual([]);
  expect(result).toMatchObject({ code: 130 });
  expect(result.stderr).toMatch(/SIGINT: rolling back the tenants under way; again to end at once/);
  expect(result.json()).toMatchObject({
    ok: false,
    stopped: "signal",
    summary: { migrated: 0, failed: 0, skipped: 10 },
  });
});

test("the third ends it at once, also where nothing can be cancelled", async () => {
  const database = await createDatabase();
  const module = `export async function up({ client }) {
    await client.query("create table a ()");
    console.error("computing");
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  }`;
  const project = await createProject({ database, migrations: { "1_slow.mjs": module }, tenants: fleetOf(1) });
  const run = project.startTenantctl(["migrate"]);
  await run.waitFor(/computing/);
  for (const words of [/again to roll them back/, /again to end at once/]) {
    run.kill("SIGINT");
    await run.waitFor(words);
  }
  run.kill("SIGINT");
  expect(await run.ended).toMatchObject({ code: 130 });
  await expect.poll(() => tenantSchemas(database)).toEqual([]);
});

test("after SIGKILL the server notices within seconds", async () => {
  const { database, project } = await slowFleet(25);
  const run = project.startTenantctl(["migrate", "--concurrency", "2"]);
  while ((await sleeping(database)) < 2) await sleep(20);
  const from = Date.now();
  run.kill("SIGKILL");
  while ((await sleeping(database)) > 0) await sleep(50);
  expect(Date.now() - from).toBeLessThan(9_000); // it looks every 2 s
  expect(await tenantSchemas(database)).toEqual([]);
});

async function sleeping(database: TestDatabase): Promise<number> {
  return (
    await database.query(
      "select from pg_stat_activity where datname = current_database() and state = 'active' and query ~ 'pg_sleep' and pid <> pg_backend_pid()",
    )
  ).length;
}
