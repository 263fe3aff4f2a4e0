// Config room: TLS as libpq means it: modes, root certificates, the client's certificate and key.

import { readFileSync, type Stats, statSync } from "node:fs";
import path from "node:path";
import { TenantctlError } from "../errors.js";
import type { Environment } from "./expand.js";
import { homeFolder } from "./home.js";
import type { Parameter, Parameters } from "./parameters.js";

export interface SslSettings {
  mode: SslMode;
  /** PEM text. Where it is there, the server's chain is verified against it in every mode, as libpq does. */
  ca?: string;
  /** Verify against the system's trusted roots. */
  systemCa?: boolean;
  /** The client's certificate and key, PEM text. */
  cert?: string;
  key?: string;
  passphrase?: string;
  /** `direct`: TLS from the first byte, without asking the server (PostgreSQL 17 and newer). */
  negotiation: "postgres" | "direct";
}

const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
export type SslMode = (typeof MODES)[number];

/** Where the PEM texts were read from, for programs that read them themselves. */
export interface SslFiles {
  ca?: string;
  cert?: string;
  key?: string;
}

/** Files that were read, or why the user might have expected that they were. */
type Files<Key extends string> = { [K in Key | "warning"]?: string } & { files?: SslFiles };

/**
 * Settles TLS, and reads the files that it takes.
 *
 * @throws TenantctlError CONFIG_INVALID where libpq would refuse: a mode that verifies without a root certificate, a key that others can read.
 */
export function settleSsl(
  parameters: Parameters,
  env: Environment,
): {
  ssl: SslSettings;
  files?: SslFiles;
  warnings: string[];
} {
  const system = parameters.get("sslrootcert")?.value === "system";
  const mode = oneOf(parameters.get("sslmode"), "sslmode", MODES) ?? (system ? "verify-full" : "prefer");
  const negotiation = oneOf(parameters.get("sslnegotiation"), "sslnegotiation", ["postgres", "direct"]) ?? "postgres";
  const weak = mode === "disable" || mode === "allow" || mode === "prefer";
  if (system && mode !== "verify-full")
    refuse(`sslmode=${mode} is too weak for sslrootcert=system`, "sslmode=verify-full");
  if (weak && negotiation === "direct")
    refuse(`sslmode=${mode} is too weak for sslnegotiation=direct`, "sslmode=require");
  if (mode === "disable") return { ssl: { mode, negotiation }, warnings: [] };
  const root: Files<"ca"> & { systemCa?: true } = system
    ? { systemCa: true }
    : readRoot(parameters.get("sslrootcert"), mode, env);
  const { warning: rootWarning, files: rootFiles, ...ca } = root;
  const { warning: keyWarning, files: clientFiles, ...client } = readClient(parameters, weak, env);
  const passphrase = parameters.get("sslpassword")?.value;
  return {
    ssl: {
      // a root certificate that is there makes `require` verify, for the sake of old configurations
      mode: mode === "require" && ca.ca !== undefined ? "verify-ca" : mode,
      negotiation,
      ...ca,
      ...client,
      ...(passphrase === undefined ? {} : { passphrase }),
    },
    ...(rootFiles || clientFiles ? { files: { ...rootFiles, ...clientFiles } } : {}),
    warnings: [rootWarning, keyWarning].filter((warning) => warning !== undefined),
  };
}

/**
 * The parameter's value, if it is one of these.
 *
 * @throws TenantctlError CONFIG_INVALID if it is another.
 */
export function oneOf<const T extends string>(
  parameter: Parameter | undefined,
  key: string,
  words: readonly T[],
): T | undefined {
  if (parameter === undefined) return undefined;
  const found = words.find((word) => word === parameter.value);
  if (found !== undefined) return found;
  return refuse(`${parameter.from}: ${key} can't be ${JSON.stringify(parameter.value)}`, `one of ${words.join(", ")}`);
}

function readRoot(given: Parameter | undefined, mode: SslMode, env: Environment): Files<"ca"> {
  const file = fileOf(given) ?? path.join(homeFolder(env), ".postgresql", "root.crt");
  if (statsOf(file) !== undefined) return { ca: read(file, "root certificate"), files: { ca: file } };
  if (mode === "verify-ca" || mode === "verify-full") {
    refuse(
      `sslmode=${mode} needs a root certificate, and ${file} does not exist`,
      "name it as sslrootcert, or trust the system's with sslrootcert=system",
    );
  }
  return given === undefined ? {} : { warning: `root certificate ${file} does not exist: the server is not verified` };
}

function readClient(parameters: Parameters, weak: boolean, env: Environment): Files<"cert" | "key"> {
  const home = path.join(homeFolder(env), ".postgresql");
  const certFile = fileOf(parameters.get("sslcert")) ?? path.join(home, "postgresql.crt");
  if (statsOf(certFile) === undefined) return {};
  const keyFile = fileOf(parameters.get("sslkey")) ?? path.join(home, "postgresql.key");
  const wrong = wrongKey(keyFile);
  if (wrong === undefined) {
    const files = { cert: certFile, key: keyFile };
    return { cert: read(certFile, "certificate"), key: read(keyFile, "private key"), files };
  }
  // where TLS may be done without, libpq then does without; we do without the certificate
  if (weak) return { warning: `${wrong}: the client's certificate is not used` };
  return refuse(wrong, `chmod 0600 ${keyFile}`);
}

function wrongKey(file: string): string | undefined {
  const stats = statsOf(file);
  if (stats === undefined) return `private key ${file} does not exist, though its certificate does`;
  if (!stats.isFile()) return `private key ${file} is not a regular file`;
  // root may own it and let a group read it, as systems do that share one key among services
  const open = stats.uid === 0 ? 0o037 : 0o077;
  return (stats.mode & open) === 0 ? undefined : `private key ${file} has group or world access`;
}

function fileOf(parameter: Parameter | undefined): string | undefined {
  return parameter === undefined ? undefined : path.resolve(parameter.folder, parameter.value);
}

function statsOf(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch (error) {
    return refuse(`${file} can't be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function read(file: string, what: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    return refuse(`${what} ${file} can't be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function refuse(message: string, hint = "nothing was touched; mend it where it is said, and try again"): never {
  throw new TenantctlError("CONFIG_INVALID", message, { hint });
}
