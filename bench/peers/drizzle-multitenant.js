// drizzle-multitenant through its migrator. It creates no schemas when it migrates a fleet: those come first.
import { createMigrator } from "drizzle-multitenant/migrator";
import pg from "pg";

/** @typedef {import("./job.js").Job} Job */

/** @param {Job} job */
export async function migrate(job) {
  await createSchemas(job);
  const results = await migrator(job).migrateAll({ concurrency: job.concurrency });
  if (results.succeeded !== job.tenants.length) {
    throw new Error(results.details.find((/** @type {{ error?: string }} */ one) => one.error)?.error);
  }
}

/** @param {Job} job */
export const status = (job) => migrator(job).getStatus();

/** @param {Job} job */
function migrator({ url, migrations, tenants }) {
  return createMigrator(
    {
      connection: { url },
      isolation: { strategy: "schema", schemaNameTemplate: (/** @type {string} */ name) => name },
      schemas: { tenant: {} },
    },
    { migrationsFolder: migrations, tenantDiscovery: async () => tenants },
  );
}

/** @param {Job} job */
async function createSchemas({ url, tenants }) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query("select nspname from pg_namespace");
  const existing = new Set(rows.map((row) => row.nspname));
  const missing = tenants.filter((tenant) => !existing.has(tenant));
  for (const tenant of missing) await client.query(`create schema ${tenant}`);
  await client.end();
}
