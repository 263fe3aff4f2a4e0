// The database room: the next connection of a pool that may be used, or a clear error where none comes.

import type pg from "pg";
import { TenantctlError } from "../errors.js";
import type { Connection } from "./connection.js";
import { makeQuery } from "./envelope.js";
import { nobody } from "./nobody.js";
import { Patience, Wanted } from "./patience.js";

/** What taking a connection needs to know. */
export interface Taking {
  inner: pg.Pool;
  owned: boolean;
  /** 0 waits for ever. */
  acquireTimeoutMs: number;
  /** What we know of a client of the pool. */
  known(client: pg.PoolClient): Connection;
  /** What comes before a connection's first use, where there is anything. */
  prepare(connection: Connection): Promise<void> | undefined;
  /** How many connections whoever asks holds already. */
  heldHere(): number;
}

/** Gives one connection, or says why there is none; exactly one of the two is called. */
export type Take = (resolve: (connection: Connection) => void, reject: (error: unknown) => void) => void;

/** Makes the function that takes connections. It may call back in anybody's context. */
export function taker({ inner, owned, acquireTimeoutMs, known, prepare, heldHere }: Taking): Take {
  const patience = new Patience(acquireTimeoutMs, () => tookTooLong(inner, acquireTimeoutMs));
  const connect = (callback: (error: unknown, client?: pg.PoolClient) => void) => inner.connect(callback);

  function settle(wanted: Wanted, error: unknown, connection?: Connection): void {
    if (!wanted.done) {
      wanted.done = true;
      patience.end(wanted);
      if (connection === undefined) wanted.refuse(error);
      else wanted.give(connection);
    } else connection?.client.release();
  }

  function got(wanted: Wanted, error: unknown, client?: pg.PoolClient): void {
    if (client === undefined) settle(wanted, error);
    else {
      try {
        const connection = known(client);
        // A new one is handed out before pg has noted what its server said.
        if (connection.link.status === null) process.nextTick(findStatus, wanted, connection);
        else check(wanted, connection);
      } catch (failure) {
        client.release(true);
        settle(wanted, failure);
      }
    }
  }

  // A pg before 8.21 does not keep what its server said before we listened.
  function findStatus(wanted: Wanted, connection: Connection): void {
    const { client, link, send } = connection;
    const found = (error?: unknown) => {
      if (!error) return check(wanted, connection);
      client.release(true);
      settle(wanted, error);
    };
    if (link.status !== null) found();
    else send(makeQuery(client, "", undefined, found));
  }

  function check(wanted: Wanted, connection: Connection): void {
    if (!connection.link.usable) {
      connection.client.release(true); // somebody left a transaction open
      takeNext(wanted);
    } else if (connection.fresh) void makeReady(wanted, connection);
    else settle(wanted, undefined, connection);
  }

  async function makeReady(wanted: Wanted, connection: Connection): Promise<void> {
    connection.fresh = false;
    try {
      await prepare(connection);
    } catch (error) {
      connection.client.release(true);
      settle(wanted, error);
      return;
    }
    settle(wanted, undefined, connection);
  }

  function takeNext(wanted: Wanted): void {
    const callback = (error: unknown, client?: pg.PoolClient) => got(wanted, error, client);
    // A pool that was given opens its connections in the name of whoever asks; our own sees to it when it connects.
    if (owned) connect(callback);
    else nobody.runInAsyncScope(connect, undefined, callback);
  }

  return (resolve, reject) => {
    if (heldHere() >= inner.options.max) reject(holdsAll(inner.options.max));
    else {
      const wanted = new Wanted(resolve, reject);
      if (!hasRoom(inner)) patience.begin(wanted);
      takeNext(wanted);
    }
  };
}

// Then nothing is waited for but the network, which has timeouts of its own.
function hasRoom({ idleCount, waitingCount, totalCount, options }: pg.Pool): boolean {
  return idleCount > waitingCount || totalCount < options.max;
}

function holdsAll(most: number): TenantctlError {
  const all = most === 1 ? "the pool's only connection" : `all ${most} connections of the pool`;
  return new TenantctlError("POOL_EXHAUSTED", `this code holds ${all} and asks for one more, which would never come`, {
    hint: "use the transaction's own client: transaction(async (client) => client.query(…)); or raise maxConnections",
  });
}

function tookTooLong({ options: { max }, waitingCount }: pg.Pool, ms: number): TenantctlError {
  return new TenantctlError(
    "POOL_EXHAUSTED",
    `no connection became free within ${ms} ms: all ${max} are in use, and ${waitingCount} calls wait`,
    {
      hint: "release what was checked out, shorten transactions, or raise maxConnections; acquireTimeoutMs says how long to wait",
    },
  );
}
