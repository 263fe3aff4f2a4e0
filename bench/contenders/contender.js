// Who is measured: something that makes commands for a fleet.
import { peer } from "./peer.js";
import { psql, psqlVersion } from "./psql.js";
import { tenantctl } from "./tenantctl.js";

/** @typedef {import("../fleet.js").Fleet} Fleet */
/** @typedef {import("../measure.js").Command} Command */

/**
 * @typedef {object} Contender
 * @property {string} name as in the tables
 * @property {string} tool contenders of one tool understand each other's ledgers
 * @property {(fleet: Fleet) => Command[]} migrate
 * @property {(fleet: Fleet) => Command[]} [status] left out where the tool has nothing of the kind
 * @property {(fleet: Fleet, tenant: string) => Command[]} create one more tenant
 */

export const ours = tenantctl();

/** Each at its own default, then as well as it can do four at a time. */
export const peers = [
  peer("umzug", "Umzug in a loop", 1),
  peer("umzug", "Umzug, 4 at once", 4),
  peer("node-pg-migrate", "node-pg-migrate in a loop", 1),
  peer("node-pg-migrate", "node-pg-migrate, 4 at once, its lock off", 4),
  peer("knex", "knex in a loop", 1),
  peer("knex", "knex, 4 at once", 4),
  peer("drizzle-multitenant", "drizzle-multitenant (10 at once)", 10),
  peer("drizzle-multitenant", "drizzle-multitenant, 4 at once", 4),
];

/** @param {Contender} peer */
export const isFirstOfItsTool = (peer) => peers.find((one) => one.tool === peer.tool) === peer;

/** @param {number} streams @returns {Contender[]} none where psql is missing */
export const rawLimit = (streams) => (psqlVersion === undefined ? [] : [psql(streams)]);

export { psqlVersion, tenantctl };
