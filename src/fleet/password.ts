// The fleet room: a login's password, and what the server keeps of it.

import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { TenantctlError } from "../errors.js";

/** A login's password has at least so many characters. */
export const shortestPassword = 12;

const iterations = 4096;

/**
 * Refuses a password that is too short.
 * @throws TenantctlError USAGE.
 */
export function requirePassword(password: string): void {
  if ([...password].length >= shortestPassword && !password.includes("\0")) return;
  throw new TenantctlError("USAGE", `a login's password needs at least ${shortestPassword} characters`, {
    hint: "for example: openssl rand -base64 24",
  });
}

/**
 * A password as PostgreSQL and libpq prepare it: by SASLprep, or as it is where that forbids it: unassigned or forbidden characters, or a
 * mixture of directions.
 */
export async function preparedPassword(password: string): Promise<string> {
  if (isAscii(password)) return password;
  const { saslprep } = await import("@mongodb-js/saslprep"); // its tables are large
  try {
    return saslprep(password) || password;
  } catch {
    return password;
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: what is ASCII, control characters too, is not prepared
const isAscii = (text: string) => /^[\x00-\x7f]*$/.test(text);

// What node-postgres does with a password, whether SASLprep forbids it or not.
const spaces = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
const nothing = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/g;

/** Whether clients read it otherwise: some prepare also what SASLprep forbids, and then can't log in. */
export function isAmbiguous(password: string, prepared: string): boolean {
  return password.replace(spaces, " ").replace(nothing, "").normalize("NFKC") !== prepared;
}

/** What the server would make of a prepared password itself: so it is in no statement, and in no log. */
export function verifierOf(prepared: string, salt: Buffer = randomBytes(16)): string {
  const salted = pbkdf2Sync(prepared, salt, iterations, 32, "sha256");
  const hmac = (text: string) => createHmac("sha256", salted).update(text).digest();
  const stored = createHash("sha256").update(hmac("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${stored}:${hmac("Server Key").toString("base64")}`;
}
