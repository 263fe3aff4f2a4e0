// A sign-up: one more tenant in a fleet that is migrated, from nothing to all its tables.
import { isFirstOfItsTool, ours, peers, rawLimit } from "../contenders/contender.js";
import { checkpoint } from "../fleet.js";
import { time } from "../measure.js";
import { comparisonRow, header } from "./compare.js";

export const name = "create-tenant";
export const title = "One more tenant";

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const count = bench.tenants(300, 1000);
  const rows = [];
  for (const peer of [...rawLimit(1), ...peers.filter(isFirstOfItsTool)]) {
    await bench.migratedFleet(ours, count);
    await bench.migratedFleet(peer, count);
    const create = async (/** @type {typeof ours} */ contender) => {
      const fleet = await bench.migratedFleet(contender, count);
      const tenant = `new${fleet.tenants.length}`;
      const commands = contender.create(fleet, tenant);
      await checkpoint(fleet.url);
      const milliseconds = await time(commands);
      fleet.tenants.push(tenant);
      await fleet.verify();
      return milliseconds;
    };
    rows.push(await comparisonRow(bench, { ...peer, name: peer.tool }, count, create));
  }
  const notes = [
    "`create-tenant`, or what comes nearest: the peer migrates this one tenant. tenantctl writes its registry as well.",
    `Mostly the start of a process; psql starts no Node. Medians of ${bench.rounds} pairs.`,
  ];
  return { title, notes, header, rows };
}
