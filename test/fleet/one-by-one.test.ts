// A server that refuses some statements when they share a message, as Citus does for its distributed tables: nobody fails for it.
import { describe, expect, test } from "vitest";
import { createTenant, migrate, rollback, sql, status } from "../../src/fleet/index.js";
import { createDatabase, type Server, servers, type TestDatabase } from "../support/database.ts";
import { tenantsNamed, testFleet } from "./fleet.ts";

const migrations = {
  "1_a.sql":
    "-- migrate:up\ncreate table a (n int);\ncreate index a_n on a (n);\n-- migrate:down\nalter table a rename to b;\ndrop table b;",
  "2_b.sql": "-- migrate:up\nalter table a rename n to m;\n-- migrate:down\nalter table a rename m to n;",
};

// `together` of them wait for each other before any is refused.
const picky = (together: number, state: string) => `
create function one_by_one() returns event_trigger language plpgsql as $$
declare others int := 0;
begin
  if current_query() !~ E'\\n;\\n' then return; end if;
  perform pg_advisory_lock_shared(4711);
  for attempt in 1..1000 loop
    select count(distinct pid) into others from pg_locks
      where locktype = 'advisory' and objid = 4711 and database = (select oid from pg_database where datname = current_database());
    exit when others >= ${together};
    perform pg_sleep(0.01);
  end loop;
  if others < ${together} then raise exception 'nobody else came'; end if;
  raise exception 'cannot insert multiple commands into a prepared statement' using errcode = '${state}';
end $$;
create event trigger picky on ddl_command_start when tag in ('CREATE INDEX', 'ALTER TABLE') execute function one_by_one()`;

async function pickyDatabase(server: Server, together = 1, state = "42601"): Promise<TestDatabase> {
  const database = await createDatabase(server);
  await database.query(picky(together, state));
  return database;
}

describe.each(servers())("PostgreSQL $major", (server) => {
  test("tenants that find out at the same time are all migrated", async () => {
    const database = await pickyDatabase(server, 3);
    const tenants = tenantsNamed("thor", "loki", "odin", "freya", "hela");
    const { fleet } = await testFleet(database, { migrations, tenants }, { concurrency: 3 });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true, summary: { changed: 5, failed: 0 } });
    expect((await fleet.database()).capabilities.severalStatements).toBe(false);
    expect((await status(fleet, {}, { verify: true })).summary).toMatchObject({ current: 5 });
  });

  test("create-tenant and rollback find out for themselves, also from an internal error", async () => {
    const database = await pickyDatabase(server, 1, "XX000");
    const { fleet, again } = await testFleet(database, { migrations, tenants: {} });
    expect((await createTenant(fleet, { name: "thor" })).applied).toEqual(["1_a", "2_b"]);
    expect(await rollback(await again(), {}, { steps: 2 })).toMatchObject({ ok: true, summary: { changed: 1 } });
    expect((await status(fleet, {}, { verify: true })).summary).toMatchObject({ pending: 1 });
  });

  test("a failure of a migration's own has its place, and leaves nothing", async () => {
    const database = await pickyDatabase(server);
    const files = { ...migrations, "3_c.sql": "create table c ();\nalter table a rename gone to n" };
    const { fleet } = await testFleet(database, { migrations: files, tenants: tenantsNamed("thor") });
    expect((await migrate(fleet, {})).tenants).toMatchObject([
      { name: "thor", outcome: "failed", error: { sqlState: "42703", migration: "3_c", line: 2 } },
    ]);
    expect(await database.query("select 1 from pg_namespace where nspname = 'thor'")).toEqual([]);
  });

  test("a module that sends several statements is told to send them one by one, and runs once", async () => {
    const database = await pickyDatabase(server);
    const module = `import { appendFileSync } from "node:fs";
export async function up({ client }) {
  appendFileSync(new URL("ran", import.meta.url), "once ");
  await client.query("create table c (n int)\\n;\\nalter table c add m int");
}`;
    const { fleet, project } = await testFleet(database, {
      migrations: { "3_c.mjs": module },
      tenants: tenantsNamed("thor"),
    });
    expect((await migrate(fleet, {})).tenants).toMatchObject([
      { outcome: "failed", error: { sqlState: "42601", hint: expect.stringContaining("one statement a query") } },
    ]);
    expect(await project.read("migrations/tenant/ran")).toBe("once ");
  });

  test("sql shows each row once", async () => {
    const database = await pickyDatabase(server);
    const { fleet } = await testFleet(database, { migrations, tenants: tenantsNamed("thor", "loki") });
    await migrate(fleet, {});
    (await fleet.database()).capabilities.severalStatements = true;
    const shown: string[] = [];
    const result = await sql(
      fleet,
      {},
      {
        text: "select 1 as n; alter table a rename m to o",
        write: true,
        rows: (tenant, _columns, rows) => {
          shown.push(...rows.map((row) => `${tenant} ${row}`));
          return undefined;
        },
      },
    );
    expect(result).toMatchObject({ ok: true, summary: { done: 2, rows: 2 } });
    expect(shown).toEqual(["thor 1", "loki 1"]);
  });
});
