import { describe, expect, test } from "vitest";
import { createDatabase, newestAtLeast } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { names, polls } from "./polls.ts";

/** A tenant's life, told by the exit codes and documents of the command alone; the brief one for a database that starts slowly. */
async function live(project: TestProject, brief = false): Promise<void> {
  const run = async (args: string[], code = 0) => {
    const result = await project.tenantctl([...args, "--json"], { timeoutMs: 180_000 });
    expect(result.code, `${args.join(" ")}\n${result.stdout}${result.stderr}`).toBe(code);
    return result.json();
  };
  expect(await run(["create-tenant", "thor"])).toMatchObject({ applied: names });
  await project.write(
    "migrations/tenant/20260104000000_tags.sql",
    "-- migrate:up\ncreate table tags (poll bigint references polls);\n-- migrate:down\ndrop table tags;\n",
  );
  if (!brief) expect(await run(["status", "--check"], 4)).toMatchObject({ summary: { pending: 1 } });
  expect(await run(["migrate"])).toMatchObject({ summary: { migrated: 1 } });
  expect(await run(["status", "--check", "--verify"])).toMatchObject({ summary: { current: 1 }, wrongStamps: [] });
  expect(await run(["sql", "--all", "select count(*)::int as tags from tags"])).toMatchObject({
    rows: [{ tenant: "thor", tags: 0 }],
  });
  expect(await run(["rollback", "--to", names[0]])).toMatchObject({ tenants: [{ reverted: expect.any(Array) }] });
  if (!brief) expect(await run(["status", "--list"])).toMatchObject({ tenants: [{ version: names[0], applied: 1 }] });
  await project.write("migrations/tenant/20260105000000_bad.sql", "create table bad (id int);\nselect nonsense;\n");
  expect(await run(["migrate"], 1)).toMatchObject({
    tenants: [{ outcome: "failed", error: { sqlState: "42703", migration: "20260105000000_bad", line: 2, column: 8 } }],
  });
  expect(await run(["status"])).toMatchObject({ tenants: [{ version: names[0], applied: 1 }] });
  expect(await run(["remove-tenant", "thor", "--drop-schema", "--yes"])).toMatchObject({ tenant: { name: "thor" } });
  if (!brief) expect(await run(["list"])).toEqual({ tenants: [] });
}

describe("create, migrate, status, rollback and remove work alike", () => {
  test.each(newestAtLeast())("on PostgreSQL $major", async (server) => {
    await live(await createProject({ database: await createDatabase(server), migrations: polls }));
  });

  test.skipIf(!pgbouncerAvailable)(`behind pgbouncer in transaction mode${pgbouncerNote}`, async () => {
    const { url } = await startPgbouncer(await createDatabase(), { poolSize: 4 });
    await live(await createProject({ database: { url }, migrations: polls }));
  });

  test("on the embedded database", { timeout: 400_000 }, async () => {
    await live(await createProject({ database: "pglite:.tenantctl/db", migrations: polls }), true);
  });
});

test("a second process on the embedded database is refused, and the first one is not harmed", {
  timeout: 120_000,
}, async () => {
  const project = await createProject({
    database: "pglite:db",
    migrations: { "20260101000000_slow.sql": "create table slow (id int); select pg_sleep(3);" },
    tenants: { thor: {} },
  });
  const first = project.startTenantctl(["migrate"], { timeoutMs: 90_000 });
  await first.waitFor(/embedded/);
  let second = await project.tenantctl(["status"], { timeoutMs: 90_000 });
  if (second.code === 0) second = await project.tenantctl(["status"], { timeoutMs: 90_000 });
  expect(second).toMatchObject({ code: 3, stdout: "" });
  expect(second.stderr).toMatch(/^error: .*in use|^error: .*process \d+/m);
  expect(second.stderr).toMatch(/^hint: /m);
  expect(await first.ended).toMatchObject({ code: 0 });
});
