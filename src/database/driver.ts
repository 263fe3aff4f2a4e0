// The database room: what looks like the module pg, for ORMs that are given one.

import { AsyncResource } from "node:async_hooks";
import pg from "pg";
import { keepsContext, LazyClient } from "./lazy-client.js";

/** The module pg, whose clients and pools follow the turns of a pool. */
export type Driver = typeof pg;

/** Clients that take a connection of the pool when they need one. A Pool of them has the pool's connections, not its own. */
export function driverOf(pool: pg.Pool): Driver {
  class Client extends LazyClient {
    constructor(config?: unknown) {
      super(() => pool.connect(), typeof config === "object" && config !== null ? config : {});
    }
  }
  class Pool extends pg.Pool {
    constructor(config?: pg.PoolConfig) {
      super({ ...config, Client, [keepsContext]: true } as unknown as pg.PoolConfig);
    }
    // pg-pool calls back in the context of whoever gave a client back.
    override connect(callback?: unknown): never {
      const bound = typeof callback === "function" ? AsyncResource.bind(callback as () => void) : callback;
      return super.connect(bound as never) as never;
    }
  }
  return { ...pg, Client, Pool } as unknown as Driver;
}
