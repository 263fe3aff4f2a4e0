import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { activeBackends, expectAgreement, migrations, names, tracesOf, untilBuried } from "./killed.ts";

/** How many kills; a person may want a night's worth. */
const rounds = Number(process.env.TENANTCTL_DRILL_ROUNDS ?? 5);
const tenants = Array.from({ length: 20 }, (_, index) => `t${String(index + 1).padStart(2, "0")}`);

let database: TestDatabase;
let project: TestProject;
let landed = { amid: 0, mixed: 0, running: 0 };

beforeAll(async () => {
  database = await createDatabase();
  project = await createProject({
    database,
    migrations,
    tenants: Object.fromEntries(tenants.map((name) => [name, {}])),
  });
  await all(["create-schemas"]);
});

async function all(args: string[]): Promise<void> {
  const result = await project.tenantctl(args, { timeoutMs: 120_000 });
  expect(result.code, `${args.join(" ")}\n${result.stdout}${result.stderr}`).toBe(0);
}

/** Kills the command somewhere in its work, and looks at every tenant. */
async function killAmid(args: string[]): Promise<void> {
  const from = (await tracesOf(database, tenants)).map(({ ledger }) => ledger.length);
  const run = project.startTenantctl(args, { timeoutMs: 120_000 });
  const finished = Math.floor(Math.random() * (tenants.length - 2));
  await run.waitFor(new RegExp(`(?:(?:migrated|reverted)[^]*){${finished}}`));
  while (finished === 0 && (await activeBackends(database)) === 0) await sleep(2);
  await sleep(Math.random() * 80);
  const active = await activeBackends(database);
  run.kill("SIGKILL");
  const { signal } = await run.ended;
  await untilBuried(database);

  const found = await tracesOf(database, tenants);
  for (const traces of found) expectAgreement(traces);
  const moved = found.filter(({ ledger }, at) => ledger.length !== from[at]).length;
  if (signal === "SIGKILL" && active > 0) landed.amid++;
  if (moved > 0 && moved < tenants.length) landed.mixed++;
  if (found.some(({ stamp }) => /running|reverting/.test(stamp ?? ""))) landed.running++;
}

test(`after each of ${rounds} kills every tenant is at one version, and the next run finishes the job`, {
  timeout: rounds * 30_000,
}, async () => {
  landed = { amid: 0, mixed: 0, running: 0 };
  for (let round = 1; round <= rounds; round++) {
    const up = round % 2 === 1;
    const args = up ? ["migrate"] : ["rollback", "--to", "0"];
    await killAmid(args);
    await all(args);
    const found = await tracesOf(database, tenants);
    for (const traces of found) expectAgreement(traces);
    const expected = up ? names : [];
    expect(found.map(({ ledger }) => ledger)).toEqual(tenants.map(() => expected));
    if (up) expect((await project.tenantctl(["status", "--check", "--verify"])).code).toBe(0);
  }
  console.log(
    `kills: ${rounds}; while backends were at work: ${landed.amid}; fleets left half way: ${landed.mixed}; amid transaction:false: ${landed.running}`,
  );
  expect(landed.amid).toBeGreaterThanOrEqual(rounds / 2);
  expect(landed.mixed).toBeGreaterThan(rounds / 10);
});
