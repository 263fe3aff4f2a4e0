// What a deploy costs that brings no migration: migrate over a fleet that is current.
import { ours, peers } from "../contenders/contender.js";
import { fakeFleet } from "../fake.js";
import { repeat, time } from "../measure.js";
import { duration, times } from "../results.js";
import { comparison, header } from "./compare.js";
import { gigabytesPerTenant } from "./growth.js";

export const name = "nothing-pending";
export const title = "Nothing pending";

// So many would take a peer a quarter of an hour a run: what it took for fewer is scaled up.
const large = 10_000;

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const count = bench.tenants(300, 1000);
  const ofLarge = await measureLarge(bench);
  const rows = [];
  for (const peer of peers) {
    await bench.migratedFleet(ours, count);
    await bench.migratedFleet(peer, count);
    const migrate = async (/** @type {typeof ours} */ contender) =>
      time(contender.migrate(await bench.migratedFleet(contender, count)));
    const { pair, row } = await comparison(bench, peer, count, migrate);
    rows.push([...row, `**${times((pair.theirs * large) / count / ofLarge)}**`]);
  }
  const notes = [
    `\`migrate\` over a fleet that is current. Medians of ${bench.rounds} pairs.`,
    `The last column: a peer's time times ${large / count} over tenantctl's for ${large.toLocaleString("en")} small tenants, ${duration(ofLarge)}.`,
  ];
  return { title, notes, header: [...header, `at ${large.toLocaleString("en")}`], rows };
}

/** @param {import("../bench.js").Bench} bench */
async function measureLarge(bench) {
  const server = await bench.openServer(large * gigabytesPerTenant);
  bench.say(`making ${large} small tenants`);
  const fleet = await fakeFleet(server, large);
  const milliseconds = await repeat(bench.rounds, () => time(ours.migrate(fleet)));
  fleet.close();
  await bench.closeServer(server);
  return milliseconds;
}
