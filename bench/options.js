// The bench's own command line.
import { parseArgs } from "node:util";

/**
 * @typedef {object} Options
 * @property {number} [tenants] in place of each scenario's own number
 * @property {number} rounds
 * @property {string[]} only names of scenarios; none means all
 * @property {number[]} sizes of the fleets in the growth scenario
 * @property {number} major of the PostgreSQL server to start
 * @property {string} [database] a server that runs already
 * @property {boolean} disk keep the data off the RAM disk
 * @property {string} out where the results go
 */

export const usage = `usage: npm run bench -- [options]

  --only <name>      this scenario only; may be repeated
  --tenants <n>      in place of each scenario's own number of tenants
  --rounds <n>       how often each pair runs (default: 3)
  --sizes <n,n,…>    the fleets of the growth scenario (default: 100,1000,10000,50000)
  --pg <major>       the PostgreSQL to start (default: 18)
  --database <url>   a server that runs already, as its superuser (or TENANTCTL_BENCH_DATABASE)
  --disk             data on the disk, not on the RAM disk
  --out <file>       where the results go (default: bench/RESULTS.md)
`;

/** @param {string[]} argv @param {string} [database] @returns {Options | undefined} */
export function readOptions(argv, database) {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: "string", multiple: true, default: [] },
      tenants: { type: "string" },
      rounds: { type: "string", default: "3" },
      sizes: { type: "string", default: "100,1000,10000,50000" },
      pg: { type: "string", default: "18" },
      database: { type: "string", default: database },
      disk: { type: "boolean", default: false },
      out: { type: "string", default: new URL("RESULTS.md", import.meta.url).pathname },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  return {
    ...(values.tenants === undefined ? {} : { tenants: count(values.tenants) }),
    rounds: count(values.rounds),
    only: values.only,
    sizes: values.sizes.split(",").map(count),
    major: count(values.pg),
    ...(values.database === undefined ? {} : { database: values.database }),
    disk: values.disk,
    out: values.out,
  };
}

/** @param {string} text */
function count(text) {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`not a number of 1 or more: ${text}`);
  return number;
}
