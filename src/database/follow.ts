// The database room: a pool that looks like pg's and whose every statement is for a scope: that of whoever asks.

import { AsyncResource } from "node:async_hooks";
import type pg from "pg";
import type { DatabaseSettings } from "../config/connection.js";
import { TenantctlError } from "../errors.js";
import { taker } from "./acquire.js";
import { checkedOut, sendOne, type Turn, throwFromCaller } from "./checkout.js";
import { type Connection, connectionOf, release } from "./connection.js";
import { keepsSessions, openConnections } from "./database.js";
import { isSubmittable } from "./envelope.js";
import { connectError } from "./errors.js";
import type { PoolMode, Scope } from "./guard.js";
import { heldHere } from "./held.js";
import { nobody } from "./nobody.js";
import { overlay } from "./overlay.js";
import { poolListeners } from "./setup.js";

export type Pool = pg.Pool;
export type PoolClient = pg.PoolClient;
export type Client = pg.Client;

export interface FollowingPool {
  /** Looks like the pool that it stands on. */
  pool: Pool;
  mode: PoolMode;
  /** The database's own name: a pooler may call it otherwise. */
  databaseName(): Promise<string>;
  close(): Promise<void>;
}

export interface FollowOptions {
  mode: PoolMode;
  /** Nobody else uses the pool, and it is ended with ours. */
  owned: boolean;
  /** How long a connection is waited for; 0 waits for ever. */
  acquireTimeoutMs: number;
}

export interface OwnPoolOptions {
  /** Default: asked of the database. */
  mode?: PoolMode | undefined;
  maxConnections: number;
  acquireTimeoutMs: number;
  /** When a connection that nobody needs is closed; 0 keeps it. */
  idleTimeoutMs: number;
}

/**
 * Opens a pool of our own. Without a mode it asks whether connections are sessions. In session mode they begin with an empty
 * search_path.
 *
 * @throws TenantctlError DATABASE_UNREACHABLE, DATABASE_REFUSED or DATABASE_LOCKED.
 */
export async function openFollowing(
  settings: DatabaseSettings,
  turn: Turn,
  { maxConnections, acquireTimeoutMs, idleTimeoutMs, ...asked }: OwnPoolOptions,
): Promise<FollowingPool> {
  const mode = asked.mode ?? (await modeOf(settings));
  const { pool, closeServer } = await openConnections(settings, maxConnections, {
    startup: mode === "session" ? "-c search_path=" : undefined,
    maxUses: Number.POSITIVE_INFINITY,
    idleTimeoutMs,
  }).catch((error: unknown) => {
    throw connectError(error, settings);
  });
  const following = follow(pool, turn, { mode, owned: true, acquireTimeoutMs });
  return {
    ...following,
    async close() {
      await following.close();
      await closeServer();
    },
  };
}

async function modeOf(settings: DatabaseSettings): Promise<PoolMode> {
  return settings.kind === "embedded" || (await keepsSessions(settings)) ? "session" : "transaction";
}

/**
 * Follows the turns on a pool that is there already.
 *
 * @throws TenantctlError DRIVER when it is no pool of pg's, or its connections send statements before the last one is done.
 */
export function follow(inner: Pool, turn: Turn, { mode, owned, acquireTimeoutMs }: FollowOptions): FollowingPool {
  checkPool(inner);
  const links = new WeakMap<PoolClient, Connection>();
  const known = (client: PoolClient) => {
    const found = links.get(client);
    if (found !== undefined) return found;
    const connection = connectionOf(client, mode, owned);
    links.set(client, connection);
    return connection;
  };
  // Before anybody else hears of it; the first one was opened before we were here.
  if (owned) for (const event of ["connect", "acquire"] as const) inner.prependListener(event as "connect", known);
  const { members, prepare } = owned ? poolListeners(inner) : { members: {}, prepare: () => undefined };
  const take = taker({ inner, owned, acquireTimeoutMs, known, prepare, heldHere: () => heldHere(pool) });
  let closed: Promise<void> | undefined;

  function takeScope(): Scope {
    if (closed !== undefined) throw new TenantctlError("CLOSED", "the tenants' pool is closed");
    return turn.take();
  }

  async function checkOut(): Promise<PoolClient> {
    const scope = takeScope();
    const connection = await new Promise(take).catch(throwFromCaller);
    return checkedOut(connection, scope, turn);
  }

  // A single statement goes without a client that looks like pg's: that would cost more than all else.
  function run(config: unknown, values: unknown): Promise<unknown> {
    let scope: Scope;
    try {
      if (isSubmittable(config)) throw needsConnection();
      scope = takeScope();
    } catch (error) {
      return Promise.reject(error);
    }
    const caller = new AsyncResource("tenantctl.query"); // whoever traces `client.query` is in the caller's context
    let taken: Connection | undefined;
    return new Promise((resolve, reject) => {
      const told = (error: unknown, result: unknown) => {
        if (error) return reject(error);
        if (taken === undefined) return; // it was told that it failed
        const connection = taken;
        taken = undefined;
        resolve(result);
        release(connection);
      };
      take((connection) => {
        taken = connection;
        try {
          caller.runInAsyncScope(sendOne, undefined, connection, scope, config, values, told);
        } catch (error) {
          reject(error);
        }
      }, reject);
    }).catch((error: unknown) => {
      if (taken !== undefined) release(taken);
      taken = undefined;
      throwFromCaller(error);
    });
  }

  const close = () => (closed ??= owned ? inner.end() : Promise.resolve());
  const pool: Pool = overlay(inner, {
    ...members,
    connect: (callback?: Callback) => {
      const client = checkOut();
      return callback === undefined
        ? client
        : tell(client, callback, (found) => [undefined, found, found.release], [undefined, () => {}]);
    },
    query: (config: unknown, values?: unknown, callback?: unknown) => {
      const [given, then] = typeof values === "function" ? [undefined, values] : [values, callback];
      const result = run(config, given);
      return then === undefined ? result : tell(result, then as Callback, (found) => [undefined, found], []);
    },
    end: (callback?: Callback) => {
      const ended = close();
      return callback === undefined ? ended : tell(ended, callback, () => [], []);
    },
  });
  return { pool, mode, databaseName: () => databaseName(inner, known), close };
}

async function databaseName(inner: Pool, known: (client: PoolClient) => Connection): Promise<string> {
  const client = await nobody.runInAsyncScope(() => inner.connect());
  try {
    const result = known(client).send("select current_database()::text as name");
    const { rows } = (await result) as { rows: { name: string }[] };
    client.release();
    return rows[0]?.name ?? "";
  } catch (error) {
    client.release(true);
    throw error;
  }
}

type Callback = (...results: unknown[]) => void;

// What the callback throws is its own: it must neither be taken for our failure nor be lost.
function tell<T>(promise: Promise<T>, callback: Callback, results: (value: T) => unknown[], failed: unknown[]): void {
  const bound = AsyncResource.bind(callback);
  promise.then(
    (value) => process.nextTick(() => bound(...results(value))),
    (error) => process.nextTick(() => bound(error, ...failed)),
  );
}

function needsConnection(): TenantctlError {
  return new TenantctlError("DRIVER", "a cursor or stream needs a connection of its own", {
    hint: "const client = await pool.connect(), then client.query(cursor)",
  });
}

function checkPool(pool: Pool): void {
  if (typeof pool?.connect !== "function" || typeof pool.options !== "object") {
    throw new TenantctlError("DRIVER", "pool is not a pool of pg", { hint: 'new pg.Pool({ … }) of "pg" 8' });
  }
  if (pool.options.pipeline) {
    throw new TenantctlError("DRIVER", "a pool with pipeline: true sends statements before the last one's end", {
      hint: "leave pipeline out",
    });
  }
}
