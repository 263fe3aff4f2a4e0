// Config room: what a program must find in its environment to reach the database that the config means; connection.ts the other way round.

import type { ServerSettings } from "./connection.js";
import type { Environment } from "./expand.js";

/** Whose program it is. */
export interface ChildTenant {
  name: string;
  schema: string;
  /** The search_path that it gets, quoted as SQL. */
  searchPath: string;
  /** The role that it is to take on, where each tenant has one. */
  role?: string | undefined;
}

/** Each of them could lead a program to another database, or to another server's password: set by us, or not at all. */
const OURS = [
  "PGHOST",
  "PGHOSTADDR",
  "PGPORT",
  "PGDATABASE",
  "PGUSER",
  "PGPASSWORD",
  "PGPASSFILE",
  "PGSERVICE",
  "PGSERVICEFILE",
  "PGOPTIONS",
  "PGAPPNAME",
  "PGSSLMODE",
  "PGSSLROOTCERT",
  "PGSSLCERT",
  "PGSSLKEY",
  "PGSSLNEGOTIATION",
  "PGCHANNELBINDING",
  "PGCONNECT_TIMEOUT",
  "PGTARGETSESSIONATTRS",
  "DATABASE_URL",
  "TENANTCTL_DATABASE_URL",
];

/**
 * The environment of a tenant's program: the parent's, but for what says where to connect. libpq (psql, pg_dump, psycopg), Node's
 * pg and whatever reads DATABASE_URL then land in the tenant's schema. The parent's is not changed.
 */
export function childEnvironment(settings: ServerSettings, tenant: ChildTenant, parent: Environment): Environment {
  const { ssl, files = {}, password } = settings;
  const role = tenant.role === undefined ? "" : ` -c role=${escapedOption(tenant.role)}`;
  const given = settings.options === undefined ? "" : `${settings.options} `;
  const options = `${given}-c search_path=${escapedOption(tenant.searchPath)}${role}`;
  const ours: Environment = {
    TENANT: tenant.name,
    TENANT_SCHEMA: tenant.schema,
    ...addressOf(settings),
    PGPORT: String(settings.port),
    PGDATABASE: settings.database,
    PGUSER: settings.user,
    PGPASSWORD: password,
    PGOPTIONS: options,
    PGAPPNAME: settings.applicationName === "tenantctl" ? undefined : settings.applicationName,
    PGCONNECT_TIMEOUT: String(Math.ceil(settings.connectTimeoutMs / 1000)),
    // `prefer` is libpq's default; said aloud, Node's pg would insist on TLS.
    PGSSLMODE: ssl.mode === "prefer" ? undefined : ssl.mode,
    PGSSLROOTCERT: ssl.systemCa ? "system" : files.ca,
    PGSSLCERT: files.cert,
    PGSSLKEY: files.key,
    PGSSLNEGOTIATION: ssl.negotiation === "direct" ? "direct" : undefined,
    PGCHANNELBINDING: settings.channelBinding === "prefer" ? undefined : settings.channelBinding,
    DATABASE_URL: urlOf(settings, options),
    // For tenantctl itself, which sets the search_path anew, and would else read the config's database.
    TENANTCTL_DATABASE_URL: urlOf(settings, settings.options),
  };
  const kept = Object.entries(parent).filter(([name]) => !OURS.includes(name));
  const set = Object.entries(ours).filter(([, value]) => value !== undefined);
  return Object.fromEntries([...kept, ...set]);
}

// Node's pg knows no PGHOSTADDR: unless the certificate's name is needed, the address alone says where.
function addressOf({ host, hostaddr, ssl }: ServerSettings): { PGHOST: string; PGHOSTADDR?: string } {
  if (hostaddr === undefined) return { PGHOST: host };
  return ssl.mode === "verify-full" ? { PGHOST: host, PGHOSTADDR: hostaddr } : { PGHOST: hostaddr };
}

/** The server splits `options` at white space; a backslash takes the next character as it is. */
function escapedOption(text: string): string {
  return text.replace(/[\s\\]/g, "\\$&");
}

// Only parameters that libpq of any age and Node's pg both take in a URL; the rest is in the variables, which both read besides.
function urlOf(settings: ServerSettings, options?: string): string {
  const { ssl, files = {}, port, user, password, database } = settings;
  const host = addressOf(settings).PGHOST;
  const socket = /^[/@]/.test(host);
  const login = `${encodeURIComponent(user)}${password === undefined ? "" : `:${encodeURIComponent(password)}`}`;
  const place = socket ? "" : `${host.includes(":") ? `[${host}]` : encodeURIComponent(host)}:${port}`;
  const query = Object.entries({
    ...(socket ? { host, port: String(port) } : {}),
    sslmode: ssl.mode === "prefer" ? undefined : ssl.mode,
    sslrootcert: files.ca,
    sslcert: files.cert,
    sslkey: files.key,
    sslpassword: ssl.passphrase,
    options,
  }).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${encodeURIComponent(value)}`]));
  const parameters = query.length === 0 ? "" : `?${query.join("&")}`;
  return `postgresql://${login}@${place}/${encodeURIComponent(database)}${parameters}`;
}
