// Large fleets, made small: one tenant is migrated by tenantctl, the others get a copy of its ledger, its stamp and one table.
import { tenantctlCommand } from "./contenders/tenantctl.js";
import { Fleet, tenantNames, vacuumCatalogs, withClient } from "./fleet.js";
import { time } from "./measure.js";

/** @typedef {import("./server.js").Server} Server */

const ledger = "tenantctl_migrations";

// Below what one transaction may hold of the server's locks.
const schemasPerTransaction = 100;
const connections = 4;

/** @param {Server} server @param {number} count @returns {Promise<Fleet>} */
export async function fakeFleet(server, count) {
  const fleet = await Fleet.create(server, tenantNames(count));
  const [model = "", ...copies] = fleet.tenants;
  await time([tenantctlCommand("migrate", model, "--config", fleet.config, "--database", fleet.url)]);
  const stamp = await readStamp(fleet.url, model);
  const batches = Array.from({ length: Math.ceil(copies.length / schemasPerTransaction) }, (_, batch) =>
    copies.slice(batch * schemasPerTransaction, (batch + 1) * schemasPerTransaction),
  ).values();
  const work = () =>
    withClient(fleet.url, async (client) => {
      for (const batch of batches) await client.query(batch.map((copy) => copyText(model, copy, stamp)).join(""));
    });
  await Promise.all(Array.from({ length: connections }, work));
  await vacuumCatalogs(fleet.url);
  fleet.applied = fleet.all().length;
  return fleet;
}

/**
 * The stamp without its place, which is each schema's own.
 * @param {string} url @param {string} schema @returns {Promise<string>}
 */
async function readStamp(url, schema) {
  return withClient(url, async (client) => {
    const { rows } = await client.query("select obj_description($1::regclass, 'pg_class') as stamp", [
      `${schema}.${ledger}`,
    ]);
    return rows[0].stamp.replace(/ in \d+ .*$/, "");
  });
}

/** @param {string} model @param {string} copy @param {string} stamp */
const copyText = (model, copy, stamp) => `
create schema ${copy};
create table ${copy}.${ledger} (like ${model}.${ledger} including defaults including indexes);
insert into ${copy}.${ledger} select * from ${model}.${ledger};
do $$ begin execute format('comment on table ${copy}.${ledger} is %L', '${stamp} in ' || '${copy}'::regnamespace::oid || ' ${copy}'); end $$;
create table ${copy}.customers (like ${model}.customers including identity including indexes);`;
