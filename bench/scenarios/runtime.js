// What following the current tenant costs an application, over a pool that knows no tenants.
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { createTenancy } from "../../dist/runtime/index.js";
import { Fleet, tenantNames, withClient } from "../fleet.js";
import { alternate, median } from "../measure.js";
import { pgbouncerVersion, startPgbouncer } from "../pgbouncer.js";
import { times } from "../results.js";

export const name = "runtime";
export const title = "In the application";

/** @typedef {import("../bench.js").Bench} Bench */
/** @typedef {import("../../dist/runtime/index.js").Tenancy} Tenancy */
/** @typedef {(id: number) => Promise<unknown>} Call */
/** @typedef {{ items: { id: number, name: string } }} Tables */

const header = ["call", "tenant", "through", "plain, a second", "tenancy, a second", "tenancy over plain"];
const connections = 5;
const callers = 20;
const callsPerRun = 4000;
const callsPerTenant = 1000; // where it is the same one for long
const callsPerRequest = 20; // within one withTenant
const pairsPerRound = 5;
const items = 1000;

/** @param {Bench} bench */
export async function run(bench) {
  const count = bench.tenants(50, 1000);
  const server = await bench.openServer(0.2);
  const fleet = await Fleet.create(server, tenantNames(count));
  await fill(fleet);
  const rows = await measureThrough(bench, fleet, "no pooler", fleet.url);
  if (pgbouncerVersion !== undefined) {
    const pooler = await startPgbouncer(fleet.url, connections);
    try {
      rows.push(...(await measureThrough(bench, fleet, `pgbouncer ${pgbouncerVersion}`, pooler.url)));
    } finally {
      await pooler.stop();
    }
  }
  const resolving = await resolvingNotes(fleet);
  bench.say(resolving);
  fleet.close();
  await bench.closeServer(server);
  const notes = [
    `One row by its primary key, ${callers} callers on a pool of ${connections}, ${count} tenants: a random one for each call, or the same one for`,
    `${callsPerTenant} calls; \`withTenant\` is entered for each call, or once for ${callsPerRequest}. Plain: the same pg, Kysely and pool, with a search_path that is fixed. Medians of ${bench.rounds * pairsPerRound} pairs of ${callsPerRun} calls.`,
    resolving,
    ...(pgbouncerVersion === undefined ? ["Behind pgbouncer: skipped, it is not installed."] : []),
  ];
  return { title, notes, header, rows };
}

/** The first tenant is where the plain pool is. @param {Fleet} fleet */
async function fill({ url, tenants }) {
  const texts = tenants.map(
    (tenant) => `create schema ${tenant}; create table ${tenant}.items (id int primary key, name text not null);
      insert into ${tenant}.items select n, '${tenant} ' || n from generate_series(1, ${items}) n;`,
  );
  const database = new URL(url).pathname.slice(1);
  await withClient(url, async (client) => {
    for (const text of texts) await client.query(text);
    await client.query(`alter database ${database} set search_path = ${tenants[0]}`);
    await client.query("vacuum analyze");
  });
}

/** @param {Bench} bench @param {Fleet} fleet @param {string} through @param {string} url */
async function measureThrough(bench, fleet, through, url) {
  const plain = new pg.Pool({ connectionString: url, max: connections });
  const tenancy = await createTenancy({ config: fleet.config, database: url, maxConnections: connections });
  const rows = [];
  for (const [call, make] of Object.entries(calls)) {
    const theirs = make(plain);
    const ours = make(tenancy.pool);
    for (const [tenant, { choose, perRequest }] of Object.entries(choices)) {
      const runOurs = () => {
        const nameAt = choose(fleet.tenants);
        return timeCalls(ours, perRequest, (index, request) => tenancy.withTenant(nameAt(index), request));
      };
      const runTheirs = () => timeCalls(theirs, perRequest, (_, request) => request());
      await runOurs();
      await runTheirs();
      const pair = await alternate(bench.rounds * pairsPerRound, runOurs, runTheirs);
      const rate = (/** @type {number} */ ms) => Math.round((callsPerRun / ms) * 1000).toLocaleString("en");
      const row = [call, tenant, through, rate(pair.theirs), rate(pair.ours), `**${times(pair.ratio)}**`];
      bench.say(row.join(", "));
      rows.push(row);
    }
  }
  await tenancy.close();
  await plain.end();
  return rows;
}

/** @type {Record<string, (pool: pg.Pool) => Call>} */
const calls = {
  query: (pool) => (id) => pool.query("select name from items where id = $1", [id]),
  Kysely: (pool) => {
    /** @type {Kysely<Tables>} */
    const db = new Kysely({ dialect: new PostgresDialect({ pool }) });
    return (id) => db.selectFrom("items").select("name").where("id", "=", id).executeTakeFirst();
  },
};

/** @typedef {(tenants: string[]) => (index: number) => string} Choose whose a call is */

/** @type {Choose} */
const theSame = (tenants) => {
  const offset = Math.floor(Math.random() * tenants.length);
  return (index) => at(tenants, offset + Math.floor(index / callsPerTenant));
};
/** @type {Choose} */
const random = (tenants) => () => at(tenants, Math.floor(Math.random() * tenants.length));

/** @type {Record<string, { choose: Choose, perRequest: number }>} */
const choices = {
  "the same": { choose: theSame, perRequest: 1 },
  [`the same, ${callsPerRequest} calls a request`]: { choose: theSame, perRequest: callsPerRequest },
  random: { choose: random, perRequest: 1 },
};

/** @template T @param {T[]} list @param {number} index */
const at = (list, index) => /** @type {T} */ (list[index % list.length]);

/**
 * @param {Call} call
 * @param {number} perRequest how many calls are made at each entry
 * @param {(index: number, request: () => Promise<unknown>) => Promise<unknown>} enter
 */
async function timeCalls(call, perRequest, enter) {
  let next = 0;
  const callAt = (/** @type {number} */ index) => call(1 + (index % items));
  const requestAt = async (/** @type {number} */ first) => {
    for (let index = first; index < first + perRequest; index++) await callAt(index);
  };
  const makeRequest = perRequest === 1 ? callAt : requestAt;
  const caller = async () => {
    for (let first = next; first < callsPerRun; first = next) {
      next += perRequest;
      await enter(first, () => makeRequest(first));
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: callers }, caller));
  return performance.now() - started;
}

/** @param {Fleet} fleet */
async function resolvingNotes({ tenants, url }) {
  const state = /** @type {const} */ ("active");
  const registry = {
    tenants: async () =>
      tenants.map((name) => ({ name, schema: name, hosts: [`${name}.polls.local`], labels: {}, state })),
  };
  const tenancy = await createTenancy({ registry, database: url });
  try {
    const hosts = tenants.map((tenant) => `${tenant}.polls.local`);
    const costs = {
      "as it is listed": hosts,
      "with a port": hosts.map((host) => `${host}:8080`),
      unknown: hosts.map((host) => `x${host}`),
    };
    const parts = Object.entries(costs).map(([what, list]) => `${Math.round(resolveCost(tenancy, list))} ns ${what}`);
    return `\`resolveHost\` takes ${parts.join(", ")}.`;
  } finally {
    await tenancy.close();
  }
}

/** Nanoseconds a call. @param {Tenancy} tenancy @param {string[]} hosts */
function resolveCost(tenancy, hosts) {
  const repeats = 200_000;
  const costs = Array.from({ length: 11 }, () => {
    const started = process.hrtime.bigint();
    let found = 0;
    for (let index = 0; index < repeats; index++) if (tenancy.resolveHost(at(hosts, index))) found++;
    if (found !== 0 && found !== repeats) throw new Error("the hosts are not all known, or all unknown");
    return Number(process.hrtime.bigint() - started) / repeats;
  });
  return median(costs);
}
