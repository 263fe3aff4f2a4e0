// The database room: the schema `tenantctl`, where we keep what is ours, and the tables in it.

import type { Client } from "./database.js";
import { schemaExists } from "./schemas.js";
import { lockKey } from "./transaction.js";

/** Whether one of our tables is there. */
export async function ownTableExists(client: Client, table: string): Promise<boolean> {
  const { rows } = await client.query<{ found: boolean }>("select to_regclass($1) is not null as found", [
    `tenantctl.${table}`,
  ]);
  return rows[0]?.found === true;
}

/**
 * Makes tables of ours in the transaction that is open, unless the last one of them is there: two that both find nothing do it one after the
 * other.
 *
 * @param texts create what is missing; each is right to repeat.
 */
export async function ensureOwnTables(client: Client, last: string, texts: readonly string[]): Promise<void> {
  if (await ownTableExists(client, last)) return;
  await client.query(`select pg_advisory_xact_lock(${lockKey("tenantctl")})`);
  // No tenant's schema: where each new schema is given to a node, this one stays. To other servers it is an unknown word.
  await client.query("set local citus.enable_schema_based_sharding to off");
  if (!(await schemaExists(client, "tenantctl"))) {
    await client.query("create schema tenantctl");
    await client.query("comment on schema tenantctl is 'the runs of tenantctl'");
  }
  // One by one: some servers want an index and a foreign key to travel alone.
  for (const text of texts) await client.query(text);
}
