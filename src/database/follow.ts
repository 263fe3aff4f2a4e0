// The database room: a pool that looks like pg's and whose every statement is for a scope: that of whoever asks.

import { AsyncResource } from "node:async_hooks";
import pg from "pg";
import type { DatabaseSettings } from "../config/connection.js";
import { TenantctlError } from "../errors.js";
import { keepsSessions, openConnections } from "./database.js";
import { connectError } from "./errors.js";
import { Guarded, Link, type PoolMode, type Scope, type Submittable, type Wire } from "./guard.js";

export type Pool = pg.Pool;
export type PoolClient = pg.PoolClient;

/** Says whose turn it is: the scope of whoever asks, undefined for nobody's. */
export interface Turn {
  /** @throws when nobody's turn it is, or it is not to be served. */
  take(): Scope;
  /** As `take`, and undefined where nobody's turn it is. */
  look(): Scope | undefined;
}

export interface FollowingPool {
  /** Looks like the pool that it stands on. */
  pool: Pool;
  mode: PoolMode;
  /** The database's own name: a pooler may call it otherwise. */
  databaseName(): Promise<string>;
  close(): Promise<void>;
}

/** A backend's catalog cache grows with every schema that it visits, and nothing frees it but its end. */
const scopesPerConnection = 500;

/**
 * Opens a pool of our own. Without a mode it asks whether connections are sessions. In session mode they begin with an empty
 * search_path.
 *
 * @throws TenantctlError DATABASE_UNREACHABLE, DATABASE_REFUSED or DATABASE_LOCKED.
 */
export async function openFollowing(
  settings: DatabaseSettings,
  turn: Turn,
  maxConnections: number,
  asked?: PoolMode,
): Promise<FollowingPool> {
  const mode = asked ?? (await modeOf(settings));
  const startup = mode === "session" ? "-c search_path=" : undefined;
  const { pool, closeServer } = await openConnections(
    settings,
    maxConnections,
    startup,
    Number.POSITIVE_INFINITY,
  ).catch((error: unknown) => {
    throw connectError(error, settings);
  });
  const following = follow(pool, turn, mode, true);
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
 * Follows the turns on a pool that is there already. `owned`: nobody else uses it, and it is ended with ours.
 *
 * @throws TenantctlError DRIVER when it is no pool of pg's, or its connections send statements before the last one is done.
 */
export function follow(inner: Pool, turn: Turn, mode: PoolMode, owned: boolean): FollowingPool {
  checkPool(inner);
  const links = new WeakMap<PoolClient, Connection>();
  const known = (client: PoolClient) => {
    const found = links.get(client);
    if (found !== undefined) return found;
    const connection = connectionOf(client, mode, owned);
    links.set(client, connection);
    return connection;
  };
  // Before anybody else hears of it.
  if (owned) inner.prependListener("connect", known);
  // Each tenant's own client of an ORM listens for itself.
  if (owned) inner.setMaxListeners(0);
  // What a connection tells must not reach its listeners in the name of whoever opened it.
  const nobody = new AsyncResource("tenantctl.pool");
  let closed: Promise<void> | undefined;

  function takeScope(): Scope {
    if (closed !== undefined) throw new TenantctlError("CLOSED", "the tenants' pool is closed");
    return turn.take();
  }

  const connect = (callback: (error: unknown, client?: PoolClient) => void) => inner.connect(callback);
  function takeUsable(resolve: (connection: Connection) => void, reject: (error: unknown) => void): void {
    nobody.runInAsyncScope(connect, undefined, (error: unknown, client?: PoolClient) => {
      if (client === undefined) return reject(error);
      let connection: Connection;
      try {
        connection = known(client);
      } catch (failure) {
        client.release(true);
        return reject(failure);
      }
      const take = () => {
        if (connection.link.usable) return resolve(connection);
        client.release(true); // somebody left a transaction open
        takeUsable(resolve, reject);
      };
      // A new one is handed out before pg has noted what its server said.
      if (connection.link.status === null) process.nextTick(take);
      else take();
    });
  }

  async function checkOut(): Promise<PoolClient> {
    const scope = takeScope();
    const connection = await new Promise(takeUsable).catch(throwFromCaller);
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
    let taken: Connection | undefined;
    return new Promise((resolve, reject) => {
      takeUsable((connection) => {
        taken = connection;
        try {
          sendOne(connection, scope, config, values, (error, result) => {
            if (error) return reject(error);
            if (taken === undefined) return; // it was told that it failed
            taken = undefined;
            resolve(result);
            release(connection);
          });
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
  const pool = overlay(inner, {
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
  async function databaseName(): Promise<string> {
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
  return { pool, mode, databaseName, close };
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

interface Connection {
  client: PoolClient;
  link: Link;
  /** pg's own `query`. */
  send(query: unknown, values?: unknown, callback?: unknown): unknown;
}

function needsConnection(): TenantctlError {
  return new TenantctlError("DRIVER", "a cursor or stream needs a connection of its own", {
    hint: "const client = await pool.connect(), then client.query(cursor)",
  });
}

// Its stack is that of the caller then, rather than that of the socket.
function throwFromCaller(error: unknown): never {
  if (error instanceof Error) Error.captureStackTrace(error);
  throw error;
}

// The parts of pg that are needed beside its documented face; without one of them nothing is sent at all.
function connectionOf(client: PoolClient, mode: PoolMode, owned: boolean): Connection {
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
  if (typeof client.getTransactionStatus !== "function" || needed.some((name) => typeof wire?.[name] !== "function")) {
    throw new TenantctlError("DRIVER", "the pool's connections are not those of pg 8.23 or a newer pg 8", {
      hint: "npm install pg@8; pg-native can't be used",
    });
  }
  // Its failure reaches whoever waits for an answer; without a listener it would end the process.
  client.on("error", () => {});
  const send = client.query.bind(client) as Connection["send"];
  if (owned) Object.assign(client, { query: refuseRaw });
  return { client, link: new Link(client, mode), send };
}

// An event of the pool could have given it to somebody.
function refuseRaw(): never {
  throw new TenantctlError(
    "NO_TENANT",
    "this connection is nobody's: pool.connect() checks one out for the current tenant",
  );
}

/** A connection for as long as it is checked out: for one scope, and for nobody once it is released. */
function checkedOut(connection: Connection, scope: Scope, turn: Turn): PoolClient {
  const { client, link, send } = connection;
  let released = false;
  const afterRelease = () =>
    released ? new TenantctlError("RELEASED", "the connection was released already") : undefined;
  const refusal = () => {
    if (released) return afterRelease();
    const now = turn.look();
    if (now === undefined || now.path === scope.path) return undefined;
    return new TenantctlError(
      "OTHER_TENANT",
      "the connection was checked out for another tenant than the current one",
      {
        hint: "check out a connection within withTenant, and release it there",
      },
    );
  };
  const guarded = (query: Submittable, context?: AsyncResource, timeout?: number) =>
    new Guarded(query, link, scope, afterRelease, context, timeout);

  function query(config: unknown, values?: unknown, callback?: unknown): unknown {
    if (config === undefined || config === null) return send(config); // pg knows what to say
    const refused = refusal();
    if (isSubmittable(config)) {
      if (refused !== undefined) throw refused;
      send(guarded(config, contextOfNow()), values, callback);
      return config;
    }
    const made = makeQuery(client, config, values, callback);
    const timeout = (config as { query_timeout?: number }).query_timeout;
    if (made.callback !== undefined) {
      if (typeof made.callback !== "function") throw new TypeError("callback is not a function");
      if (refused === undefined) send(guarded(made, contextOfNow(), timeout));
      else process.nextTick(AsyncResource.bind(made.callback), refused);
      return undefined;
    }
    if (refused !== undefined) return Promise.reject(refused);
    return new Promise((resolve, reject) => {
      made.callback = (error, result) => (error ? reject(error) : resolve(result));
      send(guarded(made, undefined, timeout));
    }).catch(throwFromCaller);
  }

  function releaseOnce(error?: Error | boolean): void {
    if (released) throw new Error("Release called on client which has already been released to the pool.");
    released = true;
    release(connection, error);
  }

  return overlay(client, { query, release: releaseOnce, [busy]: () => link.busy && !link.failing });
}

const busy = Symbol("busy");

/** Whether a connection that is checked out waits for the end of something, so that it would not answer. */
export function isBusy(client: PoolClient): boolean {
  return (client as { [busy]?: () => boolean })[busy]?.() === true;
}

type Told = (error: unknown, result?: unknown) => void;

/** Sends one statement on a connection that nobody else has. pg may tell of a failure and then of an end. */
function sendOne(connection: Connection, scope: Scope, config: unknown, values: unknown, told: Told): void {
  const { client, link, send } = connection;
  if (config === undefined || config === null) return void send(config); // pg knows what to say
  const made = makeQuery(client, config, values, undefined);
  made.callback = told;
  const timeout = (config as { query_timeout?: number }).query_timeout;
  send(new Guarded(made, link, scope, scope.refusal, undefined, timeout));
}

function release({ client, link }: Connection, error?: Error | boolean): void {
  if (error || (link.busy && !link.failing)) client.release(error || true);
  else if (link.busy) whenReady(link, (lost) => giveBack(client, link, lost));
  else giveBack(client, link, false);
}

// A transaction that was left open must not be the next one's.
function giveBack(client: PoolClient, link: Link, lost: boolean): void {
  client.release(lost || link.broken || link.status !== "I" || link.visited.size >= scopesPerConnection);
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

// Events of a query come from the socket, which knows nothing of who asked.
function contextOfNow(): AsyncResource {
  return new AsyncResource("tenantctl.query");
}

// The pool may be that of another copy of pg.
function makeQuery(client: PoolClient, config: unknown, values: unknown, callback: unknown): Submittable {
  const { Query = pg.Query } = client.constructor as { Query?: typeof pg.Query };
  return new Query(config as string, values as unknown[], callback as () => void) as unknown as Submittable;
}

function isSubmittable(config: unknown): config is Submittable {
  return typeof (config as Partial<Submittable> | null | undefined)?.submit === "function";
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

/** The object as it is, but for some members. A method that returns the object returns what looks like it. */
function overlay<T extends object>(target: T, members: object): T {
  const bound = new Map<PropertyKey, { method: unknown; call: unknown }>();
  const proxy: T = new Proxy(target, {
    get(_, key) {
      if (Object.hasOwn(members, key)) return Reflect.get(members, key);
      const method: unknown = Reflect.get(target, key, target);
      if (typeof method !== "function" || key === "constructor" || Object.hasOwn(target, key)) return method;
      const known = bound.get(key);
      if (known?.method === method) return known.call;
      const call = (...args: unknown[]) => {
        const result: unknown = Reflect.apply(method, target, args);
        return result === target ? proxy : result;
      };
      bound.set(key, { method, call });
      return call;
    },
  });
  return proxy;
}
