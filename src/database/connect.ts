// The database room: a pool of pg clients for what the config says, with libpq's meaning of sslmode.

import { isAbsolute } from "node:path";
import type { Duplex } from "node:stream";
import type { ConnectionOptions as TlsOptions } from "node:tls";
import pg from "pg";
import type { ServerSettings } from "../config/connection.js";
import { connectError, sqlState } from "./errors.js";
import { nobody } from "./nobody.js";

/** Connections are replaced after this many uses: a backend's catalog cache only grows, and nothing else frees it. */
const usesPerConnection = 200;

export interface PoolOptions {
  /** Startup options, which a pooler may refuse. */
  startup?: string | undefined;
  /** How often a connection is used before it is replaced. */
  maxUses?: number;
  /** When a connection that nobody needs is closed. Default: never. */
  idleTimeoutMs?: number;
}

/**
 * Opens a pool on a server, and its first connection, trying TLS and plain in the order that sslmode asks for.
 * @throws TenantctlError DATABASE_UNREACHABLE or DATABASE_REFUSED.
 */
export async function openPool(
  settings: ServerSettings,
  maxConnections: number,
  options: PoolOptions = {},
): Promise<pg.Pool> {
  const attempts = tlsAttempts(settings);
  const startup = [settings.options, options.startup].filter((text) => text !== undefined).join(" "); // the last one counts
  let told: unknown;
  for (const ssl of attempts) {
    const pool = makePool({ ...clientConfig(settings), options: startup, ssl }, maxConnections, options);
    try {
      (await pool.connect()).release();
      return pool;
    } catch (error) {
      await pool.end();
      // What the server itself says comes before what TLS says; else the last way is the one that got further.
      if (sqlState(told) === undefined) told = error;
      if (!worthTheOther(error)) break;
    }
  }
  throw connectError(told, settings);
}

/** A pool whose connections survive nothing silently: errors reach the query that is under way. */
export function makePool(
  config: pg.PoolConfig,
  maxConnections: number,
  { maxUses = usesPerConnection, idleTimeoutMs = 0 }: PoolOptions = {},
): pg.Pool {
  // The pool's own timeout would also end the wait for a connection that is at work; and what is not given, pg
  // would look up in the environment, where the config has looked already.
  class OurClient extends pg.Client {
    constructor() {
      super({ ...config, client_encoding: "UTF8" });
      Object.assign(parametersOf(this), { options: config.options });
      const { connection } = this as unknown as { connection: { connect(...to: unknown[]): void } };
      const connect = connection.connect;
      connection.connect = (...to) => nobody.runInAsyncScope(connect, connection, ...to);
    }

    // pg leaves a connection open that fails between the two, such as for a password that it lacks. A server waits for it for a minute, and
    // until then drops no database.
    override connect(callback?: unknown): never {
      if (typeof callback !== "function") return super.connect() as never;
      const told = (error: unknown, ...rest: unknown[]) => {
        if (error) streamOf(this).destroy();
        callback(error, ...rest);
      };
      return super.connect(told as never) as never;
    }
  }
  const pool = new pg.Pool({
    ...config,
    connectionTimeoutMillis: 0,
    Client: OurClient,
    max: maxConnections,
    maxUses,
    idleTimeoutMillis: idleTimeoutMs,
  });
  // Without listeners a connection that dies while nobody uses it would end the process; the pool drops it.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

function streamOf(client: pg.Client): Duplex {
  return (client as unknown as { connection: { stream: Duplex } }).connection.stream;
}

function parametersOf(client: pg.Client): object {
  return (client as unknown as { connectionParameters: object }).connectionParameters;
}

function clientConfig(settings: ServerSettings): pg.PoolConfig {
  return {
    host: settings.hostaddr ?? settings.host,
    port: settings.port,
    user: settings.user,
    database: settings.database,
    password: settings.password ?? (() => ""),
    connectionTimeoutMillis: settings.connectTimeoutMs,
    application_name: settings.applicationName,
    enableChannelBinding: settings.channelBinding !== "disable",
    keepAlive: settings.keepAlive,
    keepAliveInitialDelayMillis: settings.keepAliveIdleMs,
    ...(settings.ssl.negotiation === "direct" ? { sslnegotiation: "direct" as const } : {}),
  };
}

function tlsAttempts(settings: ServerSettings): (TlsOptions | false)[] {
  const { ssl } = settings;
  if (isAbsolute(settings.host) || ssl.mode === "disable") return [false];
  const tls: TlsOptions = {
    // A root certificate that is there is heeded in every mode.
    rejectUnauthorized: ssl.mode === "verify-ca" || ssl.mode === "verify-full" || ssl.ca !== undefined,
    // Both are for the check of the certificate's name; the socket is already connected.
    host: settings.host,
    servername: settings.host,
    ...(ssl.ca === undefined ? {} : { ca: ssl.ca }),
    ...(ssl.cert === undefined ? {} : { cert: ssl.cert }),
    ...(ssl.key === undefined ? {} : { key: ssl.key }),
    ...(ssl.passphrase === undefined ? {} : { passphrase: ssl.passphrase }),
    ...(ssl.mode === "verify-full" ? {} : { checkServerIdentity: () => undefined }),
  };
  if (/^[\d.]+$|:/.test(settings.host)) delete tls.servername; // an address is no server name
  if (settings.channelBinding === "require") return [tls]; // there is nothing to bind to without TLS
  if (ssl.mode === "allow") return [false, tls];
  if (ssl.mode === "prefer") return [tls, false];
  return [tls];
}

// The other way of connecting can only help where the server was reached and objected to this one.
function worthTheOther(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) return state === "28000";
  return (
    error instanceof Error &&
    /SSL|TLS|certificate|wrong version number|ECONNRESET|Connection terminated/i.test(error.message)
  );
}
