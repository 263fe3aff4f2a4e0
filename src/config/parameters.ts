// Config room: libpq's connection parameters and where each may come from: URL, service file, environment.

import { readFileSync } from "node:fs";
import path from "node:path";
import { TenantctlError } from "../errors.js";
import type { Environment } from "./expand.js";
import { homeFolder } from "./home.js";
import { nearest } from "./nearest.js";

/** A value, and what gave it. */
export interface Parameter {
  value: string;
  /** For messages. */
  from: string;
  /** Relative file names count from here. */
  folder: string;
}

export type Parameters = ReadonlyMap<string, Parameter>;

/** Every parameter that we know, with the variable that fills it in when nothing else does. */
const VARIABLES: Record<string, string | undefined> = {
  host: "PGHOST",
  hostaddr: "PGHOSTADDR",
  port: "PGPORT",
  user: "PGUSER",
  password: "PGPASSWORD",
  dbname: "PGDATABASE",
  sslmode: "PGSSLMODE",
  sslrootcert: "PGSSLROOTCERT",
  sslcert: "PGSSLCERT",
  sslkey: "PGSSLKEY",
  sslpassword: undefined,
  sslnegotiation: "PGSSLNEGOTIATION",
  connect_timeout: "PGCONNECT_TIMEOUT",
  application_name: "PGAPPNAME",
  passfile: "PGPASSFILE",
  service: "PGSERVICE",
  target_session_attrs: "PGTARGETSESSIONATTRS",
  channel_binding: "PGCHANNELBINDING",
  gssencmode: "PGGSSENCMODE",
  client_encoding: undefined,
  keepalives: undefined,
  keepalives_idle: undefined,
  keepalives_interval: undefined,
  keepalives_count: undefined,
  options: undefined,
};

/** Any of these alone says where to connect. */
const LOCATING = ["PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"];

/** They would make a connection stricter, and can't here: the user should know. */
const UNHEEDED = [
  "PGREQUIREAUTH",
  "PGREQUIREPEER",
  "PGREQUIRESSL",
  "PGSSLCRL",
  "PGSSLCRLDIR",
  "PGSSLMINPROTOCOLVERSION",
  "PGSSLMAXPROTOCOLVERSION",
];

/** Does the environment say where to connect, if nothing else does? */
export function environmentLocates(env: Environment): boolean {
  return LOCATING.some((name) => isSet(env[name]));
}

/** A warning for each variable that libpq would obey and we don't. */
export function unheeded(env: Environment): string[] {
  return UNHEEDED.filter((name) => isSet(env[name])).map((name) => `${name} is not supported and has no effect`);
}

/**
 * What the URL says, completed as libpq does: by the service that it or PGSERVICE names, then by the environment.
 *
 * @throws TenantctlError CONFIG_INVALID for a parameter that we don't know, and for a service that is nowhere defined.
 */
export function settleParameters(
  fromUrl: ReadonlyMap<string, string>,
  origin: Omit<Parameter, "value">,
  env: Environment,
  cwd: string,
): Parameters {
  const settled = new Map<string, Parameter>();
  for (const [key, value] of fromUrl) {
    refuseUnknown(key, origin.from);
    settled.set(key, { value, ...origin });
  }
  const service = settled.get("service")?.value ?? env.PGSERVICE;
  if (isSet(service)) {
    for (const [key, parameter] of readService(service, env, cwd)) if (!settled.has(key)) settled.set(key, parameter);
  }
  for (const [key, variable] of Object.entries(VARIABLES)) {
    const value = variable === undefined ? undefined : env[variable];
    if (variable !== undefined && isSet(value) && !settled.has(key))
      settled.set(key, { value, from: variable, folder: cwd });
  }
  return settled;
}

/** The service's parameters, from the first file that has it: the user's, then the system's. */
function readService(service: string, env: Environment, cwd: string): Map<string, Parameter> {
  const own = env.PGSERVICEFILE || path.join(homeFolder(env), ".pg_service.conf");
  const system = env.PGSYSCONFDIR ? [env.PGSYSCONFDIR] : ["/etc/postgresql-common", "/etc/sysconfig/pgsql"];
  const files = [path.resolve(cwd, own), ...system.map((folder) => path.resolve(cwd, folder, "pg_service.conf"))];
  for (const file of files) {
    const found = readServiceFile(file, service, file === files[0] && isSet(env.PGSERVICEFILE), cwd);
    if (found !== undefined) return found;
  }
  throw new TenantctlError("CONFIG_INVALID", `no service ${JSON.stringify(service)} (${files.join(", ")})`, {
    hint: "PGSERVICE or service= names it; PGSERVICEFILE says where it is",
  });
}

function readServiceFile(
  file: string,
  service: string,
  required: boolean,
  cwd: string,
): Map<string, Parameter> | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!required && (code === "ENOENT" || code === "ENOTDIR")) return undefined;
    throw new TenantctlError("CONFIG_INVALID", `service file ${file} can't be read: ${code}`, {
      hint: "PGSERVICEFILE says which one is read",
      cause: error,
    });
  }
  let found: Map<string, Parameter> | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const bare = line.trim();
    if (bare === "" || bare.startsWith("#")) continue;
    if (bare.startsWith("[")) {
      if (found !== undefined) break; // a second section of the same name counts for nothing
      if (bare.startsWith(`[${service}]`)) found = new Map();
      continue;
    }
    if (found === undefined) continue;
    const [, key, value] = /^([^=]*)=(.*)$/s.exec(bare) ?? [];
    const from = `${file}:${index + 1}`;
    if (key === undefined || value === undefined) throw new TenantctlError("CONFIG_INVALID", `${from}: not key=value`);
    if (key === "service") throw new TenantctlError("CONFIG_INVALID", `${from}: a service can't name another`);
    refuseUnknown(key, from);
    if (!found.has(key) && value !== "") found.set(key, { value, from, folder: cwd });
  }
  return found;
}

function refuseUnknown(key: string, from: string): void {
  if (Object.hasOwn(VARIABLES, key)) return;
  const meant = nearest(key, Object.keys(VARIABLES));
  const hint = meant === undefined ? "those of libpq are known, but for a few" : `did you mean ${meant}?`;
  throw new TenantctlError("CONFIG_INVALID", `${from}: unknown connection parameter ${JSON.stringify(key)}`, { hint });
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== "";
}
