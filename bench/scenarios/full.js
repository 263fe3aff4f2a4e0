// Ten migrations over a new fleet, from missing schemas to the newest version, against the peers.
import { gigabytesPerTenant } from "../bench.js";
import { ours, peers } from "../contenders/contender.js";
import { checkpoint, Fleet, tenantNames } from "../fleet.js";
import { time } from "../measure.js";
import { comparisonRow, header } from "./compare.js";

/** @typedef {import("../bench.js").Bench} Bench */
/** @typedef {import("../contenders/contender.js").Contender} Contender */
/** @typedef {import("../server.js").Server} Server */

export const name = "full";
export const title = "Ten migrations over a new fleet, against peers";

/** @param {Bench} bench */
export async function run(bench) {
  const count = bench.tenants(300, 1000);
  const rows = [];
  for (const peer of peers) {
    const server = await bench.openServer(count * 2 * bench.rounds * gigabytesPerTenant);
    rows.push(await comparisonRow(bench, peer, count, (contender) => migrateNewFleet(server, contender, count)));
    await bench.closeServer(server);
  }
  const notes = [
    `12 tables a tenant; ${ours.name} with its defaults (4 at once), peers at their default and at 4 at once.`,
    `Whole processes, medians of ${bench.rounds} pairs, a new database each.`,
  ];
  return { title, notes, header, rows };
}

/**
 * @param {Server} server @param {Contender} contender @param {number} count
 * @returns {Promise<number>} milliseconds
 */
export async function migrateNewFleet(server, contender, count) {
  const fleet = await Fleet.create(server, tenantNames(count));
  try {
    const commands = contender.migrate(fleet);
    await checkpoint(fleet.url);
    const milliseconds = await time(commands);
    await fleet.verify();
    return milliseconds;
  } finally {
    fleet.close();
  }
}
