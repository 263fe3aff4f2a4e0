// The database room: which connections the very code that asks for one more holds already.

import { AsyncLocalStorage } from "node:async_hooks";
import type pg from "pg";

interface Held {
  pool: pg.Pool;
  /** It was not given back yet. */
  open: boolean;
  /** What held another one when it took this. */
  within: Held | undefined;
}

const current = new AsyncLocalStorage<Held>();

/** Runs `fn`, all of whose code waits while it holds one connection of the pool more. */
export async function holding<T>(pool: pg.Pool, fn: () => Promise<T>): Promise<T> {
  const held: Held = { pool, open: true, within: current.getStore() };
  try {
    return await current.run(held, fn);
  } finally {
    held.open = false;
  }
}

/** How many connections of the pool whoever asks holds. */
export function heldHere(pool: pg.Pool): number {
  let count = 0;
  for (let held = current.getStore(); held !== undefined; held = held.within) {
    if (held.open && held.pool === pool) count++;
  }
  return count;
}
