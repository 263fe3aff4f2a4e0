// Umzug as its README shows it for raw SQL: a client a tenant, a storage of two statements, no transaction of its own.
import pg from "pg";
import { Umzug } from "umzug";
import { forEachTenant, readFiles } from "./job.js";

/** @typedef {import("./job.js").Job} Job */

/** @param {Job} job */
export const migrate = (job) => withTenants(job, (umzug) => umzug.up());

/** @param {Job} job */
export const status = (job) => withTenants(job, (umzug) => umzug.pending());

/** @param {Job} job @param {(umzug: Umzug<pg.Client>) => Promise<unknown>} work */
async function withTenants(job, work) {
  const files = readFiles(job);
  await forEachTenant(job, async (tenant) => {
    const client = new pg.Client({ connectionString: job.url });
    await client.connect();
    await client.query(`create schema if not exists ${tenant}`);
    await client.query(`set search_path to ${tenant}`);
    await client.query("create table if not exists migrations (name text primary key)");
    const umzug = new Umzug({
      migrations: files.map(({ name, sql }) => ({ name, up: () => client.query(sql) })),
      context: client,
      storage: {
        async executed() {
          const { rows } = await client.query("select name from migrations order by name");
          return rows.map((row) => row.name);
        },
        async logMigration({ name }) {
          await client.query("insert into migrations (name) values ($1)", [name]);
        },
        async unlogMigration({ name }) {
          await client.query("delete from migrations where name = $1", [name]);
        },
      },
      logger: undefined,
    });
    await work(umzug);
    await client.end();
  });
}
