// The database room: statements that carry their search_path, and their role, with them, so that no connection answers from a schema
// left over.

import type { AsyncResource } from "node:async_hooks";
import type pg from "pg";
import { TenantctlError } from "../errors.js";
import { type Need, type PoolMode, prefixOf, type Scope, type Sendable } from "./prefix.js";
import { literal, searchPath } from "./quote.js";
import { shapeOf } from "./text.js";

export type { PoolMode, Scope } from "./prefix.js";

/** What pg calls a Submittable, with the handlers that its Client calls: a Query, a cursor, a stream. */
export interface Submittable {
  name?: string;
  text?: string;
  callback?: (...result: unknown[]) => void;
  binary?: boolean;
  query_timeout?: number;
  _result?: object;
  /** pg's Query: whether it is sent by the extended protocol. */
  requiresPreparation?(): boolean;
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
  /** Which named statements the server has, as pg keeps them. */
  parsedStatements?: Record<string, string>;
  submittedNamedStatements?: Record<string, string>;
  query(text: string): void;
  parse(message: { text: string }): void;
  bind(message: object): void;
  describe(message: object): void;
  execute(message: object): void;
  sync(): void;
  on(event: string, listener: (message: never) => void): unknown;
  prependListener(event: string, listener: (message: never) => void): unknown;
  once(event: string, listener: () => void): unknown;
  removeListener(event: string, listener: () => void): unknown;
}

const settingsOfSession = `select name, pg_catalog.current_setting(name) as value from pg_catalog.pg_settings
  where source = 'session' and name not in ('search_path', 'role', 'session_authorization')`;

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
  /** In transaction mode, of the transaction that is open: whether it lacks its search_path. */
  #unset = false;
  /** It is not the transaction that began with our search_path. */
  #replaced = false;
  #current: Guarded | undefined;
  /** Why ours failed in front of a statement, for as long as the transaction that it left is open. */
  #failure: Error | undefined;
  /** Whether what is open is a transaction that began with us. */
  #ours = false;
  /** What the server said last of its transaction. */
  #status: string | undefined;
  /** What is being handed to the wire: its first message that says what to run is preceded by ours. */
  submitting: Guarded | undefined;
  /** Not to be used again. */
  broken = false;
  /** Sets again what the application has set in a new session, for every tenant to come. */
  kept: readonly Sendable[] = [];
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
      // A text is read before what stands in front of it is done: nobody else's may be read by these.
      if (readsTexts.has(message.parameterName)) this.broken = true;
    });
    this.#intercept();
    // Before pg's own listener, which hands out the result and sends what comes next.
    this.wire.prependListener("readyForQuery", ({ status }: { status: string }) => {
      this.#status = status;
      this.#ready(status);
    });
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
      if (this.submitting === undefined) query.call(wire, text);
      else this.submitting.sendText(text, (whole) => query.call(wire, whole), send);
    };
    wire.parse = (message) => {
      this.submitting?.precede(send, message.text);
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
    this.kept = calls.length === 0 ? [] : [{ text: `select ${calls.join(", ")}` }];
  }

  /** What must precede a statement of this scope, as things are: `clean` implies `path`. */
  needs(scope: Scope, text: string): Need {
    const idle = this.status === "I";
    if (this.mode === "transaction") {
      if (idle) return { path: true, clean: true, commits: shapeOf(text).opens };
      return { path: this.status === "T" && this.#unset, clean: false, commits: false };
    }
    // In a session what a transaction began with was committed before it, and no rollback brings anything else back.
    if (!idle) return nothingNeeded;
    if (this.changesOwner(scope)) return { path: true, clean: true, commits: !shapeOf(text).plain };
    // No server reports its role, which the last statement may have reset, and none before 18 its search_path.
    if (scope.role === undefined && this.#reported === scope.path) return nothingNeeded;
    return { path: true, clean: false, commits: !shapeOf(text).plain };
  }

  /**
   * Why a text can't be sent. Where no session keeps the search_path, what comes behind a transaction's end has none.
   *
   * @param extended it is sent with values, or as a named statement.
   */
  refusal(text: string, extended: boolean): TenantctlError | undefined {
    // Behind its end the last tenant's search_path is back, and in it nothing is set.
    if (this.#failure !== undefined && !rollsBack.test(text)) return prefixFailed(this.#failure);
    if (this.mode === "session") return undefined;
    const { continues, calls } = shapeOf(text);
    if (continues) {
      return textContinues(
        "the text goes on after the end of its transaction, where it would be nobody's",
        "send what comes after commit or rollback as a text of its own",
      );
    }
    // In a text of its own ours stands in front of it, and forbids it to end the transaction.
    if (!extended || this.status !== "I" || !(calls || text === "")) return undefined;
    return textContinues(
      "a procedure that is called with values could end its transaction, and go on as nobody's",
      "call it in a transaction: tenancy.transaction((client) => client.query(…))",
    );
  }

  /** Whether a session may hold another scope's traces. */
  changesOwner(scope: Scope): boolean {
    return this.mode === "session" && this.status === "I" && this.#owner !== scope.path;
  }

  /** Ours failed: it is no state to go on from. */
  fail(error: Error): void {
    this.broken = true;
    this.#failure = error;
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
    const done = this.#current;
    this.#current = undefined;
    if (status === "I") this.#failure = undefined;
    this.#ours = done !== undefined && status !== "I";
    if (done === undefined) {
      this.#owner = undefined;
      return;
    }
    if (this.mode === "session") {
      // What was committed in front of a statement stays whatever became of it; else it is done with it, or not at all.
      const settled = done.need.commits ? done.prefixDone : status === "I" && !done.refused;
      if (this.#owner !== done.scope.path && began(done))
        this.#owner = done.need.clean && settled ? done.scope.path : undefined;
      return;
    }
    if (status === "I") {
      this.#unset = this.#replaced = false;
      return;
    }
    const ended = done.committed || done.rolledBack;
    if (began(done)) this.#unset = this.#replaced = ended;
    else if (ended && (this.#replaced || done.committed || opensAnother.test(done.text)))
      this.#unset = this.#replaced = true;
    else if (done.need.path && !done.refused) this.#unset = false;
  }
}

const readsTexts = new Set(["standard_conforming_strings", "client_encoding"]);

const rollsBack = /^\s*(?:rollback|abort)(?:\s+(?:work|transaction))?\s*;?\s*$/i;

function prefixFailed(cause: Error): TenantctlError {
  const message = `the connection could not be made the tenant's, so only a rollback is sent: ${cause.message}`;
  return new TenantctlError("TRANSACTION_BROKEN", message, { cause, hint: "roll back, or release the connection" });
}

function textContinues(message: string, hint: string): TenantctlError {
  return new TenantctlError("TEXT_CONTINUES", message, { hint });
}

const nothingNeeded: Need = { path: false, clean: false, commits: false };
const began = (done: Guarded) => done.began === "I";

/**
 * A statement with its search_path in front of it, in the same message or in the same implicit transaction: both are
 * done, or none. What the server answers to the part in front goes no further.
 */
export class Guarded implements Submittable {
  /** What the transaction status was when it was sent. */
  began: string | null = null;
  need: Need = nothingNeeded;
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
    this.text = inner.text ?? wire.parsedStatements?.[inner.name ?? ""] ?? "";
    const refusal =
      this.alone?.() ?? this.refusal() ?? link.refusal(this.text, inner.requiresPreparation?.() ?? this.text !== "");
    if (refusal !== undefined) return refusal;
    this.began = link.status;
    const forget = link.changesOwner(this.scope) ? forgetNamed(wire) : undefined;
    link.submitting = this;
    wire.stream.cork?.();
    try {
      const error = inner.submit(wire);
      if (!(error instanceof Error)) link.begins(this);
      else if (!this.#under) forget?.undo();
      return error;
    } catch (error) {
      link.broken = true; // half of it may have been sent
      throw error;
    } finally {
      link.submitting = undefined;
      wire.stream.uncork?.();
    }
  }

  /** What was sent in front of it was done, whatever became of the rest. */
  get prefixDone(): boolean {
    return this.#under && this.#ahead === 0;
  }

  /** Sends a text with ours in front of it. */
  sendText(text: string, query: (text: string) => void, send: (statement: Sendable) => void): void {
    if (this.#under) {
      query(text);
      return;
    }
    this.text = text;
    const need = this.link.needs(this.scope, text);
    const { wire, mode } = this.link;
    // By this protocol a statement is alone behind a commit, and what others left is gone before it begins.
    const alone = mode === "session" && (need.commits || need.clean) && standsAlone(text);
    const statements = this.#take(need, alone);
    if (!alone || statements.length === 0) {
      const prefix = statements.map((statement) => `${statement.text};`).join("");
      this.#shift = [...prefix].length;
      query(prefix + text);
      return;
    }
    for (const statement of statements) send(statement);
    wire.parse({ text });
    wire.bind({});
    wire.describe({ type: "P" });
    wire.execute({});
    wire.sync();
  }

  /**
   * Sends ours before messages that are about to be sent.
   *
   * @throws TenantctlError TEXT_CONTINUES for a text that only its first message told; nothing was sent.
   */
  precede(send: (statement: Sendable) => void, text = this.text): void {
    if (this.#under) return;
    const refusal = text !== "" && text === this.text ? undefined : this.link.refusal(text, true);
    if (refusal !== undefined) throw refusal;
    this.text = text;
    for (const statement of this.#take(this.link.needs(this.scope, text), true)) send(statement);
  }

  /** All that is still to come is the server's word that it is ready. */
  get ending(): boolean {
    const { readableEnded, state } = this.inner as { readableEnded?: boolean; state?: string }; // of a stream, of a cursor
    return this.refused || this.last || readableEnded === true || state === "done";
  }

  #take(need: Need, extended: boolean): readonly Sendable[] {
    this.#under = true;
    this.need = this.alone === undefined ? need : nothingNeeded;
    const statements = prefixOf(this.need, this.link, this.scope, extended);
    this.#ahead = statements.length;
    return statements;
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
      // Our own part failed, rather than the reading of the whole text, which comes first where it is one.
      if (this.#ahead > 0 && (within <= 0 || this.#shift === 0)) this.link.fail(error as Error);
      else if (within > 0) told.position = String(within);
    }
    this.#tell(this.inner.handleError, error, wire);
  }
  handleReadyForQuery(wire: Wire): void {
    this.#tell(this.inner.handleReadyForQuery, wire);
  }
}

function standsAlone(text: string): boolean {
  const { single, copies } = shapeOf(text);
  return single && !copies;
}

// The server forgets them with all else that was another scope's, so pg must not take them for known.
function forgetNamed(wire: Wire): { undo(): void } {
  const { parsedStatements, submittedNamedStatements } = wire;
  if (parsedStatements !== undefined) wire.parsedStatements = {};
  if (submittedNamedStatements !== undefined) wire.submittedNamedStatements = {};
  return { undo: () => Object.assign(wire, { parsedStatements, submittedNamedStatements }) };
}

// The server tells a search_path in the words in which it was set, quoted or not.
function normalised(reported: string): string | undefined {
  const name = /\s*(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_]*))\s*(?:,|$)/gy;
  const found = [...reported.matchAll(name)];
  const read = found.reduce((length, [whole]) => length + whole.length, 0);
  if (read !== reported.length) return undefined;
  return searchPath(found.map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? ""));
}
