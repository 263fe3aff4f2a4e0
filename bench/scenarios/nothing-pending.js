// What a deploy costs that brings no migration: migrate over a fleet that is current.
import { ours, peers } from "../contenders/contender.js";
import { time } from "../measure.js";
import { comparisonRow, header } from "./compare.js";

export const name = "nothing-pending";
export const title = "Nothing pending";

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const count = bench.tenants(300, 1000);
  const rows = [];
  for (const peer of peers) {
    await bench.migratedFleet(ours, count);
    await bench.migratedFleet(peer, count);
    const migrate = async (/** @type {typeof ours} */ contender) =>
      time(contender.migrate(await bench.migratedFleet(contender, count)));
    rows.push(await comparisonRow(bench, peer, count, migrate));
  }
  return {
    title,
    notes: [`\`migrate\` over a fleet that is current. Medians of ${bench.rounds} pairs.`],
    header,
    rows,
  };
}
