// What would be recorded as applied without having done its work: refused before anything is touched.
import { describe, expect, test } from "vitest";
import { createTenant, migrate, planMigrate, rollback, status } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { tenantsNamed, testFleet } from "./fleet.ts";

const tenants = tenantsNamed("t1", "t2", "t3");
const untouched = async (database: TestDatabase) =>
  expect(await database.query("select from pg_namespace where nspname like 't_'")).toEqual([]);

const setting = '-- migrate:up\ncreate table "Setting" (id int primary key);\n-- migrate:down\ndrop table "Setting";\n';
const token = (condition = "") => `-- migrate:up
do $$
begin
  if not exists (select 1 from information_schema.columns where table_name = 'Setting' and column_name = 'token'${condition}) then
    alter table "Setting" add column token varchar(100);
  end if;
end $$;
-- migrate:down
alter table "Setting" drop column token;
`;
const lookups = { "1_setting.sql": setting, "2_token.sql": token() };

async function tokensIn(database: TestDatabase): Promise<unknown[]> {
  return await database.query(
    "select table_schema as schema from information_schema.columns where column_name = 'token' and table_name = 'Setting' order by 1",
  );
}

const everybody = ["t1", "t2", "t3"].map((schema) => ({ schema }));

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a file with another tool's markers, whose down part would run as a part of up", async () => {
    const database = await createDatabase(server);
    const { fleet } = await testFleet(database, {
      tenants,
      migrations: {
        "1_users.sql": "-- +goose Up\ncreate table users (id int);\n-- +goose Down\ndrop table users;\n",
      },
    });
    const refusal = {
      code: "MIGRATIONS_INVALID",
      problems: [
        expect.stringMatching(/write -- migrate:up \(.*1_users\.sql:1\)$/),
        expect.stringMatching(/write -- migrate:down \(.*1_users\.sql:3\)$/),
      ],
    };
    await expect(migrate(fleet, {})).rejects.toMatchObject(refusal);
    await expect(status(fleet, {})).rejects.toMatchObject(refusal);
    await expect(createTenant(fleet, { name: "t4" })).rejects.toMatchObject(refusal);
    await untouched(database);
  });

  test("a lookup in the catalogs that another tenant's column answers; with a schema all tenants get theirs", async () => {
    const database = await createDatabase(server);
    const { fleet, project, again } = await testFleet(database, { tenants, migrations: lookups });
    const refusal = {
      code: "CATALOG_LOOKUP",
      problems: [expect.stringMatching(/^table_name 'Setting' is looked up in information_schema\.columns .*:4\)$/)],
      hint: expect.stringMatching(
        /table_schema = current_schema\(\).*to_regclass.*IF NOT EXISTS.*"mayLookUp": \["2_token"\]/,
      ),
    };
    await expect(migrate(fleet, {})).rejects.toMatchObject(refusal);
    await expect(planMigrate(fleet, {})).rejects.toMatchObject(refusal);
    await expect(createTenant(fleet, { name: "t4" })).rejects.toMatchObject(refusal);
    await untouched(database);
    expect(await migrate(fleet, {}, { to: "1_setting" })).toMatchObject({ ok: true });
    await project.write("migrations/tenant/2_token.sql", token(" and table_schema = current_schema()"));
    expect(await migrate(await again(), {})).toMatchObject({ ok: true });
    expect(await tokensIn(database)).toEqual(everybody);
  });

  test("such a lookup that a comment or the config allows runs, and one that was applied stops nobody", async () => {
    const database = await createDatabase(server);
    const { fleet, project, again } = await testFleet(database, {
      tenants,
      migrations: {
        "1_setting.sql": setting,
        "2_token.sql": token(),
        "3_more.sql": `-- tenantctl-lint: allow-file catalog-lookup -- it is there already\n${token()}`,
      },
      config: { migrations: { tenant: "migrations/tenant", mayLookUp: ["2_token"] } },
    });
    expect(await migrate(fleet, {})).toMatchObject({ ok: true });
    await project.write("tenants.config.json", JSON.stringify({ database: database.url, tenants }));
    await project.write(
      "migrations/tenant/4_then.sql",
      "-- migrate:up\ncreate table b ();\n-- migrate:down\ndrop table b;\n",
    );
    const later = await again();
    expect(await migrate(later, {})).toMatchObject({ ok: true, summary: { changed: 3 } });
    expect(await rollback(later, {}, { steps: 1 })).toMatchObject({ ok: true, summary: { changed: 3 } });
  });
});
