import { describe, expect, test, vi } from "vitest";
import { createDatabase } from "../support/database.ts";
import { createProject } from "../support/project.ts";
import { fleetOf, names, polls } from "./polls.ts";
import { tenantSchemas } from "./traces.ts";

vi.setConfig({ testTimeout: 120_000 }); // eight processes at once, on a machine that has other things to do

// Every application leaves a row where all can see it.
const counted = Object.fromEntries(
  Object.entries(polls).map(([file, sql]) => [
    file,
    sql.replace("-- migrate:down", `insert into public.applied values (current_schema(), '${file}');\n-- migrate:down`),
  ]),
);

describe("migrate at once", () => {
  test.each([2, 8])("%i runs on 30 tenants apply each migration once, and all exit with 0", async (count) => {
    const database = await createDatabase();
    await database.query("create table applied (tenant text, migration text)");
    const project = await createProject({
      database,
      migrations: counted,
      mayChange: ["public.applied"],
      tenants: fleetOf(30),
    });
    const args = ["migrate", "--json", "--concurrency", "2"];
    const runs = await Promise.all(Array.from({ length: count }, () => project.tenantctl(args, { timeoutMs: 90_000 })));
    expect(runs.map(({ code, stderr }) => (code === 0 ? "" : stderr))).toEqual(runs.map(() => ""));

    const twice = await database.query("select tenant, migration from applied group by 1, 2 having count(*) <> 1");
    expect(twice).toEqual([]);
    expect(await database.query("select from applied")).toHaveLength(30 * names.length);
    const sums = runs.map((run) => run.json<{ summary: { migrated: number; current: number } }>().summary);
    expect(sums.every((sum) => sum.migrated + sum.current === 30)).toBe(true);
    expect(sums.reduce((sum, { migrated }) => sum + migrated, 0)).toBe(30);
    expect((await project.tenantctl(["status", "--check", "--verify"])).code).toBe(0);
  });
});

describe("create-tenant at once", () => {
  test("eight of different names are all registered", async () => {
    const database = await createDatabase();
    const project = await createProject({ database, migrations: polls });
    const wanted = Object.keys(fleetOf(8));
    const results = await Promise.all(
      wanted.map((name) => project.tenantctl(["create-tenant", name], { timeoutMs: 90_000 })),
    );
    expect(results.map(({ code, stderr }) => `${code}${stderr}`)).toEqual(wanted.map(() => "0"));
    expect(Object.keys(JSON.parse(await project.read("tenants.config.json")).tenants).sort()).toEqual(wanted);
    expect(await tenantSchemas(database)).toEqual(wanted);
  });

  test("two of one name: one is created, the other exits with 2, and nothing is lost", async () => {
    const database = await createDatabase();
    const project = await createProject({ database, migrations: polls });
    const results = await Promise.all(
      [1, 2].map(() => project.tenantctl(["create-tenant", "thor"], { timeoutMs: 90_000 })),
    );
    expect(results.map(({ code }) => code).sort(), results.map(({ stderr }) => stderr).join()).toEqual([0, 2]);
    expect(await tenantSchemas(database)).toEqual(["thor"]);
    expect((await project.tenantctl(["status", "--check"])).code).toBe(0);
    const third = await project.tenantctl(["create-tenant", "thor"]);
    expect(third).toMatchObject({ code: 2, stderr: expect.stringMatching(/exists already.*\nhint: /) });
  });
});
