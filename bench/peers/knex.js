// knex with an instance a tenant, as its users do it: searchPath and schemaName, a transaction a migration.
import knex from "knex";
import { forEachTenant, readFiles } from "./job.js";

/** @typedef {import("./job.js").Job} Job */

/** @param {Job} job */
export const migrate = (job) => withTenants(job, (tenant) => tenant.migrate.latest());

/** @param {Job} job */
export const status = (job) => withTenants(job, (tenant) => tenant.migrate.list());

/** @param {Job} job @param {(tenant: import("knex").Knex) => Promise<unknown>} work */
async function withTenants(job, work) {
  const files = readFiles(job);
  const migrationSource = {
    getMigrations: async () => files,
    getMigrationName: (/** @type {{ name: string }} */ file) => file.name,
    getMigration: async (/** @type {{ sql: string }} */ file) => ({
      up: (/** @type {import("knex").Knex} */ transaction) => transaction.raw(file.sql),
      down: async () => {},
    }),
  };
  await forEachTenant(job, async (schema) => {
    const tenant = knex({
      client: "pg",
      connection: job.url,
      searchPath: [schema],
      migrations: { schemaName: schema, migrationSource },
    });
    await tenant.raw("create schema if not exists ??", [schema]);
    await work(tenant);
    await tenant.destroy();
  });
}
