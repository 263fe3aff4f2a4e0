// Where does the fleet stand? Of a fleet that is current.
import { isFirstOfItsTool, ours, peers } from "../contenders/contender.js";
import { time } from "../measure.js";
import { comparisonRow, header } from "./compare.js";

export const name = "status";
export const title = "Status";

// It looks at one tenant after the other, whatever it is told: its first row says all.
const serial = "drizzle-multitenant";

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const count = bench.tenants(300, 1000);
  const rows = [];
  for (const peer of peers.filter((one) => one.tool !== serial || isFirstOfItsTool(one))) {
    if (!peer.status) continue;
    await bench.migratedFleet(ours, count);
    await bench.migratedFleet(peer, count);
    const status = async (/** @type {typeof ours} */ contender) =>
      time(contender.status?.(await bench.migratedFleet(contender, count)) ?? []);
    rows.push(await comparisonRow(bench, peer.tool === serial ? { ...peer, name: serial } : peer, count, status));
  }
  const notes = [`\`status\` of a fleet that is current; node-pg-migrate has none. Medians of ${bench.rounds} pairs.`];
  return { title, notes, header, rows };
}
