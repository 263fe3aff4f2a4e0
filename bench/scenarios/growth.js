// How cost grows with the fleet: from 100 tenants to 50,000.
import { tenantctlCommand } from "../contenders/tenantctl.js";
import { fakeFleet } from "../fake.js";
import { checkpoint } from "../fleet.js";
import { repeat, time } from "../measure.js";
import { peakMemory, watchBackends } from "../memory.js";
import { duration, megabytes } from "../results.js";

/** @typedef {import("../bench.js").Bench} Bench */
/** @typedef {import("../fleet.js").Fleet} Fleet */

export const name = "growth";
export const title = "Growth";

const header = [
  "tenants",
  "nothing pending",
  "status",
  "one new migration",
  "a tenant",
  "memory, nothing pending",
  "memory, one new migration",
  "largest backend",
];

// The file of each small table and index, and its part of the catalogs and the write-ahead log.
export const gigabytesPerTenant = 0.00025;

// Beyond this, a new migration takes long and tells nothing new.
const mostToMigrate = 10_000;

/** @param {Bench} bench */
export async function run(bench) {
  const rows = [];
  for (const count of bench.options.sizes) {
    const server = await bench.openServer(count * gigabytesPerTenant);
    bench.say(`making ${count} small tenants`);
    const fleet = await fakeFleet(server, count);
    const row = await measure(bench, fleet);
    bench.say(row.join(", "));
    rows.push(row);
    fleet.close();
    await bench.closeServer(server);
  }
  const notes = [
    "Small tenants: a ledger of 10 rows, its stamp, and one table. The registry is a JSON file of all of them.",
    `Whole processes, medians of ${bench.rounds}. Memory is the peak of the process, and of the largest of its backends with one new migration, without shared buffers.`,
  ];
  return { title, notes, header, rows };
}

/** @param {Bench} bench @param {Fleet} fleet */
async function measure(bench, fleet) {
  const count = fleet.tenants.length;
  const command = (/** @type {string} */ verb) =>
    tenantctlCommand(verb, "--config", fleet.config, "--database", fleet.url);
  const migrate = command("migrate");
  const nothingPending = await repeat(bench.rounds, () => time([migrate]));
  const status = await repeat(bench.rounds, () => time([command("status")]));
  const memory = await peakMemory(migrate);
  const nothing = [count.toLocaleString("en"), duration(nothingPending), duration(status)];
  if (count > mostToMigrate) return [...nothing, "", "", megabytes(memory), "", ""];
  /** @template T @param {() => Promise<T>} run */
  const withNewMigration = async (run) => {
    fleet.addMigration();
    await checkpoint(fleet.url);
    return run();
  };
  const one = await repeat(bench.rounds, () => withNewMigration(() => time([migrate])));
  const { result, backends } = await withNewMigration(() => watchBackends(fleet.url, () => peakMemory(migrate)));
  const peaks = [memory, result, backends.largest].map(megabytes);
  return [...nothing, duration(one), duration(one / count), ...peaks];
}
