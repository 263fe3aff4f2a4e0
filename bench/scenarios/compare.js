// One table for a comparison: each peer beside ours, pair by pair.
import { ours } from "../contenders/contender.js";
import { alternate } from "../measure.js";
import { duration, times } from "../results.js";

/** @typedef {import("../bench.js").Bench} Bench */
/** @typedef {import("../contenders/contender.js").Contender} Contender */

export const header = ["against", "tenants", "its time", "tenantctl", "its time over tenantctl's"];

/**
 * @param {Bench} bench
 * @param {Contender} peer
 * @param {number} tenants
 * @param {(contender: Contender) => Promise<number>} run
 * @param {Contender} [base] ours, where not with its defaults
 */
export async function comparisonRow(bench, peer, tenants, run, base = ours) {
  return (await comparison(bench, peer, tenants, run, base)).row;
}

/**
 * The row, and what it is made from.
 * @param {Bench} bench
 * @param {Contender} peer
 * @param {number} tenants
 * @param {(contender: Contender) => Promise<number>} run
 * @param {Contender} [base]
 */
export async function comparison(bench, peer, tenants, run, base = ours) {
  const pair = await alternate(
    bench.rounds,
    () => run(base),
    () => run(peer),
  );
  bench.say(`${peer.name}: ${duration(pair.theirs)}, ${base.name}: ${duration(pair.ours)}, ${times(pair.ratio)}`);
  const row = [peer.name, String(tenants), duration(pair.theirs), duration(pair.ours), `**${times(pair.ratio)}**`];
  return { pair, row };
}
