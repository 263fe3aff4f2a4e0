// The runtime room: which tenant a request is for.

import type { Tenant } from "../registry/index.js";

/** What the middlewares need of a tenancy. */
export interface Tenants {
  /** Runs `fn` with this current tenant, at once. */
  run<T>(tenant: Tenant, fn: () => T): T;
  resolveHost(host: string): Tenant | undefined;
  findHost(host: string): Promise<Tenant | undefined>;
  findName(name: string): Promise<Tenant | undefined>;
}

export interface Choice<Request> {
  /**
   * The name of the tenant that a request is for, in place of its host: from a header, a path, a token that was checked before.
   * Undefined: none.
   */
  tenantOf?: (request: Request) => string | undefined | Promise<string | undefined>;
  /**
   * Takes X-Forwarded-Host before Host. Only behind a proxy that sets it anew: otherwise whoever asks chooses the tenant.
   * Default: false.
   */
  trustForwardedHost?: boolean;
}

/** All values of a header of a request, one for each time that it is there. */
export type Headers = (name: "host" | "x-forwarded-host") => readonly string[];

/** At once where the host is known; else, and with `tenantOf`, later. Undefined for a request that is for nobody. */
export function choose<Request>(
  tenants: Tenants,
  request: Request,
  headers: Headers,
  { tenantOf, trustForwardedHost = false }: Choice<Request>,
): Tenant | Promise<Tenant | undefined> | undefined {
  if (tenantOf !== undefined) return chosen(tenants, tenantOf(request));
  const forwarded = trustForwardedHost ? headers("x-forwarded-host") : [];
  const [host, second] = forwarded.length > 0 ? forwarded : headers("host");
  // Of two hosts somebody else may have taken the other one.
  if (host === undefined || second !== undefined) return undefined;
  return tenants.resolveHost(host) ?? tenants.findHost(host);
}

const longestName = 63;

async function chosen(
  tenants: Tenants,
  given: string | undefined | Promise<string | undefined>,
): Promise<Tenant | undefined> {
  const name: unknown = await given;
  return typeof name === "string" && name.length <= longestName ? await tenants.findName(name) : undefined;
}
