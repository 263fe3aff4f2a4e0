// The everyday release: one more migration, a nullable column, over a fleet that had all before it.
import { ours, peers, rawLimit } from "../contenders/contender.js";
import { checkpoint } from "../fleet.js";
import { time } from "../measure.js";
import { comparisonRow, header } from "./compare.js";

export const name = "new-migration";
export const title = "One new migration";

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const count = bench.tenants(300, 1000);
  const rows = [];
  for (const peer of [...rawLimit(4), ...peers]) {
    await bench.migratedFleet(ours, count);
    await bench.migratedFleet(peer, count);
    const migrate = async (/** @type {typeof ours} */ contender) => {
      const fleet = await bench.migratedFleet(contender, count);
      fleet.addMigration();
      const commands = contender.migrate(fleet);
      await checkpoint(fleet.url);
      const milliseconds = await time(commands);
      await fleet.verify();
      return milliseconds;
    };
    rows.push(await comparisonRow(bench, peer, count, migrate));
  }
  const notes = [
    "`alter table … add column … text`, a new one in each run, over a fleet that has all before it; psql starts no Node.",
    `Medians of ${bench.rounds} pairs.`,
  ];
  return { title, notes, header, rows };
}
