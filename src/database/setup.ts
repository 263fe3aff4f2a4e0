// The database room: what an application does with each new connection of our pool, and what it hears of the others.

import { EventEmitter } from "node:events";
import type pg from "pg";
import { TenantctlError } from "../errors.js";
import { guardedQuery } from "./checkout.js";
import type { Connection } from "./connection.js";
import type { Scope } from "./guard.js";
import { nobody } from "./nobody.js";
import { overlay } from "./overlay.js";

/** A setup is nobody's: no tenant's schema, and no shared one, is looked into. */
const nobodysScope: Scope = { path: "pg_catalog", refusal: () => undefined };
const clientEvents = ["acquire", "release", "remove"];

/** Listeners for a pool of ours. They hear in nobody's name, and what they throw ends no process. */
export interface PoolListeners {
  /** The emitter's methods, for what looks like the pool. */
  members: object;
  /** Lets `connect` listeners set a new connection up; undefined where there are none. Rejects with what one of them throws. */
  prepare(connection: Connection): Promise<void> | undefined;
}

export function poolListeners(inner: pg.Pool): PoolListeners {
  const ours = new EventEmitter().setMaxListeners(0); // each tenant's own client of an ORM listens for itself
  inner.setMaxListeners(0);
  const call = (event: string, args: unknown[]) =>
    Promise.all(
      ours
        .rawListeners(event)
        .map(async (listener) => await nobody.runInAsyncScope(listener as () => unknown, inner, ...args)),
    );
  for (const event of clientEvents) {
    inner.on(event as "acquire", (...args: unknown[]) => {
      if (ours.listenerCount(event) === 0) return; // as a rule, and for each statement
      call(event, args).catch((error: unknown) => inner.emit("error", asError(error), args.at(-1) as pg.PoolClient));
    });
  }

  // Those events go through our own emitter, all others are the pool's.
  const isOurs = (event: unknown) => event === "connect" || clientEvents.includes(event as string);
  const route = (method: "on") => {
    return function (this: unknown, event: string, ...rest: [() => void]) {
      const emitter = isOurs(event) ? ours : inner;
      const result: unknown = Reflect.apply(emitter[method], emitter, [event, ...rest]);
      return result === emitter ? this : result;
    };
  };
  const methods = ["on", "addListener", "once", "prependListener", "prependOnceListener", "off", "removeListener"];
  const looks = ["listeners", "rawListeners", "listenerCount"];
  const members = Object.fromEntries([...methods, ...looks].map((name) => [name, route(name as "on")]));

  function prepare(connection: Connection): Promise<void> | undefined {
    if (ours.listenerCount("connect") === 0) return undefined;
    return setUp(connection, (client) => call("connect", [client]));
  }
  return { members, prepare };
}

// Each statement of a listener is waited for, whether it waits itself or not.
async function setUp(connection: Connection, listeners: (client: pg.PoolClient) => Promise<unknown>): Promise<void> {
  let over = false;
  let asked = false;
  const sent: Promise<unknown>[] = [];
  const refusal = () => (over ? setupIsOver() : undefined);
  const guarded = guardedQuery(connection, nobodysScope, refusal, refusal);
  const query = (...args: [unknown, unknown?, unknown?]) => {
    const result = guarded(...args);
    asked = true;
    if (!(result instanceof Promise)) return result;
    result.catch(() => {}); // it is thrown below
    sent.push(result);
    return result;
  };
  const client = overlay(connection.client, { query, release: notTheirs });
  try {
    await listeners(client);
    for (const each of sent) await each;
    if (connection.link.status !== "I") throw leftOpen();
    if (asked) await connection.link.keepSettings((text) => guarded(text) as Promise<pg.QueryResult>);
  } finally {
    over = true;
  }
}

function notTheirs(): never {
  throw new TenantctlError("DRIVER", "a connect listener can't release the connection: it is not checked out for it");
}

function leftOpen(): TenantctlError {
  return new TenantctlError("DRIVER", "a connect listener left a transaction open");
}

function setupIsOver(): TenantctlError {
  return new TenantctlError("NO_TENANT", "this connection was set up already, and is nobody's now", {
    hint: "pool.connect() checks one out for the current tenant",
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
