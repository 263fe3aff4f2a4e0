// The database room: a guarded statement as pg's Client takes it, and as tools that patch `client.query` know how to handle it.

import pg from "pg";
import type { Guarded, Submittable, Wire } from "./guard.js";

/**
 * Everything is a property of its own. OpenTelemetry and Datadog read text, values, name and callback of what is passed to
 * `client.query`, put their own callback and a text with a comment in their place, and hand a copy to pg.
 */
export interface Envelope extends Submittable {
  readonly guarded: Guarded;
  readonly inner: Submittable;
  values: unknown;
  /** Of a cursor or a stream, which have no callback. */
  cursor?: unknown;
  read?: unknown;
  once?(event: string | symbol, listener: (...args: unknown[]) => void): unknown;
}

/** What else a cursor, a stream or a Query of pg may have. */
type Inner = Submittable & Partial<Pick<Envelope, "values" | "cursor" | "read" | "once">>;

/** Wraps a guarded statement; `inner` is what it guards. */
export function envelope(guarded: Guarded, inner: Inner, timeout: number | undefined): Envelope {
  // Written out, since an object of a known shape costs a statement next to nothing.
  const wrapped: Envelope = {
    guarded,
    inner,
    text: inner.text ?? "",
    values: inner.values,
    name: inner.name,
    callback: inner.callback,
    binary: inner.binary,
    query_timeout: timeout,
    _result: inner._result,
    submit,
    handleRowDescription,
    handleDataRow,
    handlePortalSuspended,
    handleEmptyQuery,
    handleCommandComplete,
    handleCopyInResponse,
    handleCopyData,
    handleError,
    handleReadyForQuery,
  };
  if (inner.callback === undefined) {
    wrapped.cursor = inner.cursor;
    wrapped.read = inner.read;
    wrapped.once = inner.once?.bind(inner);
  }
  return wrapped;
}

function submit(this: Envelope, wire: Wire) {
  const { guarded, inner } = this;
  if (this.text !== "") inner.text = this.text;
  inner.binary = this.binary;
  answerTo(this);
  const error = guarded.submit(wire);
  this.name = guarded.name;
  return error;
}
function handleRowDescription(this: Envelope, message: unknown) {
  this.guarded.handleRowDescription(message);
}
function handleDataRow(this: Envelope, message: unknown) {
  this.guarded.handleDataRow(message);
}
function handlePortalSuspended(this: Envelope, wire: Wire) {
  this.guarded.handlePortalSuspended(wire);
}
function handleEmptyQuery(this: Envelope, wire: Wire) {
  this.guarded.handleEmptyQuery(wire);
}
function handleCommandComplete(this: Envelope, message: { text: string }, wire: Wire) {
  this.guarded.handleCommandComplete(message, wire);
  this.name = this.guarded.name; // pg asks for it when a statement was parsed: while ours are answered it has none
}
function handleCopyInResponse(this: Envelope, wire: Wire) {
  this.guarded.handleCopyInResponse(wire);
}
function handleCopyData(this: Envelope, message: unknown, wire: Wire) {
  this.guarded.handleCopyData(message, wire);
}
function handleError(this: Envelope, error: unknown, wire: Wire) {
  answerTo(this); // it may not have been sent at all
  this.guarded.handleError(error, wire);
}
function handleReadyForQuery(this: Envelope, wire: Wire) {
  answerTo(this);
  this.guarded.handleReadyForQuery(wire);
}

// Just before it is called: pg's timeout and some tools replace it after the statement was sent. (A function for each statement that looks
// it up keeps the garbage collector busy.)
function answerTo({ inner, callback }: Envelope): void {
  if (inner.callback !== callback) Object.assign(inner, { callback });
}

/** The arguments of `client.query` as a statement of pg's own class: the pool may be that of another copy of pg. */
export function makeQuery(client: pg.ClientBase, config: unknown, values?: unknown, callback?: unknown): Submittable {
  const { Query = pg.Query } = client.constructor as { Query?: typeof pg.Query };
  return new Query(config as string, values as unknown[], callback as () => void) as unknown as Submittable;
}

/** Whether it is a cursor, a stream or another thing that sends itself. */
export function isSubmittable(config: unknown): config is Submittable {
  return typeof (config as Partial<Submittable> | null | undefined)?.submit === "function";
}
