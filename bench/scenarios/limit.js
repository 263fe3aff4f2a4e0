// The same migrations against what the server can do at all: psql with everything in files beforehand.
import { gigabytesPerTenant } from "../bench.js";
import { ours, psqlVersion, rawLimit, tenantctl } from "../contenders/contender.js";
import { duration } from "../results.js";
import { comparisonRow, header } from "./compare.js";
import { migrateNewFleet } from "./full.js";

/** @typedef {import("../bench.js").Bench} Bench */
/** @typedef {import("../contenders/contender.js").Contender} Contender */

export const name = "limit";
export const title = "Ten migrations over a new fleet, against psql";

const defaultConcurrency = 4;

/** @param {Bench} bench */
export async function run(bench) {
  const count = bench.tenants(600);
  if (psqlVersion === undefined) return { title, notes: ["Left out: no psql on this machine."], header, rows: [] };
  const [psql, ofOurs] = [await sweep(bench, count, rawLimit), await sweep(bench, count, (n) => [tenantctl(n)])];
  const best = psql.reduce((a, b) => (b.milliseconds < a.milliseconds ? b : a)).atOnce;
  const pairs = [
    { streams: defaultConcurrency, base: ours },
    ...(best === defaultConcurrency
      ? []
      : [
          { streams: best, base: ours },
          { streams: best, base: tenantctl(best) },
        ]),
  ];
  const rows = [];
  for (const { streams, base } of pairs) {
    for (const peer of rawLimit(streams)) {
      const server = await bench.openServer(count * 2 * bench.rounds * gigabytesPerTenant);
      const migrate = (/** @type {Contender} */ contender) => migrateNewFleet(server, contender, count);
      const [, ...cells] = await comparisonRow(bench, peer, count, migrate, base);
      const label = base === ours ? peer.name : `${peer.name}, and ${base.name}`;
      rows.push([streams === best ? `${label} (its best)` : label, ...cells]);
      await bench.closeServer(server);
    }
  }
  const notes = [
    "The same statements and ledger rows, a transaction a tenant, written to a file a stream beforehand: the raw limit; 1.00 × would be no cost at all, and below it is what tenantctl costs.",
    `Once with each number at once: psql ${psqlVersion} ${list(psql)}; tenantctl ${list(ofOurs)}.`,
    `Medians of ${bench.rounds} pairs, a new database each.`,
  ];
  return { title, notes, header, rows };
}

/** @typedef {{ atOnce: number, milliseconds: number }} Swept */

/** @param {Swept[]} swept */
const list = (swept) => swept.map(({ atOnce, milliseconds }) => `${atOnce}: ${duration(milliseconds)}`).join(", ");

/** @param {Bench} bench @param {number} count @param {(atOnce: number) => Contender[]} contenders */
async function sweep(bench, count, contenders) {
  /** @type {Swept[]} */
  const swept = [];
  const server = await bench.openServer(count * 5 * gigabytesPerTenant);
  for (const atOnce of [1, 2, 4, 8, 16]) {
    for (const contender of contenders(atOnce)) {
      const milliseconds = await migrateNewFleet(server, contender, count);
      bench.say(`${contender.name}: ${duration(milliseconds)}`);
      swept.push({ atOnce, milliseconds });
    }
  }
  await bench.closeServer(server);
  return swept;
}
