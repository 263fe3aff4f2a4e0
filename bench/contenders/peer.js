// A peer's contender: a process that loads this one peer and works through a job.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { peersWithStatus } from "../peers/job.js";

/** @typedef {import("../fleet.js").Fleet} Fleet */

const runner = new URL("../peers/run.js", import.meta.url).pathname;

/**
 * @param {string} tool the file in peers/
 * @param {string} name
 * @param {number} concurrency
 * @returns {import("./contender.js").Contender}
 */
export function peer(tool, name, concurrency) {
  /** @param {"migrate" | "status"} action @param {Fleet} fleet @param {string[]} tenants */
  function commands(action, fleet, tenants) {
    const { url, folder, migrations } = fleet;
    const job = join(folder, `${tool}.job.json`);
    writeFileSync(job, JSON.stringify({ url, migrations, tenants, concurrency }));
    return [{ file: process.execPath, args: [runner, tool, action, job] }];
  }
  return {
    name,
    tool,
    migrate: (fleet) => commands("migrate", fleet, fleet.tenants),
    ...(peersWithStatus.includes(tool) ? { status: (fleet) => commands("status", fleet, fleet.tenants) } : {}),
    create: (fleet, tenant) => commands("migrate", fleet, [tenant]),
  };
}
