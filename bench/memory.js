// How much memory a run takes: of the process by its own account, of its backends by sampling /proc.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withClient } from "./fleet.js";
import { time } from "./measure.js";

/** @typedef {import("./measure.js").Command} Command */

const preload = new URL("report-memory.js", import.meta.url).href;

/** @param {Command} command one that starts Node @returns {Promise<number>} bytes: the peak of its resident memory */
export async function peakMemory({ file, args }) {
  const folder = mkdtempSync(join(tmpdir(), "tenantctl-bench-memory-"));
  const report = join(folder, "peak");
  try {
    await time([{ file, args: ["--import", preload, ...args], env: { BENCH_MEMORY_REPORT: report } }]);
    return Number(readFileSync(report, "utf8"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @typedef {{ largest: number, sum: number }} Backends bytes: the peak of the largest, and of all together */

/**
 * Samples the memory that the backends of a database have for themselves (RssAnon: without shared buffers) while something runs.
 * @template T
 * @param {string} url @param {() => Promise<T>} work
 * @returns {Promise<{ result: T, backends: Backends }>}
 */
export async function watchBackends(url, work) {
  const backends = { largest: 0, sum: 0 };
  let running = true;
  const watching = withClient(url, async (client) => {
    while (running) {
      const { rows } = await client.query(
        "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'",
      );
      const sizes = rows.map(({ pid }) => anonymousMemory(pid));
      backends.largest = Math.max(backends.largest, ...sizes);
      backends.sum = Math.max(
        backends.sum,
        sizes.reduce((a, b) => a + b, 0),
      );
      await sleep(100);
    }
  });
  try {
    return { result: await work(), backends };
  } finally {
    running = false;
    await watching;
  }
}

/** @param {number} pid */
function anonymousMemory(pid) {
  try {
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it ended between the query and now
  }
}
