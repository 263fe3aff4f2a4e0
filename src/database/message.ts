// The database room: statements that travel together in one message, and which of them failed where.

import type { Readable } from "node:stream";
import pg from "pg";
import { errorField } from "./errors.js";

/** One statement, without its semicolon. `origin` says whose it is, for errors; our own statements have none. */
export interface Statement<Origin> {
  text: string;
  origin?: Origin;
  /** Takes its rows one by one, as texts, so that a large result is never held whole. */
  rows?: RowSink;
}

/** Where one statement's rows go. Nothing of it may throw. */
export interface RowSink {
  columns(columns: readonly { name: string; type: number }[]): void;
  /** The server is held back until what this returns is settled. */
  row(values: readonly (string | null)[]): Promise<void> | undefined;
  /** Its end, with the server's word for what was done: `UPDATE 5`. */
  done(tag: string): void;
}

/** A statement that the server refused. `offset` counts UTF-16 units from the statement's start, where the server told a position. */
export class StatementError<Origin> extends Error {
  readonly statement: Statement<Origin>;
  readonly offset: number | undefined;
  constructor(statement: Statement<Origin>, offset: number | undefined, cause: Error) {
    super(cause.message, { cause });
    this.statement = statement;
    this.offset = offset;
  }
}

// A line of its own: a statement may end in a line comment that would swallow the semicolon.
const separator = "\n;\n";

/**
 * Sends statements in one message of the simple protocol, or one by one where the server wants that.
 * Resolves to one list of rows for each statement.
 * @throws StatementError when the server refuses one of them; what comes after it was not run.
 */
export async function send<Origin>(
  client: pg.ClientBase,
  statements: readonly Statement<Origin>[],
  together: boolean,
): Promise<Record<string, unknown>[][]> {
  if (statements.length === 0) return [];
  if (together) return await sendMessage(client, statements);
  const results = [];
  for (const statement of statements) results.push(...(await sendMessage(client, [statement])));
  return results;
}

async function sendMessage<Origin>(client: pg.ClientBase, statements: readonly Statement<Origin>[]) {
  const text = statements.map((statement) => statement.text).join(separator);
  let message: CountingQuery | undefined;
  try {
    const results = await new Promise<pg.QueryResult[]>((resolve, reject) => {
      message = new CountingQuery(
        client,
        statements,
        text,
        (error: Error | null, result: pg.QueryResult | pg.QueryResult[]) =>
          error ? reject(error) : resolve(Array.isArray(result) ? result : [result]),
      );
      client.query(message);
    });
    return results.map((result) => result.rows);
  } catch (error) {
    throw blame(statements, message?.finished ?? 0, error instanceof Error ? error : new Error(String(error)));
  } finally {
    message?.release();
  }
}

// A position counts code points over the whole message; without one, it is the first statement that did not finish.
function blame<Origin>(
  statements: readonly Statement<Origin>[],
  finished: number,
  error: Error,
): StatementError<Origin> {
  const position = errorField(error, "position");
  if (position !== undefined) {
    let left = Number(position) - 1;
    for (const statement of statements) {
      const length = codePoints(statement.text);
      // A statement that stops too early is noticed at the separator behind it.
      if (left < length + separator.length) return new StatementError(statement, unitsOf(statement.text, left), error);
      left -= length + separator.length;
    }
  }
  const statement = statements[Math.min(finished, statements.length - 1)];
  return new StatementError(statement ?? { text: "" }, undefined, error);
}

function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

function unitsOf(text: string, points: number): number {
  let units = 0;
  let left = points;
  for (const character of text) {
    if (left-- <= 0) break;
    units += character.length;
  }
  return units;
}

// pg tells of an error, not of the statements that had finished before it.
class CountingQuery extends pg.Query {
  finished = 0;
  readonly #client: pg.ClientBase;
  readonly #statements: readonly Statement<unknown>[];
  #held = 0;

  constructor(
    client: pg.ClientBase,
    statements: readonly Statement<unknown>[],
    text: string,
    callback: (error: Error | null, result: pg.QueryResult | pg.QueryResult[]) => void,
  ) {
    super(text, callback as never);
    this.#client = client;
    this.#statements = statements;
  }

  get #sink(): RowSink | undefined {
    return this.#statements[this.finished]?.rows;
  }

  handleRowDescription(message: { fields: { name: string; dataTypeID: number }[] }): void {
    const sink = this.#sink;
    if (sink === undefined) inherited.handleRowDescription.call(this, message);
    else sink.columns(message.fields.map(({ name, dataTypeID }) => ({ name, type: dataTypeID })));
  }

  handleDataRow(message: { fields: (string | null)[] }): void {
    const sink = this.#sink;
    if (sink === undefined) inherited.handleDataRow.call(this, message);
    const wait = sink?.row(message.fields);
    if (wait === undefined) return;
    // What the socket has brought already still comes; then the server waits for us.
    if (this.#held++ === 0) this.#stream.pause();
    wait.then(() => {
      if (--this.#held === 0) this.#stream.resume();
    });
  }

  /** At its end, whoever is still to wait: the connection is the next one's. */
  release(): void {
    if (this.#held > 0) this.#stream.resume();
    this.#held = Number.POSITIVE_INFINITY;
  }

  get #stream(): Readable {
    return (this.#client as unknown as { connection: { stream: Readable } }).connection.stream;
  }

  handleCommandComplete(message: { text: string }, connection: unknown): void {
    this.#sink?.done(message.text);
    this.finished++;
    inherited.handleCommandComplete.call(this, message, connection);
  }
}
const inherited = pg.Query.prototype as unknown as Record<
  "handleRowDescription" | "handleDataRow" | "handleCommandComplete",
  (...of: unknown[]) => void
>;
