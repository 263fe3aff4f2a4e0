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

test("the second signal ends it at once, and the tenants under way are rolled back", { timeout: 60_000 }, async () => {
  const { database, project } = await slowFleet(25);
  const run = project.startTenantctl(["migrate", "--concurrency", "2"]);
  await database.query("select 1");
  while ((await sleeping(database)) < 2) await sleep(20);
  run.kill("SIGINT");
  await run.waitFor(/again to roll them back/);
  const from = Date.now();
  run.kill("SIGINT");
  expect(await run.ended).toMatchObject({ code: 130 });
  expect(Date.now() - from).toBeLessThan(10_000);
  while ((await sleeping(database)) > 0) await sleep(50);
  expect(Date.now() - from).toBeLessThan(20_000); // the server looked for its client, and did not finish its sleep
  expect(await tenantSchemas(database)).toEqual([]);
});

async function sleeping(database: TestDatabase): Promise<number> {
  return (
    await database.query(
      "select from pg_stat_activity where datname = current_database() and state = 'active' and query ~ 'pg_sleep' and pid <> pg_backend_pid()",
    )
  ).length;
}
