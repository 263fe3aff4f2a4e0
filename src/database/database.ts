// The database room: one open database, its connections handed out and taken back.

import type pg from "pg";
import type { DatabaseSettings } from "../config/connection.js";
import { TenantctlError } from "../errors.js";
import { cancelStatement } from "./cancel.js";
import { askCapabilities, type Capabilities } from "./capabilities.js";
import { makePool, openPool, type PoolOptions } from "./connect.js";
import { openEmbedded } from "./embedded.js";
import { connectError, isConnectionLost, sqlState } from "./errors.js";
import { type Onlooker, onlookerOn } from "./onlooker.js";

/** A connection while it is ours. */
export type Client = pg.ClientBase;

export interface Database {
  /** Where it is, for messages: never with a password. */
  readonly display: string;
  readonly capabilities: Capabilities;
  /** Runs `fn` on a connection of the pool. The connection is closed, not returned, when `fn` throws. */
  withClient<T>(fn: (client: Client) => Promise<T>): Promise<T>;
  /**
   * Runs `fn` on a connection of its own, a real session, which is closed afterwards: on `directDatabase` where there is one.
   * @throws TenantctlError NEEDS_SESSION when there is only a transaction pooler.
   */
  withSession<T>(fn: (client: Client) => Promise<T>): Promise<T>;
  /** Whether `withSession` can work: false behind a transaction pooler without a `directDatabase`. */
  hasSession(): Promise<boolean>;
  /**
   * A connection beside the pool, one for all who ask; opened at the first call, on `directDatabase` where there is one.
   * @returns undefined where there is none to be had: behind a pooler, which may have no other for as long as a transaction is open;
   * in the embedded database; on a server that refuses one more.
   */
  onlooker(): Promise<Onlooker | undefined>;
  /**
   * Cancels the statements under way, and those that come after them on the same connections, until `fn` there ends.
   * @returns false where nothing can be cancelled: in the embedded database.
   */
  interrupt(): boolean;
  close(): Promise<void>;
}

// A statement may have ended just before it was to be cancelled, and the next one of its transaction begun.
const cancelAgainMs = 200;

export interface DatabaseOptions {
  /** A way past the transaction pooler, for what needs a session. */
  direct?: DatabaseSettings | undefined;
  /** How many connections the pool may open. */
  maxConnections: number;
}

/**
 * Opens a database and asks what it can do.
 * @throws TenantctlError DATABASE_UNREACHABLE, DATABASE_REFUSED or DATABASE_LOCKED.
 */
export async function openDatabase(settings: DatabaseSettings, options: DatabaseOptions): Promise<Database> {
  const { pool, limit, closeServer } = await openConnections(settings, options.maxConnections);
  const underWay = new Set<{ client: Client; interrupted: boolean }>();
  let direct: Promise<Database> | undefined;
  let session: Promise<boolean> | undefined;
  let onlooker: Promise<Onlooker | undefined> | undefined;
  const openDirect = (to: DatabaseSettings) =>
    (direct ??= openDatabase(to, { maxConnections: options.maxConnections }));

  async function withClient<T>(fn: (client: Client) => Promise<T>, keep = true): Promise<T> {
    const client = await pool.connect().catch((error: unknown) => {
      throw connectError(error, settings);
    });
    const use = { client, interrupted: false };
    underWay.add(use);
    let ok = false;
    try {
      const result = await fn(client);
      ok = true;
      return result;
    } catch (error) {
      // What nobody above took for a tenant's failure is the server's refusal of something of ours.
      throw sqlState(error) !== undefined || isConnectionLost(error) ? connectError(error, settings) : error;
    } finally {
      underWay.delete(use);
      client.release(!(ok && keep) || use.interrupted);
    }
  }

  function interrupt(): boolean {
    if (settings.kind === "embedded") return false;
    const uses = [...underWay];
    for (const use of uses) use.interrupted = true;
    const again = () => {
      const left = uses.filter((use) => underWay.has(use));
      if (left.length === 0) clearInterval(timer);
      for (const { client } of left) void cancelStatement(client);
    };
    const timer = setInterval(again, cancelAgainMs);
    again();
    void direct?.then((database) => database.interrupt()).catch(() => {}); // who opened it is told
    return true;
  }

  // Who needs it does without it: what keeps it from being opened will show elsewhere.
  async function openBeside(): Promise<Onlooker | undefined> {
    const pool = await openProbe(options.direct ?? settings).catch(() => undefined);
    if (pool === undefined) return undefined;
    if (await showsProbe(pool).catch(() => false)) return onlookerOn(pool);
    await pool.end();
    return undefined;
  }

  async function close() {
    await (await direct)?.close();
    await (await onlooker)?.close();
    await pool.end();
    await closeServer();
  }

  const hasSession = () =>
    (session ??= settings.kind === "embedded" || options.direct ? Promise.resolve(true) : keepsSessions(settings));

  try {
    const capabilities = await withClient((client) => askCapabilities(client, limit));
    return {
      display: settings.display,
      capabilities,
      withClient,
      hasSession,
      async onlooker() {
        if (!capabilities.secondConnection) return undefined;
        onlooker ??= openBeside();
        return await onlooker;
      },
      async withSession(fn) {
        if (options.direct) return await (await openDirect(options.direct)).withSession(fn);
        if (!(await hasSession())) {
          throw new TenantctlError(
            "NEEDS_SESSION",
            `a session of its own is needed, and ${settings.display} is a transaction pooler`,
            {
              hint: 'set "directDatabase" in the config to the server\'s own address',
            },
          );
        }
        return await withClient(fn, false);
      },
      interrupt,
      close,
    };
  } catch (error) {
    await close();
    throw connectError(error, settings);
  }
}

/** Opens the connections themselves. */
export async function openConnections(settings: DatabaseSettings, maxConnections: number, options: PoolOptions = {}) {
  if (settings.kind === "server") {
    return {
      pool: await openPool(settings, maxConnections, options),
      limit: Number.POSITIVE_INFINITY,
      closeServer: async () => {},
    };
  }
  const embedded = await openEmbedded(settings);
  const pool = makePool(
    { stream: embedded.stream as never, user: "postgres", database: "postgres", password: "", ssl: false },
    1,
    options,
  );
  return { pool, limit: 1, closeServer: embedded.close };
}

/** Whether a connection is a session: a server shows a custom setting that was sent at startup, a pooler refuses it or drops it. */
export async function keepsSessions(settings: DatabaseSettings): Promise<boolean> {
  const pool = await openProbe(settings);
  if (pool === undefined) return false;
  try {
    return await showsProbe(pool);
  } finally {
    await pool.end();
  }
}

async function showsProbe(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query<{ probe: string | null }>(
    "select current_setting('tenantctl.probe', true) as probe",
  );
  return rows[0]?.probe === "1";
}

async function openProbe(settings: DatabaseSettings): Promise<pg.Pool | undefined> {
  if (settings.kind === "embedded") return undefined;
  try {
    return await openPool(settings, 1, { startup: "-c tenantctl.probe=1" });
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    if (sqlState(cause) !== undefined) return undefined;
    throw error;
  }
}
