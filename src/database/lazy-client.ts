// The database room: a client that looks like pg's and has a connection only while it needs one, for ORMs that want clients of their own.

import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
import { EventEmitter } from "node:events";
import pg from "pg";
import { TenantctlError } from "../errors.js";
import { isBusy } from "./checkout.js";
import { isSubmittable } from "./envelope.js";

type Callback = (error?: unknown, result?: unknown) => void;
type Arguments = [config: unknown, values?: unknown, callback?: unknown];

/** An option of a pool that hands out clients in the context of whoever asked. */
export const keepsContext = Symbol("keepsContext");

/** Of code that began where a pool handed a client out: which time that was. */
const handedOut = new AsyncLocalStorage<object>();

interface Config {
  types?: pg.CustomTypesConfig;
  /** A pool passes its own options, this among them. */
  Client?: unknown;
  [keepsContext]?: boolean;
}

/**
 * Connects at its first statement, for the tenant that is current then, and gives the connection back when nothing is under way and
 * no transaction is open. So what a session keeps (SET, LISTEN, temporary tables) lasts no longer than a transaction.
 */
export class LazyClient extends EventEmitter {
  /** Some listen to it for what a server says at the beginning. */
  readonly connection = new EventEmitter();
  // pools look at these
  _ending = false;
  _queryable = true;
  readonly #take: () => Promise<pg.PoolClient>;
  readonly #types: pg.TypeOverrides;
  readonly #losesContext: boolean;
  #handOut: object | undefined;
  #release: unknown;
  #current: pg.PoolClient | undefined;
  #taking: Promise<pg.PoolClient> | undefined;
  #asking = 0;

  /** @param config what pg's Client takes; only its `types` matter. */
  constructor(take: () => Promise<pg.PoolClient>, config: Config = {}) {
    super();
    this.#take = take;
    this.#types = new pg.TypeOverrides(config.types);
    this.#losesContext = config.Client !== undefined && config[keepsContext] !== true;
  }

  /** Does nothing yet. */
  connect(callback?: Callback): Promise<this> | undefined {
    if (callback === undefined) return Promise.resolve(this);
    process.nextTick(callback, undefined, this);
    return undefined;
  }

  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    if (config === undefined || config === null) throw new TypeError("Client was passed a null or undefined query");
    if (isSubmittable(config)) {
      this.#ask([config, values, callback]).catch((error) => config.handleError(error, undefined as never));
      return config;
    }
    const typed = { types: this.#types, ...(typeof config === "string" ? { text: config } : config) };
    const { callback: own, ...statement } = typed as { callback?: unknown };
    const told = [callback, values, own].find((each) => typeof each === "function");
    const result = this.#ask([statement, ...(typeof values === "function" ? [] : [values])] as Arguments);
    if (told === undefined) return result;
    const tell = AsyncResource.bind(told as Callback);
    result.then(
      (found) => process.nextTick(tell, null, found), // what it throws is its own
      (error) => process.nextTick(tell, error),
    );
    return undefined;
  }

  /** Nothing is sent any more. A transaction that is open is rolled back with its connection. */
  end(callback?: Callback): Promise<void> | undefined {
    this._ending = true;
    const current = this.#current;
    if (current !== undefined) this.#leave(isBusy(current) || current.getTransactionStatus() !== "I");
    process.nextTick(() => this.emit("end"));
    if (callback === undefined) return Promise.resolve();
    process.nextTick(callback);
    return undefined;
  }

  getTransactionStatus(): string | null {
    return this.#current?.getTransactionStatus() ?? "I";
  }
  get processID(): number | null {
    return (this.#current as { processID?: number } | undefined)?.processID ?? null;
  }
  setTypeParser(...args: Parameters<pg.TypeOverrides["setTypeParser"]>): void {
    this.#types.setTypeParser(...args);
  }
  getTypeParser(...args: Parameters<pg.TypeOverrides["getTypeParser"]>): unknown {
    return this.#types.getTypeParser(...args);
  }
  escapeIdentifier(name: string): string {
    return pg.escapeIdentifier(name);
  }
  escapeLiteral(text: string): string {
    return pg.escapeLiteral(text);
  }
  ref(): void {}
  unref(): void {}

  get release(): unknown {
    return this.#release;
  }
  /**
   * A pool sets it when it hands the client out, maybe in the context of whoever gave it back last. Its callback, and all that this starts,
   * is told by a mark from whoever awaits the client in a context of their own.
   */
  set release(release: unknown) {
    this.#release = release;
    if (!this.#losesContext) return;
    this.#handOut = {};
    handedOut.enterWith(this.#handOut);
  }

  async #ask(args: Arguments): Promise<unknown> {
    if (this._ending) throw new Error("Client was closed and is not queryable");
    if (!this._queryable) throw new Error("Client has encountered a connection error and is not queryable");
    if (this.#handOut !== undefined && handedOut.getStore() === this.#handOut) throw inAnothersName();
    this.#asking++;
    try {
      const client = this.#current ?? (await this.#taken());
      return await (client.query as (...args: Arguments) => unknown)(...args);
    } finally {
      this.#asking--;
      this.#leaveIfIdle();
    }
  }

  #taken(): Promise<pg.PoolClient> {
    this.#taking ??= this.#begin();
    return this.#taking;
  }

  async #begin(): Promise<pg.PoolClient> {
    try {
      const client = await this.#take();
      this.#current = client;
      client.on("drain", this.#leaveIfIdle).on("error", this.#lose);
      client.on("notice", this.#notice).on("notification", this.#notify);
      return client;
    } finally {
      this.#taking = undefined;
    }
  }

  readonly #notice = (notice: unknown) => this.emit("notice", notice);
  readonly #notify = (message: unknown) => this.emit("notification", message);

  // What is under way there hears of it. A transaction must not go on elsewhere as if nothing had happened.
  readonly #lose = (error: Error) => {
    const { _ending, _queryable } = this;
    const open = this.getTransactionStatus() !== "I";
    this.#leave(true);
    if (!open || _ending || !_queryable) return;
    this._queryable = false;
    if (this.listenerCount("error") > 0) this.emit("error", error); // the next statement says it in any case
  };

  readonly #leaveIfIdle = () => {
    const current = this.#current;
    if (current === undefined || this.#asking > 0 || isBusy(current) || current.getTransactionStatus() !== "I") return;
    this.#leave(false);
  };

  #leave(broken: boolean): void {
    const current = this.#current;
    if (current === undefined) return;
    this.#current = undefined;
    current.off("drain", this.#leaveIfIdle).off("error", this.#lose);
    current.off("notice", this.#notice).off("notification", this.#notify);
    current.release(broken);
  }
}

function inAnothersName(): TenantctlError {
  return new TenantctlError("NO_TENANT", "a pool of pg gave its client to a query in another caller's context", {
    hint: "query tenancy.pool, or take the Pool of tenancy.driver",
  });
}
