// Registry room: a long list of rows, read in batches, and not at all where it is what it was.

import type { Client } from "../database/database.js";
import { sqlState } from "../database/errors.js";
import type { Listing } from "./contract.js";
import type { Row } from "./rows.js";

// What one answer may cost whoever waits beside us: 500 rows take 1 to 2 ms to decode.
const rowsPerBatch = 500;

/**
 * The rows that a query answers, in the transaction that the client has open; undefined where the known version is that of now.
 *
 * @param select one statement that answers rows.
 */
export async function readListing(
  client: Client,
  select: string,
  known: string | undefined,
): Promise<Listing | undefined> {
  await client.query("savepoint listing");
  const version = await digest(client, select).catch(async (error: unknown) => {
    // What can't be asked as a part of another query, or a cursor's, is asked as it is.
    if (!isRefusal(error)) throw error;
    await client.query("rollback to savepoint listing");
    return undefined;
  });
  if (version !== undefined && version === known) return undefined;
  return version === undefined ? { rows: await whole(client, select), version } : await inBatches(client, select);
}

// The sum does not depend on an order, which a query need not have.
async function digest(client: Client, select: string): Promise<string> {
  const { rows } = await single<{ version: string }>(
    client,
    `select count(*) || ' ' || coalesce(sum(hashtextextended(listed::text, 0)), 0) as version from (\n${select}\n) as listed`,
  );
  return rows[0]?.version ?? "";
}

// The version is that of the rows which were read: they may be others than a moment before.
async function inBatches(client: Client, select: string): Promise<Listing> {
  const hash = `hashtextextended(listed::text, 0)::text as "tenantctl hash"`;
  await single(client, `declare listing no scroll cursor for select listed.*, ${hash} from (\n${select}\n) as listed`);
  const all: Row[] = [];
  let sum = 0n;
  for (;;) {
    const { rows } = await client.query<Row & { "tenantctl hash": string }>(`fetch ${rowsPerBatch} from listing`);
    for (const row of rows) {
      sum += BigInt(row["tenantctl hash"]);
      all.push(row);
    }
    if (rows.length < rowsPerBatch) return { rows: all, version: `${all.length} ${sum}` };
  }
}

async function whole(client: Client, select: string): Promise<Row[]> {
  return (await single<Row & object>(client, select)).rows;
}

// The extended protocol takes one statement, so that none can follow that ends the transaction.
async function single<R extends object>(client: Client, text: string): Promise<{ rows: R[] }> {
  return await client.query<R>({ text, queryMode: "extended" } as { text: string });
}

/** Syntax, or a right or feature that the query lacks in this place: asked as it is, it says so better. */
function isRefusal(error: unknown): boolean {
  return /^(42|0A)/.test(sqlState(error) ?? "");
}
