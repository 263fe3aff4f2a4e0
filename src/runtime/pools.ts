// The runtime room: the pools that follow the current tenant, and their end.

import type { DatabaseSettings } from "../config/connection.js";
import { databaseAt } from "../config/load.js";
import type { Turn } from "../database/checkout.js";
import { type FollowingPool, follow, openFollowing, type Pool } from "../database/follow.js";
import type { PoolMode } from "../database/guard.js";
import { TenantctlError } from "../errors.js";

/** How connections are opened and waited for. */
export interface PoolSettings {
  /** How many connections a pool of our own opens. Default: 10. */
  maxConnections?: number;
  /** When a pool of our own closes a connection that nobody needs, in milliseconds. Default: never (0). */
  idleTimeoutMs?: number;
  /**
   * How long a statement waits for a connection to become free, in milliseconds, before it fails with POOL_EXHAUSTED; 0 waits for
   * ever. Default: 30000.
   */
  acquireTimeoutMs?: number;
  /**
   * `session` where connections are sessions that nobody else uses, `transaction` where they are not: behind a transaction
   * pooler, or in a `pool` that is used beside this. Default: asked of the database; `transaction` for a `pool`.
   */
  poolMode?: PoolMode;
}

/** Another database, or another way to the same one, that follows the same current tenant. */
export interface FollowTarget extends PoolSettings {
  /** Its URL. The pool is closed with the tenancy. */
  database?: string;
  /** In place of a URL: a pool of pg that is there already, and that stays open. */
  pool?: Pool;
}

/** Opens one, or follows the one that is given. */
export async function openPool(
  { pool, poolMode, maxConnections = 10, idleTimeoutMs = 0, acquireTimeoutMs = 30_000 }: FollowTarget,
  settings: () => DatabaseSettings,
  turn: Turn,
): Promise<FollowingPool> {
  if (pool !== undefined)
    return follow(pool, turn, { mode: poolMode ?? "transaction", owned: false, acquireTimeoutMs });
  return await openFollowing(settings(), turn, { mode: poolMode, maxConnections, idleTimeoutMs, acquireTimeoutMs });
}

function oneOfBoth(): TenantctlError {
  return new TenantctlError("USAGE", "follow takes either a database URL or a pool", {
    hint: "tenancy.follow({ database: process.env.REPLICA_URL })",
  });
}

type Open = (target: FollowTarget, settings: () => DatabaseSettings) => Promise<FollowingPool>;

/** All the pools of one tenancy. */
export class Pools {
  readonly #opened: FollowingPool[] = [];
  #closed = false;

  constructor(private readonly openOne: Open) {}

  async open(target: FollowTarget, settings: () => DatabaseSettings): Promise<FollowingPool> {
    const following = await this.openOne(target, settings);
    this.#opened.push(following);
    if (this.#closed) await following.close();
    return following;
  }

  async follow(target: FollowTarget): Promise<Pool> {
    if (this.#closed) throw new TenantctlError("CLOSED", "the tenancy is closed");
    if ((target.database === undefined) === (target.pool === undefined)) throw oneOfBoth();
    return (await this.open(target, () => databaseAt({ database: target.database }))).pool;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#opened.map((following) => following.close()));
  }
}
