// Config room: PostgreSQL URLs, read as libpq reads them. Messages never show the URL: it has a password in it.

import { TenantctlError } from "../errors.js";

const PERCENT_HINT = "in user, password and database write @ as %40, / as %2F, ? as %3F, % as %25";

/**
 * Takes a URL apart into libpq's keywords; what is empty is left out.
 *
 * @param source what gave us the URL, for messages.
 * @throws TenantctlError CONFIG_INVALID.
 */
export function parseDatabaseUrl(url: string, source: string): Map<string, string> {
  const refuse = (reason: string, hint?: string): never => {
    throw new TenantctlError("CONFIG_INVALID", `${source}: ${reason}`, { hint });
  };
  const decode = (text: string) =>
    decodePercent(text) ?? refuse("the URL has a % that is no percent-encoding", PERCENT_HINT);
  const [, rest] = /^postgres(?:ql)?:\/\/(.*)$/s.exec(url.trim()) ?? [];
  if (rest === undefined) {
    return refuse("not a database URL", "postgres://user:password@host:5432/database, or pglite:<folder>");
  }
  // the first @ before any / ends the credentials, whatever stands in them
  const [, credentials, target = ""] = /^(?:([^@/]*)@)?(.*)$/s.exec(rest) ?? [];
  const [, user = "", password = ""] = /^([^:]*):?(.*)$/s.exec(credentials ?? "") ?? [];
  const [, place = "", query] = /^([^?]*)(?:\?(.*))?$/s.exec(target) ?? [];
  // else the end of a password would be taken for a host, and shown
  if (place.includes("@")) refuse("the URL has an @ too many", PERCENT_HINT);
  const [, authority = "", database = ""] = /^([^/]*)\/?(.*)$/s.exec(place) ?? [];
  if (authority.includes(",")) refuse("the URL has several hosts, tenantctl connects to one", "name the primary");
  const [, host = "", , port = ""] =
    /^(\[[^\]]+\]|[^:[\]]*)(:(\d*))?$/.exec(authority) ?? refuse("the URL's host or port can't be read", PERCENT_HINT);
  const found = new Map<string, string>();
  const keep = (key: string, text: string) => text !== "" && found.set(key, decode(text));
  keep("user", user);
  keep("password", password);
  keep("host", host.replace(/^\[(.*)\]$/, "$1"));
  keep("port", port);
  keep("dbname", database);
  for (const pair of query === undefined || query === "" ? [] : query.split("&")) {
    const [, key, value] =
      /^([^=]+)=([^=]*)$/.exec(pair) ?? refuse("a parameter of the URL is not key=value", PERCENT_HINT);
    if (key === "ssl" && value === "true") keep("sslmode", "require");
    else if (value !== undefined && key !== undefined) keep(decode(key), value);
  }
  return found;
}

/** Undefined for what is no percent-encoded UTF-8, or holds a NUL. */
function decodePercent(text: string): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    return decoded.includes("\0") ? undefined : decoded;
  } catch {
    return undefined;
  }
}
