// The runtime room: one transaction on a connection of the current tenant.

import { isBusy } from "../database/checkout.js";
import type { Pool, PoolClient } from "../database/follow.js";
import { holding } from "../database/held.js";
import { TenantctlError } from "../errors.js";

export interface TransactionOptions {
  /** Default: the server's own, read committed as a rule. */
  isolation?: "read committed" | "repeatable read" | "serializable";
  readOnly?: boolean;
  /** With serializable and readOnly: waits until it can't fail. */
  deferrable?: boolean;
}

const levels = ["read committed", "repeatable read", "serializable"];

export async function inTransaction<T>(
  pool: Pool,
  fn: (client: PoolClient) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const begin = beginText(options);
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query(begin);
    const result = await holding(pool, () => fn(client));
    const { command } = await client.query("commit");
    if (command !== "COMMIT") throw broken();
    return result;
  } catch (error) {
    // Where this fails too, or could not even be sent, the connection goes, and the transaction with it.
    if (isBusy(client)) failure = asError(error);
    else if (client.getTransactionStatus() !== "I")
      failure = await client.query("rollback").then(() => undefined, asError);
    throw error;
  } finally {
    client.release(failure);
  }
}

function beginText({ isolation, readOnly, deferrable }: TransactionOptions): string {
  if (isolation !== undefined && !levels.includes(isolation))
    throw new TenantctlError("USAGE", "isolation is none that PostgreSQL has", { hint: levels.join(", ") });
  const modes = [
    isolation === undefined ? "" : ` isolation level ${isolation}`,
    readOnly === undefined ? "" : readOnly ? " read only" : " read write",
    deferrable === undefined ? "" : deferrable ? " deferrable" : " not deferrable",
  ];
  return `begin${modes.join("")}`;
}

function broken(): TenantctlError {
  return new TenantctlError("TRANSACTION_BROKEN", "a statement of the transaction failed, so it was rolled back", {
    hint: "let its error through, or take a savepoint before it",
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
