// How things are timed: from the start of a process to its end, in pairs that alternate.
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** @typedef {{ file: string, args: string[], env?: NodeJS.ProcessEnv, cwd?: string }} Command */

// Nothing from the caller's environment that a contender might read as its database or its options.
const environment = { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: "1" };

const log = join(tmpdir(), `tenantctl-bench-${process.pid}.log`);
process.on("exit", () => rmSync(log, { force: true }));

/**
 * Runs commands side by side, their output in a file.
 * @param {Command[]} commands
 * @returns {Promise<number>} milliseconds from the first start to the last end
 */
export async function time(commands) {
  const output = openSync(log, "w");
  try {
    const started = performance.now();
    await Promise.all(commands.map((command) => run(command, output)));
    return performance.now() - started;
  } finally {
    closeSync(output);
  }
}

/** @param {Command} command @param {number} output */
function run({ file, args, env = {}, cwd }, output) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, env: { ...environment, ...env }, stdio: ["ignore", output, output] });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(undefined);
      else reject(new Error(`${file} ${args.join(" ")}: exit code ${code}\n${readFileSync(log, "utf8").slice(-2000)}`));
    });
  });
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (/** @type {number} */ index) => sorted[index] ?? Number.NaN;
  return sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2;
}

/**
 * @param {number} rounds @param {() => Promise<number>} run
 * @returns {Promise<number>} the median of what it says
 */
export async function repeat(rounds, run) {
  const values = [];
  for (let round = 0; round < rounds; round++) values.push(await run());
  return median(values);
}

/** @typedef {{ ours: number, theirs: number, ratio: number }} Pair medians of milliseconds; ratio: of theirs over ours, pair by pair */

/**
 * Runs two things in turn, the other one first each second time.
 * @param {number} rounds
 * @param {() => Promise<number>} runOurs
 * @param {() => Promise<number>} runTheirs
 * @returns {Promise<Pair>}
 */
export async function alternate(rounds, runOurs, runTheirs) {
  /** @type {{ ours: number, theirs: number }[]} */
  const pairs = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) {
      const ours = await runOurs();
      pairs.push({ ours, theirs: await runTheirs() });
    } else {
      const theirs = await runTheirs();
      pairs.push({ ours: await runOurs(), theirs });
    }
  }
  return {
    ours: median(pairs.map((pair) => pair.ours)),
    theirs: median(pairs.map((pair) => pair.theirs)),
    ratio: median(pairs.map((pair) => pair.theirs / pair.ours)),
  };
}
