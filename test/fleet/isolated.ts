// Fleet tests: tenants with a role each, of an owner that is no superuser.
import { tenantRole } from "../../src/database/roles.js";
import type { TestDatabase } from "../support/database.ts";
import { type TestFleet, tenantsNamed, testFleet } from "./fleet.ts";

const migrations = {
  "1_notes.sql":
    "create table notes (id int generated always as identity, owner text); insert into notes (owner) values (current_schema()); create function f() returns int language sql as 'select 1'",
};
const shared = { "1_plans.sql": "create table shared.plans (name text); insert into shared.plans values ('free')" };

export interface IsolatedFleet extends TestFleet {
  owner: { name: string; url: string };
  app: { name: string; password: string; url: string };
  /** A tenant's role, quoted. */
  role(schema: string): string;
}

export async function isolatedFleet(
  database: TestDatabase,
  tenants: readonly string[],
  config: object = { isolation: "role", sharedAccess: { plans: "select" } },
): Promise<IsolatedFleet> {
  const owner = await database.createRole("login createrole");
  const app = await database.createRole("login noinherit");
  await database.query(
    `create schema shared authorization ${owner.name}; grant create on database ${database.name} to ${owner.name}; alter schema public owner to ${owner.name}`,
  );
  const made = await testFleet(database, {
    database: owner.url,
    migrations,
    shared,
    tenants: tenantsNamed(...tenants),
    config: { appRole: app.name, sharedSchemas: ["shared"], ...config },
  });
  return { ...made, owner, app, role: (schema) => `"${tenantRole(database.name, schema)}"` };
}

/** What the last of the statements answers, or the SQLSTATE of what is refused. */
export async function as(database: TestDatabase, url: string, ...texts: string[]): Promise<string> {
  const client = await database.connectAs(url);
  try {
    let rows: unknown[] = [];
    for (const text of texts) ({ rows } = await client.query({ text, rowMode: "array" }));
    return rows.flat().join();
  } catch (error) {
    return (error as { code: string }).code;
  } finally {
    await client.end();
  }
}
