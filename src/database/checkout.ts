// The database room: a connection for as long as it is checked out: for one scope, and for nobody once it is released.

import { AsyncResource } from "node:async_hooks";
import type pg from "pg";
import { TenantctlError } from "../errors.js";
import { type Connection, release } from "./connection.js";
import { readsSocket, sendCopy } from "./copy.js";
import { envelope, isSubmittable, makeQuery } from "./envelope.js";
import { Guarded, type Scope, type Submittable } from "./guard.js";
import { overlay } from "./overlay.js";

/** Says whose turn it is: the scope of whoever asks, undefined for nobody's. */
export interface Turn {
  /** @throws when nobody's turn it is, or it is not to be served. */
  take(): Scope;
  /** As `take`, and undefined where nobody's turn it is. */
  look(): Scope | undefined;
}

/** What looks like a client of pg, until it is released. */
export function checkedOut(connection: Connection, scope: Scope, turn: Turn): pg.PoolClient {
  let released = false;
  const afterRelease = () =>
    released ? new TenantctlError("RELEASED", "the connection was released already") : undefined;
  const refusal = () => {
    if (released) return afterRelease();
    let now: Scope | undefined;
    try {
      now = turn.look();
    } catch (error) {
      return error as Error; // pg's query never throws one: it would end the process that calls back
    }
    if (now === undefined) return scope.refusal();
    return now.path === scope.path ? undefined : otherTenant();
  };
  const { link } = connection;
  return overlay(connection.client, {
    query: guardedQuery(connection, scope, refusal, afterRelease),
    release(error?: Error | boolean) {
      if (released) throw new Error("Release called on client which has already been released to the pool.");
      released = true;
      release(connection, error);
    },
    getTransactionStatus: () => link.status, // pg has it since 8.21
    [busy]: () => link.busy && !link.ending,
  });
}

const busy = Symbol("busy");

/** Whether a connection that is checked out waits for the end of something, so that it would not answer. */
export function isBusy(client: pg.PoolClient): boolean {
  return (client as { [busy]?: () => boolean })[busy]?.() === true;
}

function otherTenant(): TenantctlError {
  return new TenantctlError("OTHER_TENANT", "the connection was checked out for another tenant than the current one", {
    hint: "check out a connection within withTenant, and release it there",
  });
}

/**
 * A client's `query` whose statements are all for one scope.
 *
 * @param now refuses what is asked for.
 * @param later refuses what has waited for the statements before it.
 */
export function guardedQuery(
  connection: Connection,
  scope: Scope,
  now: () => Error | undefined,
  later: () => Error | undefined,
): (config: unknown, values?: unknown, callback?: unknown) => unknown {
  const { client, link, send } = connection;
  const wrap = (query: Submittable, context?: AsyncResource, timeout?: number) =>
    envelope(new Guarded(query, link, scope, later, context, timeout), query, timeout);

  function submit(query: Submittable, values: unknown, callback: unknown): Submittable {
    const refused = now();
    if (refused !== undefined) throw refused;
    const wrapped = wrap(query, contextOfNow());
    if (readsSocket(query)) sendCopy(connection, scope, wrapped, later);
    else send(wrapped, values, callback);
    return query;
  }

  return (config, values, callback) => {
    if (config === undefined || config === null) return send(config); // pg knows what to say
    if (isSubmittable(config)) return submit(config, values, callback);
    const made = makeQuery(client, config, values, callback);
    const timeout = (config as { query_timeout?: number }).query_timeout;
    const refused = now();
    if (made.callback !== undefined) {
      if (typeof made.callback !== "function") throw new TypeError("callback is not a function");
      if (refused === undefined) send(wrap(made, contextOfNow(), timeout));
      else process.nextTick(AsyncResource.bind(made.callback), refused);
      return undefined;
    }
    if (refused !== undefined) return Promise.reject(refused);
    return new Promise((resolve, reject) => {
      made.callback = (error, result) => (error ? reject(error) : resolve(result));
      send(wrap(made, undefined, timeout));
    }).catch(throwFromCaller);
  };
}

/** Sends one statement on a connection that nobody else has. pg may tell of a failure and then of an end. */
export function sendOne(
  { client, link, send }: Connection,
  scope: Scope,
  config: unknown,
  values: unknown,
  told: (error: unknown, result?: unknown) => void,
): void {
  if (config === undefined || config === null) return void send(config); // pg knows what to say
  const made = makeQuery(client, config, values);
  made.callback = told;
  const timeout = (config as { query_timeout?: number }).query_timeout;
  send(envelope(new Guarded(made, link, scope, scope.refusal, undefined, timeout), made, timeout));
}

/** Its stack is that of the caller then, rather than that of the socket. */
export function throwFromCaller(error: unknown): never {
  if (error instanceof Error) Error.captureStackTrace(error);
  throw error;
}

// Events of a query come from the socket, which knows nothing of who asked.
function contextOfNow(): AsyncResource {
  return new AsyncResource("tenantctl.query");
}
