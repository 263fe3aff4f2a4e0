// What a peer is asked to do, and the loop around it that its users write themselves.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @typedef {object} Job
 * @property {string} url
 * @property {string} migrations a folder of .sql files
 * @property {string[]} tenants each name is its schema's too
 * @property {number} concurrency
 */

/** Of the others, none tells what is pending without a run of its own. */
export const peersWithStatus = ["umzug", "knex", "drizzle-multitenant"];

/**
 * @param {Job} job
 * @param {(tenant: string) => Promise<unknown>} work
 */
export async function forEachTenant({ tenants, concurrency }, work) {
  const queue = tenants.values();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (const tenant of queue) await work(tenant);
    }),
  );
}

/** @param {Job} job the files, in order */
export function readFiles({ migrations }) {
  return readdirSync(migrations)
    .sort()
    .map((name) => ({ name, sql: readFileSync(join(migrations, name), "utf8") }));
}
