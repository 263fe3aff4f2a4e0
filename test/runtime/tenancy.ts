// Runtime tests: tenants whose tables hold their own names, and tenancies that are closed when their file ends.
import pg from "pg";
import { expect } from "vitest";
import type { Tenant } from "../../src/registry/index.js";
import { createTenancy, type Tenancy, type TenancyOptions } from "../../src/runtime/index.js";
import type { TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { pgbouncerAvailable, startPgbouncer } from "../support/pgbouncer.ts";

/** Tenants with a schema each, whose table `notes` holds their name. */
export async function createTenants(database: TestDatabase, names: readonly string[]): Promise<Tenant[]> {
  for (const name of names) {
    const schema = pg.escapeIdentifier(name);
    await database.query(`create schema ${schema}; create table ${schema}.notes (id int primary key, owner text not null);
      insert into ${schema}.notes select n, ${pg.escapeLiteral(name)} from generate_series(1, 10) n`);
  }
  return names.map(tenantNamed);
}

export function tenantNamed(name: string): Tenant {
  return { name, schema: name, hosts: [`${name.toLowerCase()}.polls.local`], labels: {}, state: "active" };
}

/** A registry whose list the test changes. */
export function listOf(tenants: Tenant[]): { list: Tenant[]; asked: number; tenants(): Promise<Tenant[]> } {
  return {
    list: tenants,
    asked: 0,
    async tenants() {
      this.asked++;
      return [...this.list];
    },
  };
}

/** On a pool of its own, closed when the file ends. */
export async function openTenancy(
  database: { url: string },
  tenants: Tenant[],
  options: TenancyOptions = {},
): Promise<Tenancy> {
  const tenancy = await createTenancy({ database: database.url, registry: listOf(tenants), ...options });
  whenFileEnds(() => tenancy.close());
  return tenancy;
}

type Way = "session" | "transaction" | "pooler";

/** Each way to each server: sessions, transactions on a pool that others could use too, and a pooler where there is one. */
export function waysTo<Server extends { major: number }>(servers: readonly Server[]) {
  const ways: Way[] = ["session", "transaction", ...(pgbouncerAvailable ? (["pooler"] as const) : [])];
  return servers.flatMap((server) => ways.map((way) => ({ server, way, major: server.major })));
}

/** As `openTenancy`, on one of these ways, with so many connections at most. */
export async function openOn(
  way: Way,
  database: TestDatabase,
  tenants: Tenant[],
  connections: number,
): Promise<Tenancy> {
  const { url } = way === "pooler" ? await startPgbouncer(database, { poolSize: connections }) : database;
  const poolMode = way === "pooler" ? "transaction" : way;
  return await openTenancy({ url }, tenants, { poolMode, maxConnections: connections });
}

/** `fn` for these tenants in turns, all at once, so that connections change hands. */
export async function inTurns(
  tenancy: Tenancy,
  names: readonly string[],
  count: number,
  fn: (me: string) => Promise<void>,
): Promise<void> {
  const turns = Array.from({ length: count }, (_, at) => names[at % names.length] ?? "");
  await Promise.all(turns.map((me) => tenancy.withTenant(me, () => fn(me))));
}

/** No tenant has a note with this id. */
export async function expectNoNote(tenancy: Tenancy, names: readonly string[], id: number): Promise<void> {
  for (const me of names) {
    const { rows } = await tenancy.withTenant(me, () => tenancy.query("select 1 from notes where id = $1", [id]));
    expect(rows).toEqual([]);
  }
}

/** Whose table answers. */
export const whose = "select distinct owner from notes";
