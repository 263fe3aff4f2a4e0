// How much memory a full run takes, here and in the server, where backends that are never replaced keep growing.
import { gigabytesPerTenant } from "../bench.js";
import { ours, rawLimit, tenantctl } from "../contenders/contender.js";
import { Fleet, tenantNames } from "../fleet.js";
import { time } from "../measure.js";
import { peakMemory, watchBackends } from "../memory.js";
import { megabytes } from "../results.js";

/** @typedef {import("../contenders/contender.js").Contender} Contender */
/** @typedef {import("../measure.js").Command} Command */

export const name = "memory";
export const title = "Memory";

const header = ["run", "tenants", "process, peak", "largest backend, peak", "all backends, peak"];

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const count = bench.tenants(2000);
  const rows = [];
  for (const contender of [ours, ...rawLimit(4), tenantctl(1), ...rawLimit(1)]) {
    const server = await bench.openServer(count * gigabytesPerTenant);
    const fleet = await Fleet.create(server, tenantNames(count));
    const commands = contender.migrate(fleet);
    const { result, backends } = await watchBackends(fleet.url, () => perform(contender, commands));
    await fleet.verify();
    fleet.close();
    const inServer = server.own ? [megabytes(backends.largest), megabytes(backends.sum)] : ["", ""];
    const row = [contender.name, String(count), result === undefined ? "" : megabytes(result), ...inServer];
    bench.say(row.join(", "));
    rows.push(row);
    await bench.closeServer(server);
  }
  const notes = [
    "Ten migrations over a new fleet. Backends: what each has for itself, without shared buffers, sampled ten times a second.",
    "tenantctl replaces a connection after 200 tenants; psql, for comparison, keeps each to the end.",
  ];
  return { title, notes, header, rows };
}

/** @param {Contender} contender @param {Command[]} commands */
async function perform(contender, commands) {
  const [command] = commands;
  if (contender.tool === "tenantctl" && command !== undefined) return peakMemory(command);
  await time(commands);
}
