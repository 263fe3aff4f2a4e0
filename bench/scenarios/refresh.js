// What it costs an application to follow its registry: a reading in which nothing has changed, one with a new tenant, and the longest time for
// which nothing else gets its turn.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTenancy } from "../../dist/runtime/index.js";
import { withClient } from "../fleet.js";
import { median } from "../measure.js";

export const name = "refresh";
export const title = "Following the registry";

const header = ["registry", "tenants", "nothing new: CPU", "longest piece", "one new tenant: CPU", "longest piece"];
const sizes = [10_000, 50_000];
const readings = 15;

/** @typedef {import("../../dist/runtime/index.js").Tenancy} Tenancy */
/** @typedef {{ tenants: unknown, add(): Promise<string> }} Source */

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const server = await bench.openServer(0.1);
  const folder = mkdtempSync(join(tmpdir(), "tenantctl-bench-refresh-"));
  const rows = [];
  try {
    for (const size of bench.options.tenants === undefined ? sizes : [bench.options.tenants]) {
      await withClient(server.url, async (client) => {
        await client.query("drop table if exists tenants");
        await client.query(
          "create table tenants (name text primary key, schema text, hosts text[], labels jsonb, state text)",
        );
        await client.query(
          `insert into tenants select 't' || n, 't' || n, array['t' || n || '.polls.local'], '{"plan": "free"}', 'active' from generate_series(1, $1) n`,
          [size],
        );
      });
      for (const [what, source] of Object.entries(sourcesOf(server.url, join(folder, "tenants.config.json"), size))) {
        const row = [what, size.toLocaleString("en"), ...(await measure(server.url, folder, source))];
        bench.say(row.join(", "));
        rows.push(row);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await bench.closeServer(server);
  }
  const notes = [
    `Medians of ${readings} readings: the CPU time of the application's process, all threads, and the longest time between two turns of its event loop, of`,
    "which about 1 ms is the timer's own.",
  ];
  return { title, notes, header, rows };
}

/** @param {string} url @param {string} file @param {number} size @returns {Record<string, Source>} */
function sourcesOf(url, file, size) {
  let added = 0;
  const nextName = () => `new${++added}`;
  const insert = () =>
    withClient(url, async (client) => {
      const name = nextName();
      await client.query("insert into tenants (name) values ($1)", [name]);
      return name;
    });
  /** @type {Record<string, object>} */
  const entries = {};
  for (let n = 1; n <= size; n++) entries[`t${n}`] = { hosts: [`t${n}.polls.local`], labels: { plan: "free" } };
  return {
    table: { tenants: { table: "public.tenants" }, add: insert },
    query: { tenants: { query: "select * from public.tenants;" }, add: insert },
    file: {
      tenants: entries,
      async add() {
        const name = nextName();
        entries[name] = {};
        writeFileSync(`${file}.new`, JSON.stringify({ tenants: entries }));
        renameSync(`${file}.new`, file);
        return name;
      },
    },
  };
}

/** @param {string} url @param {string} folder @param {Source} source */
async function measure(url, folder, source) {
  const file = join(folder, "tenants.config.json");
  writeFileSync(file, JSON.stringify({ tenants: source.tenants }));
  await new Promise((resolve) => setTimeout(resolve, 2_100)); // a file that was just written is read again
  const options = {
    config: { config: file, database: url, env: {} },
    refreshMs: 600_000,
    missMs: 0,
    maxConnections: 1,
  };
  const tenancy = await createTenancy(options);
  try {
    for (let at = 0; at < 3; at++) await tenancy.findHost(`x${at}.polls.local`);
    const same = await readAgain(tenancy, async () => `x.polls.local`);
    const more = await readAgain(tenancy, source.add);
    return [...same, ...more];
  } finally {
    await tenancy.close();
  }
}

/** @param {Tenancy} tenancy @param {() => Promise<string>} prepare says what is looked for then: a host, or a tenant's name */
async function readAgain(tenancy, prepare) {
  /** @type {number[]} */
  const cpus = [];
  /** @type {number[]} */
  const pieces = [];
  for (let at = 0; at < readings * 2; at++) {
    const wanted = await prepare();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const probe = at % 2 === 0 ? startProbe() : undefined; // it takes time itself
    const before = process.cpuUsage();
    if (wanted.includes(".")) await tenancy.findHost(wanted);
    else await tenancy.withTenant(wanted, () => {});
    const { user, system } = process.cpuUsage(before);
    if (probe === undefined) cpus.push((user + system) / 1000);
    else pieces.push(probe());
  }
  return [cpus, pieces].map((values) => `${median(values).toFixed(1)} ms`);
}

/** The longest time between two turns of the event loop. */
function startProbe() {
  let last = performance.now();
  let longest = 0;
  let going = true;
  const turn = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (going) setTimeout(turn, 0);
  };
  turn();
  return () => {
    going = false;
    return Math.max(longest, performance.now() - last);
  };
}
