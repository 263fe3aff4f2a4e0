// The runtime room: requests of Hono, and of whatever else takes a Request and gives a Response.

import type { Tenant } from "../registry/index.js";
import { type Choice, choose, type Headers, type Tenants } from "./choose.js";
import { suspendedAnswer, unknownText } from "./connect.js";

/** What is needed of Hono's Context. */
export interface HonoContextLike {
  req: { raw: Request };
}

export interface HonoOptions<Context extends HonoContextLike = HonoContextLike> extends Choice<Context> {
  /** Answers a request that is for no tenant. Default: 404. */
  onUnknown?: (context: Context) => Response | Promise<Response>;
  /** Answers a request for a tenant that is suspended. Default: 503 with Retry-After, as text, or as JSON where that is asked for. */
  onSuspended?: (context: Context, tenant: Tenant) => Response | Promise<Response>;
}

export type HonoMiddleware<Context extends HonoContextLike = HonoContextLike> = (
  context: Context,
  next: () => Promise<void>,
) => Promise<Response | undefined>;

export interface FetchOptions extends Choice<Request> {
  /** Answers a request that is for no tenant. Default: 404. */
  onUnknown?: (request: Request) => Response | Promise<Response>;
  /** Answers a request for a tenant that is suspended. Default: 503 with Retry-After, as text, or as JSON where that is asked for. */
  onSuspended?: (request: Request, tenant: Tenant) => Response | Promise<Response>;
}

export type FetchHandler<Rest extends unknown[]> = (request: Request, ...rest: Rest) => Response | Promise<Response>;

export function honoMiddleware<Context extends HonoContextLike>(
  tenants: Tenants,
  options: HonoOptions<Context> = {},
): HonoMiddleware<Context> {
  const { onUnknown = notFound, onSuspended = ({ req }) => suspended(req.raw) } = options;
  return async (context, next) => {
    const tenant = await choose(tenants, context, headersOf(context.req.raw), options);
    if (tenant === undefined) return await onUnknown(context);
    if (tenant.state === "suspended") return await onSuspended(context, tenant);
    await tenants.run(tenant, next);
    return undefined;
  };
}

export function fetchHandler<Rest extends unknown[]>(
  tenants: Tenants,
  handler: FetchHandler<Rest>,
  options: FetchOptions = {},
): FetchHandler<Rest> {
  const { onUnknown = notFound, onSuspended = suspended } = options;
  return async (request, ...rest) => {
    const tenant = await choose(tenants, request, headersOf(request), options);
    if (tenant === undefined) return await onUnknown(request);
    if (tenant.state === "suspended") return await onSuspended(request, tenant);
    return await tenants.run(tenant, () => handler(request, ...rest));
  };
}

// Several values of one header are joined by commas, which no host has. Where there is no Host, the URL has it.
function headersOf(request: Request): Headers {
  return (name) => {
    const value = request.headers.get(name);
    if (value !== null) return [value];
    return name === "host" ? [new URL(request.url).host] : [];
  };
}

function notFound(): Response {
  return new Response(unknownText, { status: 404, headers: { "content-type": "text/plain; charset=utf-8" } });
}

function suspended(request: Request): Response {
  const { status, body, type, retryAfter } = suspendedAnswer(request.headers.get("accept") ?? undefined);
  return new Response(body, { status, headers: { "content-type": type, "retry-after": retryAfter } });
}
