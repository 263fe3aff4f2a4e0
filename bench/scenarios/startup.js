// What it costs to start at all: help and version over a Node that does nothing.
import { tenantctlCommand } from "../contenders/tenantctl.js";
import { alternate, time } from "../measure.js";
import { duration, times } from "../results.js";

export const name = "startup";
export const title = "Start";

const header = ["command", "its time", "`node -e 0`", "ratio"];
const pairsPerRound = 10;

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const rounds = bench.rounds * pairsPerRound;
  const rows = [];
  for (const flag of ["--version", "--help"]) {
    const pair = await alternate(
      rounds,
      () => time([{ file: process.execPath, args: ["-e", "0"] }]),
      () => time([tenantctlCommand(flag)]),
    );
    rows.push([`tenantctl ${flag}`, duration(pair.theirs), duration(pair.ours), `**${times(pair.ratio)}**`]);
  }
  return { title, notes: [`Medians of ${rounds} pairs.`], header, rows };
}
