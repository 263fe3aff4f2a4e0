// The database room: COPY … TO STDOUT through a stream that reads the connection's socket itself.

import type { Connection } from "./connection.js";
import { type Envelope, envelope, makeQuery } from "./envelope.js";
import { Guarded, type Scope, type Submittable } from "./guard.js";

/**
 * Whether it takes the answers off the socket itself, as pg-copy-streams does: it would take what answers our part of a message
 * for its own.
 */
export function readsSocket(query: Submittable): boolean {
  return typeof (query as { read?: unknown }).read === "function" && startsWithCopy.test(query.text ?? "");
}

const startsWithCopy = /^(\s|--[^\n]*(\n|$)|\/\*([^*]|\*(?!\/))*\*\/)*copy\b/i;

/**
 * Sends the search_path in a message of its own, then the stream's statement, which is not sent where that failed. Where nothing
 * lasts longer than a transaction, all of it is one.
 *
 * @param refusal says why nothing may be sent any more.
 */
export function sendCopy(connection: Connection, scope: Scope, copy: Envelope, refusal: () => Error | undefined): void {
  const { client, link } = connection;
  let failure: Error | undefined;
  let began = false;
  const make = (text: string, refuse: typeof refusal, told: (error: Error | null) => void) => {
    const query = makeQuery(client, text, undefined, told);
    return envelope(new Guarded(query, link, scope, refuse, undefined, undefined), query, undefined);
  };

  const opened = make("select 1", refusal, (error) => {
    if (error) failure = error;
  });
  const { submit } = opened;
  opened.submit = function (wire) {
    // Only now is it known whether a transaction is open: statements may have waited in front of it.
    began = link.mode === "transaction" && link.status === "I";
    if (began) this.text = "begin; select 1";
    return submit.call(this, wire);
  };

  copy.guarded.alone = () => failure;
  const { submit: submitCopy, handleError } = copy;
  copy.handleError = function (error, wire) {
    failure ??= error as Error;
    handleError.call(this, error, wire);
  };
  copy.submit = function (wire) {
    if (began && failure === undefined) sendNext(connection, closed);
    return submitCopy.call(this, wire);
  };

  // Whoever released the connection meanwhile did so when the rows were there.
  const closed = make(
    "commit",
    () => undefined,
    (error) => {
      if (error && failure === undefined) copy.handleError(error, link.wire);
    },
  );
  closed.guarded.last = true;

  connection.send(opened);
  connection.send(copy);
}

// Before what waits already. Where pg's queue is not to be seen, whoever waits is in the transaction too.
function sendNext({ client, send }: Connection, query: Submittable): void {
  const known = client as { _queryQueue?: Submittable[]; queryQueue?: Submittable[] };
  const queue = known._queryQueue ?? known.queryQueue;
  if (Array.isArray(queue)) queue.unshift(query);
  else send(query);
}
