// Config room: where to connect, settled to the last default, so that no other room looks at the environment.

import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { userInfo } from "node:os";
import path from "node:path";
import { TenantctlError } from "../errors.js";
import type { Environment } from "./expand.js";
import { homeFolder } from "./home.js";
import { type Parameter, type Parameters, settleParameters, unheeded } from "./parameters.js";
import { findPassword } from "./passfile.js";
import { oneOf, type SslFiles, type SslSettings, settleSsl } from "./ssl.js";
import { startupOptions } from "./startup.js";
import { parseDatabaseUrl } from "./url.js";

/** Where the tenants' schemas are. */
export type DatabaseSettings = ServerSettings | EmbeddedSettings;

/** A PostgreSQL server, with the meaning that libpq gives to each setting. */
export interface ServerSettings {
  kind: "server";
  /** A name, an address, or the folder of a socket (it starts with `/` or `@`). */
  host: string;
  /** The address to connect to; `host` is then only the name that the certificate must carry. */
  hostaddr?: string;
  port: number;
  user: string;
  database: string;
  password: string | undefined;
  ssl: SslSettings;
  /** The files that `ssl` was read from, where there are any. */
  files?: SslFiles;
  /** 0 waits for ever, as `connect_timeout=0` does. */
  connectTimeoutMs: number;
  applicationName: string;
  /** Startup options, as PGOPTIONS has them. */
  options?: string;
  /** SCRAM channel binding; `require` must fail where the server does not offer it. */
  channelBinding: "disable" | "prefer" | "require";
  /** TCP keepalives; the first after `keepAliveIdleMs`, 0 being the system's default. */
  keepAlive: boolean;
  keepAliveIdleMs: number;
  /** For messages: `user@host:port/database`, never the password. */
  display: string;
  /** What said so: `--database`, `TENANTCTL_DATABASE_URL`, the config file's name, `DATABASE_URL`, `PGHOST and its like`. */
  source: string;
  /** What the user should know, and libpq would print: a password file that others can read, say. */
  warnings: string[];
}

/** PGlite in this very process. */
export interface EmbeddedSettings {
  kind: "embedded";
  /** Absolute. */
  directory: string;
  display: string;
  source: string;
}

/** A URL, and where it was found. */
export interface DatabaseUrl {
  /** Undefined: the environment's PG* variables say it all. */
  url: string | undefined;
  source: string;
  /** Relative file names in it count from here. */
  folder: string;
}

const EMBEDDED = "pglite:";
const DEFAULT_PORT = 5432;
const DEFAULT_TIMEOUT_S = 10;
const SOCKET_FOLDERS = ["/var/run/postgresql", "/tmp"];

/**
 * Settles where to connect and how, as libpq would: URL, then service, then environment, then defaults.
 *
 * @throws TenantctlError CONFIG_INVALID; its message never has a password in it.
 */
export function settleDatabase({ url, source, folder }: DatabaseUrl, env: Environment, cwd: string): DatabaseSettings {
  if (url?.trim().startsWith(EMBEDDED)) return settleEmbedded(url.trim().slice(EMBEDDED.length), source, folder);
  const fromUrl = url === undefined ? new Map<string, string>() : parseDatabaseUrl(url, source);
  const parameters = settleParameters(fromUrl, { from: source, folder }, env, cwd);
  refuseUnsupported(parameters);
  const port = whole(parameters.get("port"), "port", 1, 65_535) ?? DEFAULT_PORT;
  const { host, hostaddr, socket } = settleHost(parameters, port);
  const user = parameters.get("user")?.value ?? systemUser();
  const database = parameters.get("dbname")?.value ?? user;
  const given = parameters.get("password")?.value;
  const stored = given === undefined ? storedPassword(parameters, env, { host, port, database, user }) : {};
  // TLS is for the network: on a socket libpq ignores every mode
  const { ssl, files, warnings } = socket
    ? { ssl: { mode: "disable", negotiation: "postgres" } satisfies SslSettings, files: undefined, warnings: [] }
    : settleSsl(parameters, env);
  if (ssl.mode === "verify-full" && !parameters.has("host") && hostaddr !== undefined) {
    refuse("sslmode=verify-full needs the name that the certificate must carry", "name the host beside its hostaddr");
  }
  const options = startupOptions(parameters.get("options"));
  const timeout =
    whole(parameters.get("connect_timeout"), "connect_timeout", Number.MIN_SAFE_INTEGER) ?? DEFAULT_TIMEOUT_S;
  return {
    kind: "server",
    host,
    ...(hostaddr === undefined ? {} : { hostaddr }),
    port,
    user,
    database,
    password: given ?? stored.password,
    ssl,
    ...(files === undefined ? {} : { files }),
    connectTimeoutMs: Math.max(0, timeout) * 1000,
    applicationName: parameters.get("application_name")?.value ?? "tenantctl",
    ...(options === undefined ? {} : { options }),
    channelBinding:
      oneOf(parameters.get("channel_binding"), "channel_binding", ["disable", "prefer", "require"]) ?? "prefer",
    keepAlive: whole(parameters.get("keepalives"), "keepalives", 0) !== 0,
    keepAliveIdleMs: (whole(parameters.get("keepalives_idle"), "keepalives_idle", 0) ?? 0) * 1000,
    display: displayed(`${user}@${host.includes(":") ? `[${host}]` : host}:${port}/${database}`),
    source,
    warnings: [...(stored.warning === undefined ? [] : [stored.warning]), ...warnings, ...unheeded(env)],
  };
}

function settleEmbedded(directory: string, source: string, folder: string): EmbeddedSettings {
  if (directory === "") refuse(`${source}: pglite: without a folder`, "pglite:.tenantctl/db");
  return {
    kind: "embedded",
    directory: path.resolve(folder, directory),
    display: displayed(`${EMBEDDED}${directory}`),
    source,
  };
}

function settleHost(parameters: Parameters, port: number): { host: string; hostaddr?: string; socket: boolean } {
  const given = parameters.get("host");
  const address = parameters.get("hostaddr");
  for (const parameter of [given, address]) {
    if (parameter?.value.includes(","))
      refuse(`${parameter.from}: several hosts, tenantctl connects to one`, "name the primary");
  }
  if (address !== undefined) {
    if (isIP(address.value) === 0) refuse(`${address.from}: hostaddr is not an IP address`);
    return { host: given?.value ?? address.value, hostaddr: address.value, socket: false };
  }
  const host =
    given?.value ?? SOCKET_FOLDERS.find((folder) => existsSync(path.join(folder, `.s.PGSQL.${port}`))) ?? "localhost";
  return { host, socket: /^[/@]/.test(host) };
}

function storedPassword(
  parameters: Parameters,
  env: Environment,
  login: { host: string; port: number; database: string; user: string },
): { password?: string; warning?: string } {
  const given = parameters.get("passfile");
  const file = given === undefined ? path.join(homeFolder(env), ".pgpass") : path.resolve(given.folder, given.value);
  return findPassword(file, { ...login, host: SOCKET_FOLDERS.includes(login.host) ? "localhost" : login.host });
}

/** What libpq would do for these, and we can't, must not be passed over. */
function refuseUnsupported(parameters: Parameters): void {
  const only = (key: string, accepted: readonly string[], hint: string) => {
    const parameter = parameters.get(key);
    if (parameter === undefined || accepted.includes(parameter.value.toLowerCase())) return;
    refuse(`${parameter.from}: ${key}=${JSON.stringify(parameter.value)} is not supported`, hint);
  };
  only("target_session_attrs", ["any"], "name the primary as host");
  only("gssencmode", ["disable", "prefer"], "use TLS: sslmode=require");
  only("client_encoding", ["utf8", "utf-8", "unicode", "auto"], "tenantctl speaks UTF-8");
  for (const key of ["keepalives_interval", "keepalives_count"]) whole(parameters.get(key), key, 0); // the system's stay
}

function whole(parameter: Parameter | undefined, key: string, least: number, most = 2_147_483): number | undefined {
  if (parameter === undefined) return undefined;
  const number = /^\s*[+-]?\d+\s*$/.test(parameter.value) ? Number(parameter.value) : Number.NaN;
  if (number >= least && number <= most) return number;
  // no value here: where a URL was misread, it could be a piece of the password
  return refuse(
    `${parameter.from}: ${key} must be a whole number${most === 65_535 ? ` from ${least} to ${most}` : ""}`,
  );
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    throw new TenantctlError("CONFIG_INVALID", "nothing says which database user to connect as", {
      hint: "name one in the URL, or set PGUSER",
      cause: error,
    });
  }
}

function displayed(text: string): string {
  return text.replace(/\p{Cc}/gu, "?");
}

function refuse(message: string, hint = "nothing was touched; mend it where it is said, and try again"): never {
  throw new TenantctlError("CONFIG_INVALID", message, { hint });
}
