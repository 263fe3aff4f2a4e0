// The database room: what a failure of the server or of the network means to us.

import type { DatabaseSettings } from "../config/connection.js";
import { TenantctlError } from "../errors.js";

/** The SQLSTATE of an error that the server reported, undefined for any other error. */
export function sqlState(error: unknown): string | undefined {
  const code = property(error, "code");
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && property(error, "severity") !== undefined
    ? code
    : undefined;
}

/** A text field of a server's error (detail, hint, schema, table …), where it has one. */
export function errorField(error: unknown, field: "detail" | "hint" | "where" | "position"): string | undefined {
  const value = property(error, field);
  return typeof value === "string" && value !== "" ? value : undefined;
}

/**
 * Whether a refusal may be about several statements having shared a message, and not about any of them. A syntax error of a
 * text's own has a position; a server that hands statements on to others may say it with XX000.
 */
export function wantsOneStatement(error: unknown): boolean {
  return ["42601", "XX000"].includes(sqlState(error) ?? "") && errorField(error, "position") === undefined;
}

/** Whether the connection is gone, so that nobody can tell whether the last thing sent was done. */
export function isConnectionLost(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined)
    return state.startsWith("08") || ["57P01", "57P02", "57P03", "25P03", "57P05"].includes(state);
  const code = property(error, "code");
  if (typeof code === "string" && ["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNREFUSED", "EHOSTUNREACH"].includes(code))
    return true;
  return (
    error instanceof Error &&
    /^(Connection terminated|Client has encountered a connection error|Client was closed)/.test(error.message)
  );
}

/** A failure to connect, as an error for the user: which server, why, and what to look at. Never the password. */
export function connectError(error: unknown, settings: DatabaseSettings): TenantctlError {
  if (error instanceof TenantctlError) return error;
  const at = `${settings.display}, from ${settings.source}`;
  const state = sqlState(error);
  const message = error instanceof Error ? error.message : String(error);
  const refusal = (text: string, hint: string) =>
    new TenantctlError("DATABASE_REFUSED", `${text} (${at})`, { hint, cause: error });
  if (state === "28P01" || /SASL|password must be a/.test(message)) {
    const missing = settings.kind === "server" && settings.password === undefined;
    return refusal(
      missing ? "the server asks for a password and none was given" : "the server refuses the user name or password",
      "set it in the URL, in PGPASSWORD or in the password file (~/.pgpass)",
    );
  }
  if (state === "28000")
    return refusal(message, "see pg_hba.conf on the server: user, database, address and TLS must be allowed");
  if (state === "3D000") return refusal(message, "create it first: createdb, or create database …");
  if (state === "42501")
    return refusal(message, "the role that we connect as lacks a right: grant it, or connect as the owner");
  if (state === "55P03")
    return refusal(message, "somebody holds a lock on what we look at: try again; pg_locks tells who");
  if (state === "53300") return refusal(message, "lower --concurrency, or raise max_connections");
  if (state === "57P03") return refusal(message, "the server is starting up or shutting down: try again");
  if (state === "08P01")
    return refusal(
      message,
      "the pooler refuses what we sent at startup: leave options out of the URL, or give the server's own address",
    );
  if (state !== undefined) return refusal(message, "see the server's log");
  return new TenantctlError(
    "DATABASE_UNREACHABLE",
    `can't reach the database: ${networkReason(error, message)} (${at})`,
    {
      hint: unreachableHint(error, message),
      cause: error,
    },
  );
}

function networkReason(error: unknown, message: string): string {
  const code = property(error, "code");
  if (code === "ECONNREFUSED") return "connection refused";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "host name not found";
  if (code === "ENOENT") return "no server listens on that socket";
  if (/timeout expired|timeout exceeded|ETIMEDOUT/.test(message)) return "no answer in time";
  return message === "" ? String(code ?? "unknown reason") : message;
}

function unreachableHint(error: unknown, message: string): string {
  const code = property(error, "code");
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "check the host in the URL";
  if (/SSL|TLS|certificate|self.signed/i.test(message)) return "check sslmode and sslrootcert";
  return "is the server running, and may this machine reach it? check host and port";
}

function property(error: unknown, key: string): unknown {
  return typeof error === "object" && error !== null ? (error as Record<string, unknown>)[key] : undefined;
}
