// Runtime tests: tenants whose tables hold their own names, and tenancies that are closed when their file ends.
import pg from "pg";
import type { Tenant } from "../../src/registry/index.js";
import { createTenancy, type Tenancy, type TenancyOptions } from "../../src/runtime/index.js";
import type { TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";

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

/** Whose table answers. */
export const whose = "select distinct owner from notes";
