// The database room: a connection beside the pool, which sees what others see while transactions of ours are open.

import type pg from "pg";

/**
 * Answers questions about the catalog, one at a time, however many transactions wait for an answer. It is none of the pool's connections:
 * those may all be at work, each of them waiting for it.
 */
export interface Onlooker {
  /** @throws whatever the server says; or an error when no answer comes: it never waits for long. */
  ask<Row extends object>(text: string): Promise<Row[]>;
  close(): Promise<void>;
}

// A lock that somebody holds on the catalog itself may be our own transaction's, which waits for the answer.
const lockTimeoutMs = 2_000;
const answerTimeoutMs = 20_000;

/** An onlooker on a pool of its own with one connection. */
export function onlookerOn(pool: pg.Pool): Onlooker {
  return {
    async ask<Row extends object>(text: string) {
      const before = `set lock_timeout = ${lockTimeoutMs}; set jit = off`;
      const question = { text: `${before}; ${text}`, query_timeout: answerTimeoutMs };
      const results = (await pool.query(question)) as unknown as pg.QueryResult<Row>[];
      return results.at(-1)?.rows ?? [];
    },
    close: () => pool.end(),
  };
}
