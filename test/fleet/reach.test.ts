// A fleet's migrations that write outside of the tenants' schemas: looked at while all connections are at work, wherever the fleet runs.
import { describe, expect, test } from "vitest";
import { type Fleet, migrate } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { tenantsNamed, testFleet } from "./fleet.ts";

const names = Array.from({ length: 8 }, (_, at) => `t${at}`);
// All of them allow the first; the last tenant's goes further.
const migrations = {
  "1_a.sql": "create table a (); insert into public.log select current_schema()",
  "2_b.sql":
    "do $$ begin if current_schema() = 't7' then execute 'drop table public.ours'; end if; end $$; create table b ()",
};

async function logged(database: TestDatabase): Promise<void> {
  await database.query(
    "create table public.log (schema text); create table public.ours (); grant all on public.log to public",
  );
}

async function expectAllButTheLast(database: TestDatabase, fleet: Fleet): Promise<void> {
  const { tenants, summary } = await migrate(fleet, {});
  expect(summary).toMatchObject({ changed: 7, failed: 1 });
  expect(tenants.find(({ name }) => name === "t7")).toMatchObject({
    outcome: "failed",
    error: { code: "OUTSIDE_SCHEMA", message: expect.stringContaining("drops public.ours"), migration: "2_b" },
  });
  expect(await database.query("select count(*)::int, count(distinct schema)::int as schemas from log")).toEqual([
    { count: 7, schemas: 7 },
  ]);
}

describe.each(servers())("PostgreSQL $major", (server) => {
  test.each([2, 3, 4])("where the server allows a role %i connections", async (limit) => {
    const database = await createDatabase(server);
    await logged(database);
    const role = await database.createRole(`login connection limit ${limit}`);
    await database.query(
      `grant create on database "${database.name}" to ${role.name}; alter table ours owner to ${role.name}`,
    );
    const { fleet } = await testFleet(
      database,
      { database: role.url, migrations, mayChange: ["public.log"], tenants: tenantsNamed(...names) },
      { concurrency: 2 },
    );
    await expectAllButTheLast(database, fleet);
  });

  describe.skipIf(!pgbouncerAvailable)(`behind pgbouncer${pgbouncerNote}`, () => {
    test.each([1, 2])("whose pool has %i connections for two workers", async (poolSize) => {
      const database = await createDatabase(server);
      await logged(database);
      const { url } = await startPgbouncer(database, { poolSize });
      const options = { database: url, migrations, mayChange: ["public.log"], tenants: tenantsNamed(...names) };
      const { fleet } = await testFleet(database, options, { concurrency: 2 });
      await expectAllButTheLast(database, fleet);
    });
  });
});
