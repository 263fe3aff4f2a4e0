// Many sign-ups at once for few names: each name is one tenant's, whole, and everybody else is told why not.
import { describe, expect, test } from "vitest";
import { sharedRole, tenantRole } from "../../src/database/roles.js";
import { createTenant, type Fleet, status } from "../../src/fleet/index.js";
import { createDatabase, newestAtLeast, type TestDatabase } from "../support/database.ts";
import type { ProjectContents } from "../support/project.ts";
import { type TestFleet, testFleet } from "./fleet.ts";
import { isolatedFleet } from "./isolated.ts";

const names = Array.from({ length: 20 }, (_, at) => `tenant-${String(at).padStart(2, "0")}`);
const migrations = { "1_notes.sql": "create table notes ()", "2_tags.sql": "create table tags ()" };
const shared = {
  "1_tenants.sql": "create table public.tenants (name text primary key, schema text, hosts text[], labels jsonb)",
};
const inTable: ProjectContents = { tenants: { table: "public.tenants" }, shared };

interface Told {
  name: string;
  /** What it was told; undefined for the one that has the name. */
  error: (Error & { code?: string; hint?: string }) | undefined;
}

/** Five for each name, those of one name from five fleets, as from so many machines. */
async function hundredSignUps(fleets: readonly Fleet[]): Promise<Told[]> {
  const wanted = Array.from({ length: 100 }, (_, at) => ({
    name: names[at % names.length] as string,
    fleet: fleets[(at + Math.floor(at / names.length)) % fleets.length] as Fleet,
  }));
  const ends = await Promise.allSettled(
    wanted.map(({ name, fleet }) => createTenant(fleet, { name, hosts: [`${name}.polls.local`] })),
  );
  return ends.map((end, at) => ({
    name: wanted[at]?.name ?? "",
    error: end.status === "rejected" ? end.reason : undefined,
  }));
}

async function opened({ again }: TestFleet): Promise<Fleet[]> {
  return await Promise.all(Array.from({ length: 20 }, () => again({ concurrency: 1 })));
}

/** Twenty that are whole, eighty that were told; nothing besides. */
async function expectTwenty(database: TestDatabase, told: readonly Told[], fleet: Fleet): Promise<void> {
  const wrong = told.filter(
    ({ name, error }) =>
      error !== undefined && !(error.code === "TENANT_EXISTS" && error.message.includes(`"${name}"`) && error.hint),
  );
  expect(wrong).toEqual([]);
  expect(told.flatMap(({ name, error }) => (error === undefined ? [name] : [])).sort()).toEqual(names);
  expect(
    await database.query(`select n.nspname::text as name, array_agg(c.relname::text order by c.relname) filter (where c.relkind = 'r') as tables
       from pg_namespace n left join pg_class c on c.relnamespace = n.oid
       where n.nspname !~ '^pg_' and n.nspname not in ('public', 'information_schema', 'tenantctl', 'shared') group by 1 order by 1`),
  ).toEqual(names.map((name) => ({ name, tables: ["notes", "tags", "tenantctl_migrations"] })));
  expect((await fleet.registry.tenants()).map(({ name, hosts }) => [name, hosts]).sort()).toEqual(
    names.map((name) => [name, [`${name}.polls.local`]]),
  );
  const found = await status(fleet, {}, { verify: true });
  expect(found).toMatchObject({ summary: { tenants: 20, current: 20 }, wrongStamps: [] });
}

describe.each(newestAtLeast())("PostgreSQL $major: 100 sign-ups of 20 names at once", (server) => {
  test("in the config file", async () => {
    const database = await createDatabase(server);
    const made = await testFleet(database, { migrations });
    const told = await hundredSignUps(await opened(made));
    await expectTwenty(database, told, await made.again());
  });

  test("in a table that the first of them has to create, with a role each, by an owner that is no superuser", async () => {
    const database = await createDatabase(server);
    const made = await isolatedFleet(database, [], { isolation: "role", tenants: { table: "public.tenants" } });
    await made.project.write("migrations/shared/2_tenants.sql", shared["1_tenants.sql"]);
    for (const [file, text] of Object.entries(migrations)) await made.project.write(`migrations/tenant/${file}`, text);
    const told = await hundredSignUps(await opened(made));
    await expectTwenty(database, told, await made.again());
    const roles = await database.query<{ name: string }>(
      "select rolname::text as name from pg_roles where rolname ~ '^tenants?_' and strpos(rolname, $1) > 0",
      [database.name],
    );
    expect(roles.map(({ name }) => name).sort()).toEqual(
      [sharedRole(database.name), ...names.map((name) => tenantRole(database.name, name))].sort(),
    );
  });

  test("by processes", async () => {
    const database = await createDatabase(server);
    const { project, again } = await testFleet(database, { migrations, ...inTable });
    const wanted = ["thor", "thor", "loki", "loki"];
    const results = await Promise.all(wanted.map((name) => project.tenantctl(["create-tenant", name])));
    for (const name of ["thor", "loki"]) {
      const [first, second] = results
        .filter((_, at) => wanted[at] === name)
        .sort((a, b) => (a.code ?? 9) - (b.code ?? 9));
      expect(first).toMatchObject({ code: 0, stderr: "" });
      expect(second).toMatchObject({ code: 2, stdout: "" });
      expect(second?.stderr).toMatch(new RegExp(`^error: tenant "${name}" exists already\\nhint: .+\\n$`));
    }
    expect((await status(await again(), {})).summary).toMatchObject({ tenants: 2, current: 2 });
  });
});
