// The database room: one connection of a pool that follows, and how it goes back.

import type pg from "pg";
import { TenantctlError } from "../errors.js";
import { Link, type PoolMode, type Wire } from "./guard.js";

/** A backend's catalog cache grows with every schema that it visits, and nothing frees it but its end. */
const scopesPerConnection = 500;

/** A connection, and what we know of it. */
export interface Connection {
  client: pg.PoolClient;
  link: Link;
  /** pg's own `query`, as it is just now: tools that trace patch it when they like. */
  send(query: unknown, values?: unknown, callback?: unknown): unknown;
  /** Nobody had it yet. */
  fresh: boolean;
}

/**
 * The parts of pg that are needed beside its documented face; without one of them nothing is sent at all.
 *
 * @throws TenantctlError DRIVER.
 */
export function connectionOf(client: pg.PoolClient, mode: PoolMode, owned: boolean): Connection {
  const wire = (client as unknown as { connection?: Partial<Wire> }).connection;
  const needed = [
    "query",
    "parse",
    "bind",
    "describe",
    "execute",
    "sync",
    "on",
    "prependListener",
    "once",
    "removeListener",
  ] as const;
  if (needed.some((name) => typeof wire?.[name] !== "function")) {
    throw new TenantctlError("DRIVER", "the pool's connections are not those of pg 8", {
      hint: "npm install pg@8; pg-native can't be used",
    });
  }
  // Its failure reaches whoever waits for an answer; without a listener it would end the process.
  client.on("error", () => {});
  const methods: pg.PoolClient = owned ? Object.getPrototypeOf(client) : client;
  const send = (...args: unknown[]) => Reflect.apply(methods.query, client, args);
  if (owned) Object.assign(client, { query: refuseRaw });
  return { client, link: new Link(client, mode), send, fresh: true };
}

// An event of the pool could have given it to somebody.
function refuseRaw(): never {
  throw new TenantctlError(
    "NO_TENANT",
    "this connection is nobody's: pool.connect() checks one out for the current tenant",
  );
}

/** Gives a connection back to its pool, or closes it where the next one must not have it. */
export function release({ client, link }: Pick<Connection, "client" | "link">, error?: Error | boolean): void {
  if (error || (link.busy && !link.ending)) client.release(error || true);
  else if (link.busy) whenReady(link, (lost) => (lost ? client.release(true) : release({ client, link })));
  else giveBack(client, link);
}

// A transaction that was left open must not be the next one's.
function giveBack(client: pg.PoolClient, link: Link): void {
  client.release(link.broken || link.status !== "I" || link.visited.size >= scopesPerConnection);
}

function whenReady({ wire }: Link, then: (lost: boolean) => void): void {
  const tell = (lost: boolean) => {
    wire.removeListener("readyForQuery", ready);
    wire.removeListener("end", lose);
    then(lost);
  };
  const ready = () => tell(false);
  const lose = () => tell(true);
  wire.once("readyForQuery", ready);
  wire.once("end", lose);
}
