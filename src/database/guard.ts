// The database room: statements that carry their search_path, and their role, with them, so that no connection answers from a schema
// left over.

import type { AsyncResource } from "node:async_hooks";
import type pg from "pg";
import { identifier, literal, searchPath } from "./quote.js";

/**
 * What a connection may keep between two calls. `transaction`: nothing, since another client may get it (a transaction
 * pooler, a pool that somebody else uses too). `session`: it is ours alone.
 */
export type PoolMode = "session" | "transaction";

/** What pg calls a Submittable, with the handlers that its Client calls: a Query, a cursor, a stream. */
export interface Submittable {
  name?: string;
  text?: string;
  callback?: (...result: unknown[]) => void;
  binary?: boolean;
  query_timeout?: number;
  _result?: object;
  submit(connection: Wire): Error | null | undefined;
  handleRowDescription?(message: unknown): void;
  handleDataRow?(message: unknown): void;
  handlePortalSuspended?(connection: Wire): void;
  handleEmptyQuery?(connection: Wire): void;
  handleCommandComplete?(message: { text: string }, connection: Wire): void;
  handleCopyInResponse?(connection: Wire): void;
  handleCopyData?(message: unknown, connection: Wire): void;
  handleError(error: unknown, connection: Wire): void;
  handleReadyForQuery(connection: Wire): void;
}

/** The connection under a pg client: one method for each message that it can send. */
export interface Wire {
  stream: { cork?(): void; uncork?(): void };
  query(text: string): void;
  parse(message: { text: string }): void;
  bind(message: object): void;
  execute(message: object): void;
  on(event: string, listener: (message: never) => void): unknown;
  prependListener(event: string, listener: (message: never) => void): unknown;
  once(event: string, listener: () => void): unknown;
  removeListener(event: string, listener: () => void): unknown;
}

/** Which schemas a statement is for. */
export interface Scope {
  /** As search_path has them, quoted. */
  readonly path: string;
  /** The role that its statements have, where each tenant has one: always the same for a path. */
  readonly role?: string | undefined;
  /** Why it is not served any more: asked when a statement has waited for its connection. */
  refusal(): Error | undefined;
}

interface Sendable {
  text: string;
  values?: string[];
}

/** All that a statement of another tenant may have left in a session, but prepared statements, which follow the search_path. */
const discard: Sendable = { text: "discard temp" };
const resets: readonly Sendable[] = [
  discard,
  { text: "close all" },
  { text: "reset session authorization" },
  { text: "reset all" },
];
const nothing: readonly Sendable[] = [];
const settingsOfSession = `select name, pg_catalog.current_setting(name) as value from pg_catalog.pg_settings
  where source = 'session' and name not in ('search_path', 'role', 'session_authorization')`;
const unlock = "pg_catalog.pg_advisory_unlock_all()";

// Nothing may come between these and a transaction's first query, and a `discard` would count as one.
const opensTransaction = /^\s*(begin|start\s+transaction|set\s+transaction)\b[^;]*;?\s*$/i;
// A transaction that goes on after a rollback was rolled back to a savepoint, unless the text opened another one.
const opensAnother = /\b(chain|begin|start)\b/i;

/** What we know of one connection: whose traces it may hold, and what is under way on it. */
export class Link {
  readonly wire: Wire;
  readonly mode: PoolMode;
  /** The path of all the statements whose traces a session may hold; undefined where we can't tell. */
  #owner: string | undefined;
  /** The search_path that the server reported last (PostgreSQL 18 and newer do). */
  #reported: string | undefined;
  /** Of the transaction that is open: whether it lacks its search_path, or the resets, and whether it got them. */
  #unset = false;
  #unclean = false;
  #cleaned = false;
  /** It is not the transaction that began with our search_path. */
  #replaced = false;
  #current: Guarded | undefined;
  /** What the server said last of a transaction, since we listen. */
  #status: string | null = null;
  /** Whether what is open is a transaction that began with us. */
  #ours = false;
  /** What is being handed to the wire: its first message that says what to run is preceded by ours. */
  submitting: Guarded | undefined;
  /** Not to be used again. */
  broken = false;
  /** Sets again what the application has set in a new session, for every tenant to come. */
  kept: readonly Sendable[] = nothing;
  /** The paths that it has served: a backend's catalog cache grows with each. */
  readonly visited = new Set<string>();

  constructor(
    private readonly client: pg.ClientBase,
    mode: PoolMode,
  ) {
    this.wire = (client as unknown as { connection: Wire }).connection;
    this.mode = mode;
    this.wire.on("parameterStatus", (message: { parameterName: string; parameterValue: string }) => {
      if (message.parameterName === "search_path") this.#reported = normalised(message.parameterValue);
    });
    this.#intercept();
    // Before pg's own listener, which hands out the result and sends what comes next.
    this.wire.prependListener("readyForQuery", (message: { status: string }) => this.#ready(message.status));
  }

  // Once, rather than for each statement: that would cost as much as all else. Whatever isn't ours goes through as it is.
  #intercept(): void {
    const { wire } = this;
    const { query, parse, bind, execute } = wire;
    const send = ({ text, values }: Sendable) => {
      parse.call(wire, { text });
      bind.call(wire, { values });
      execute.call(wire, {});
    };
    wire.query = (text) => {
      query.call(wire, this.submitting === undefined ? text : this.submitting.prefix(text));
    };
    wire.parse = (message) => {
      this.submitting?.precede(send);
      parse.call(wire, message);
    };
    wire.bind = (message) => {
      this.submitting?.precede(send);
      bind.call(wire, message);
    };
  }

  get status(): string | null {
    return this.#status ?? this.client.getTransactionStatus?.() ?? null;
  }

  /** Something was sent whose end has not come. */
  get busy(): boolean {
    return this.#current !== undefined;
  }

  /** The server is about to say that it is ready: nobody needs to do anything for it. */
  get ending(): boolean {
    return this.#current?.ending === true;
  }

  /** Keeps the settings that the session has just now; `ask` sends a query. */
  async keepSettings(ask: (text: string) => Promise<pg.QueryResult>): Promise<void> {
    if (this.mode !== "session") return;
    const { rows } = await ask(settingsOfSession);
    const calls = rows.map(({ name, value }) => `pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`);
    this.kept = calls.length === 0 ? nothing : [{ text: `select ${calls.join(", ")}` }];
  }

  /** What must precede a statement of this scope, as things are: `clean` implies `path`. */
  needs(scope: Scope, text: string, simple: boolean): { path: boolean; clean: boolean } {
    const foreign = this.mode === "transaction" || this.#owner !== scope.path;
    const opening = simple && opensTransaction.test(text);
    if (this.status === "T") {
      const clean = this.#unclean && !opening;
      return { path: clean || this.#unset, clean };
    }
    if (this.status !== "I") return { path: false, clean: false }; // a failed transaction takes nothing but its end
    if (foreign) return { path: true, clean: !opening };
    // A text of its own always gets it, so that what can't follow other statements (vacuum) is refused each time. No server reports its
    // role, which the last statement may have reset.
    return { path: simple || scope.role !== undefined || this.#reported !== scope.path, clean: false };
  }

  /** A pool that others use too may give us a transaction that they left open. */
  get usable(): boolean {
    return !this.broken && (this.status === "I" || this.#ours);
  }

  begins(guarded: Guarded): void {
    this.#current = guarded;
    this.visited.add(guarded.scope.path);
  }

  #ready(status: string): void {
    this.#status = status;
    const done = this.#current;
    this.#current = undefined;
    this.#ours = done !== undefined && status !== "I";
    if (done === undefined) {
      this.#owner = undefined;
      return;
    }
    const { path } = done.scope;
    const foreign = this.mode === "transaction" || this.#owner !== path;
    const ended = done.committed || done.rolledBack;
    if (status === "I") {
      const before = this.#cleaned || done.cleans;
      const kept = !done.refused && !done.rolledBack && before;
      if (foreign) this.#owner = kept ? path : undefined;
      this.#unset = this.#unclean = this.#cleaned = this.#replaced = false;
      return;
    }
    if (done.cleans) this.#cleaned = true;
    if (done.began === "I") {
      this.#unset = ended;
      this.#unclean = foreign && (!done.cleans || ended);
      this.#replaced = ended;
    } else if (ended && (this.#replaced || done.committed || opensAnother.test(done.text))) {
      this.#unset = this.#replaced = true;
      this.#unclean = foreign;
      this.#cleaned = false;
    } else if (done.prefixed && !done.refused) {
      this.#unset = false;
      if (done.cleans) this.#unclean = false;
    }
  }
}

/**
 * A statement with its search_path in front of it, in the same message or in the same implicit transaction: both are
 * done, or none. What the server answers to the part in front goes no further.
 */
export class Guarded implements Submittable {
  /** What the transaction status was when it was sent. */
  began: string | null = null;
  prefixed = false;
  cleans = false;
  refused = false;
  text = "";
  /** What the server told that it did. */
  committed = false;
  rolledBack = false;
  /** Its search_path was sent in a message before it: why that failed, if it did. Nothing goes in front of it. */
  alone: (() => Error | undefined) | undefined;
  /** The last of several that were sent as one: whoever asked for them has their results already. */
  last = false;
  /** Its first message is out. */
  #under = false;
  /** How many commands of ours have not been answered yet. */
  #ahead = 0;
  /** Code points in front of the text. */
  #shift = 0;

  constructor(
    private readonly inner: Submittable,
    private readonly link: Link,
    readonly scope: Scope,
    /** Says why it may not be sent any more. */
    private readonly refusal: () => Error | undefined,
    /** Whose the handlers are, where that matters: events come from the socket, which knows nothing of who asked. */
    private readonly context: AsyncResource | undefined,
    readonly query_timeout: number | undefined,
  ) {}

  // pg's Client looks at these of a query, and writes two of them.
  get callback(): Submittable["callback"] {
    return this.inner.callback;
  }
  set callback(callback: Submittable["callback"]) {
    this.inner.callback = callback;
  }
  get binary(): boolean | undefined {
    return this.inner.binary;
  }
  set binary(binary: boolean | undefined) {
    this.inner.binary = binary;
  }
  get _result(): object | undefined {
    return this.inner._result;
  }
  // A ParseComplete that answers our part must not be taken for that of a named statement.
  get name(): string | undefined {
    return this.#ahead > 0 ? undefined : this.inner.name;
  }

  submit(wire: Wire): Error | null | undefined {
    const { inner, link } = this;
    const refusal = this.alone?.() ?? this.refusal();
    if (refusal !== undefined) return refusal;
    this.began = link.status;
    this.text = inner.text ?? "";
    link.submitting = this;
    wire.stream.cork?.();
    try {
      const error = inner.submit(wire);
      if (!(error instanceof Error)) link.begins(this);
      return error;
    } catch (error) {
      link.broken = true; // half of it may have been sent
      throw error;
    } finally {
      link.submitting = undefined;
      wire.stream.uncork?.();
    }
  }

  /** The text with ours in front of it. */
  prefix(text: string): string {
    if (this.#under) return text;
    this.#under = true;
    this.text = text;
    const statements = this.#statements(text, true);
    if (statements.length === 0) return text;
    const prefix = statements.map((statement) => `${statement.text};`).join("");
    this.#ahead = statements.length;
    this.#shift = [...prefix].length;
    return prefix + text;
  }

  /** Sends ours before messages that are about to be sent. */
  precede(send: (statement: Sendable) => void): void {
    if (this.#under) return;
    this.#under = true;
    for (const statement of this.#statements(this.text, false)) {
      send(statement);
      this.#ahead++;
    }
  }

  /** All that is still to come is the server's word that it is ready. */
  get ending(): boolean {
    const { readableEnded, state } = this.inner as { readableEnded?: boolean; state?: string }; // of a stream, of a cursor
    return this.refused || this.last || readableEnded === true || state === "done";
  }

  #statements(text: string, simple: boolean): readonly Sendable[] {
    if (this.alone !== undefined) return nothing;
    const { path, clean } = this.link.needs(this.scope, text, simple);
    this.prefixed = path;
    this.cleans = clean;
    if (!path) return nothing;
    if (this.link.mode === "transaction") return clean ? [discard, ...this.#setPath(simple)] : this.#setPath(simple);
    if (!clean) return this.#setPath(simple);
    return simple
      ? [...resets, { text: `select ${unlock}` }, ...this.link.kept, ...this.#setPath(simple)]
      : [...resets, ...this.link.kept, ...this.#setPath(simple, unlock)];
  }

  // In a text of its own it is no query, which leaves a transaction's isolation level to be chosen still. Else a query is
  // better: its text is the same for all tenants, and outside of a transaction block it gives no warning. Its functions are
  // named with their schema: a search_path that was left over may put others in front.
  #setPath(simple: boolean, also?: string): readonly Sendable[] {
    const { path, role } = this.scope;
    const session = this.link.mode === "session";
    if (simple) {
      const how = session ? "session" : "local";
      const setPath = { text: `set ${how} search_path to ${path}` };
      return role === undefined ? [setPath] : [setPath, { text: `set ${how} role ${identifier(role)}` }];
    }
    const set = (setting: string, place: number) => `pg_catalog.set_config('${setting}', $${place}, ${!session})`;
    const calls = [
      ...(also === undefined ? [] : [also]),
      set("search_path", 1),
      ...(role === undefined ? [] : [set("role", 2)]),
    ];
    return [{ text: `select ${calls.join(", ")}`, values: role === undefined ? [path] : [path, role] }];
  }

  #tell<Arguments extends unknown[]>(handler: ((...args: Arguments) => void) | undefined, ...args: Arguments): void {
    if (handler === undefined) return;
    if (this.context === undefined) handler.apply(this.inner, args);
    else this.context.runInAsyncScope(handler, this.inner, ...args);
  }

  handleRowDescription(message: unknown): void {
    if (this.#ahead === 0) this.#tell(this.inner.handleRowDescription, message);
  }
  handleDataRow(message: unknown): void {
    if (this.#ahead === 0) this.#tell(this.inner.handleDataRow, message);
  }
  handlePortalSuspended(wire: Wire): void {
    this.#tell(this.inner.handlePortalSuspended, wire);
  }
  handleEmptyQuery(wire: Wire): void {
    this.#tell(this.inner.handleEmptyQuery, wire);
  }
  handleCommandComplete(message: { text: string }, wire: Wire): void {
    if (this.#ahead > 0) {
      this.#ahead--;
      return;
    }
    if (message.text === "COMMIT") this.committed = true;
    else if (message.text === "ROLLBACK") this.rolledBack = true;
    this.#tell(this.inner.handleCommandComplete, message, wire);
  }
  handleCopyInResponse(wire: Wire): void {
    this.#tell(this.inner.handleCopyInResponse, wire);
  }
  handleCopyData(message: unknown, wire: Wire): void {
    this.#tell(this.inner.handleCopyData, message, wire);
  }
  handleError(error: unknown, wire: Wire): void {
    const told = error as { severity?: string; position?: string };
    if (told.severity !== undefined) {
      this.refused = true;
      const within = told.position === undefined ? 0 : Number(told.position) - this.#shift;
      if (within > 0) told.position = String(within);
      // Our own part failed, rather than the reading of the whole text: whatever it is, it is no state to go on from.
      else if (this.#ahead > 0) this.link.broken = true;
    }
    this.#tell(this.inner.handleError, error, wire);
  }
  handleReadyForQuery(wire: Wire): void {
    this.#tell(this.inner.handleReadyForQuery, wire);
  }
}

// The server tells a search_path in the words in which it was set, quoted or not.
function normalised(reported: string): string | undefined {
  const name = /\s*(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_]*))\s*(?:,|$)/gy;
  const found = [...reported.matchAll(name)];
  const read = found.reduce((length, [whole]) => length + whole.length, 0);
  if (read !== reported.length) return undefined;
  return searchPath(found.map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? ""));
}
