// Registry room: which names tenants, schemas and hosts may have. Refused, never truncated, never guessed.

import { isIP, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import { TenantctlError } from "../errors.js";

/**
 * PostgreSQL cuts longer identifiers short, silently. Bytes, not characters.
 *
 * @public
 */
export const MAX_IDENTIFIER_BYTES = 63;

const TENANT_HINT =
  "a letter or digit, then letters, digits, _, . and -, at most 63 bytes; --schema names a schema of another form";
// Most names are, and a fleet has many.
const plainName = /^(?!pg_)[a-z0-9][a-z0-9_.-]{0,62}$/;
const RESERVED = new Set(["public", "information_schema", "tenantctl"]);

/**
 * Is this a name for a tenant?
 *
 * @throws TenantctlError NAME_INVALID with the reason.
 */
export function checkTenantName(name: string): void {
  if (isPlainName(name)) return;
  const refuse = (reason: string) => refuseName("tenant name", name, reason, TENANT_HINT);
  checkLength(name, refuse);
  if (!/^[\p{L}\p{N}]/u.test(name)) refuse("must start with a letter or digit");
  const wrong = /[^\p{L}\p{N}_.-]/u.exec(name)?.[0];
  if (wrong !== undefined) refuse(`must not contain ${shown(wrong)}`);
  checkReserved(name, refuse);
}

/** Is this one of the names that nearly all tenants have, and right without a closer look? */
export function isPlainName(name: string): boolean {
  return plainName.test(name) && !RESERVED.has(name);
}

/**
 * Is this a name for a schema that somebody chose by hand?
 *
 * @throws TenantctlError NAME_INVALID with the reason.
 */
export function checkSchemaName(schema: string): void {
  const refuse = (reason: string) =>
    refuseName(
      "schema name",
      schema,
      reason,
      "any identifier of 1 to 63 bytes that PostgreSQL does not keep for itself",
    );
  checkIdentifier("schema name", schema);
  checkReserved(schema, refuse);
}

/**
 * Could PostgreSQL take this name as it is, if quoted? For roles and shared schemas, which may be reserved ones.
 *
 * @throws TenantctlError NAME_INVALID with the reason.
 */
export function checkIdentifier(what: string, name: string): void {
  const refuse = (reason: string) => refuseName(what, name, reason, "any identifier of 1 to 63 bytes");
  checkLength(name, refuse);
  if (name.includes("\0")) refuse("must not contain a NUL character");
  if (/\p{Surrogate}/u.test(name)) refuse("has half of a surrogate pair, which UTF-8 can't carry");
  // in a search_path it means the current role's schema, even quoted
  if (name === "$user") refuse("has a meaning of its own in search_path");
}

/**
 * Is this a host that a request could ask for? `*.polls.local` stands for any one label.
 *
 * @returns the host as it is kept: in lower case, an IPv6 address in its shortest form.
 * @throws TenantctlError NAME_INVALID with the reason.
 */
export function checkHost(host: string): string {
  const refuse = (reason: string, hint = "a host name or an IP address, without scheme, port and path") =>
    refuseName("host", host, reason, hint);
  if (host === "") refuse("is empty");
  const kept = foldHost(host);
  if (isIP(kept) !== 0) return kept;
  if (/^\[.*\]$/.test(kept)) refuse("has brackets", "an IPv6 address is written without them");
  if (/^[^:]+:\d*$/.test(kept)) refuse("has a port");
  if (kept.endsWith(".")) refuse("ends in a dot");
  if (/[^\x20-\x7e]/.test(kept)) refuse("is not in ASCII", asciiHint(kept));
  const labels = kept.replace(/^\*\./, "").split(".");
  const wrong = labels.find((label) => !/^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/.test(label));
  if (wrong !== undefined)
    refuse(wrong === "" ? "has an empty label" : `has a label that no host can have, ${shown(wrong)}`);
  if (kept.length > 253 || labels.some((label) => label.length > 63)) refuse("is too long");
  if (/^[\d.]+$/.test(kept)) refuse("is neither a name nor an IP address");
  return kept;
}

/** A host as it is kept and compared: in lower case, an IPv6 address in its shortest form. */
export function foldHost(host: string): string {
  const lower = host.toLowerCase();
  return isIPv6(lower) && !lower.includes("%") ? new URL(`http://[${lower}]`).hostname.slice(1, -1) : lower;
}

/** A name in a message: quoted, control characters and lone surrogates escaped, so that no terminal obeys it. */
export function shown(name: string): string {
  return JSON.stringify(name).replace(/[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function checkLength(name: string, refuse: (reason: string) => never): void {
  if (name === "") refuse("is empty");
  const bytes = Buffer.byteLength(name);
  if (bytes > MAX_IDENTIFIER_BYTES) refuse(`has ${bytes} bytes, ${MAX_IDENTIFIER_BYTES} are allowed`);
}

function checkReserved(name: string, refuse: (reason: string) => never): void {
  if (RESERVED.has(name)) refuse("is reserved");
  if (name.startsWith("pg_")) refuse("starts with pg_, which PostgreSQL keeps for itself");
}

function refuseName(what: string, name: string, reason: string, hint: string): never {
  throw new TenantctlError("NAME_INVALID", `${what} ${shown(name)} ${reason}`, { hint });
}

function asciiHint(host: string): string | undefined {
  const ascii = domainToASCII(host);
  return ascii === "" ? undefined : `write it as browsers send it: ${ascii}`;
}
