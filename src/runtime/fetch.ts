// The runtime room: requests of Hono, and of whatever else takes a Request and gives a Response.

import { type Choice, choose, type Headers, type Tenants } from "./choose.js";
import { unknownText } from "./connect.js";

/** What is needed of Hono's Context. */
export interface HonoContextLike {
  req: { raw: Request };
}

export interface HonoOptions<Context extends HonoContextLike = HonoContextLike> extends Choice<Context> {
  /** Answers a request that is for no tenant. Default: 404. */
  onUnknown?: (context: Context) => Response | Promise<Response>;
}

export type HonoMiddleware<Context extends HonoContextLike = HonoContextLike> = (
  context: Context,
  next: () => Promise<void>,
) => Promise<Response | undefined>;

export interface FetchOptions extends Choice<Request> {
  /** Answers a request that is for no tenant. Default: 404. */
  onUnknown?: (request: Request) => Response | Promise<Response>;
}

export type FetchHandler<Rest extends unknown[]> = (request: Request, ...rest: Rest) => Response | Promise<Response>;

export function honoMiddleware<Context extends HonoContextLike>(
  tenants: Tenants,
  options: HonoOptions<Context> = {},
): HonoMiddleware<Context> {
  const { onUnknown = notFound } = options;
  return async (context, next) => {
    const tenant = await choose(tenants, context, headersOf(context.req.raw), options);
    if (tenant === undefined) return await onUnknown(context);
    await tenants.run(tenant, next);
    return undefined;
  };
}

export function fetchHandler<Rest extends unknown[]>(
  tenants: Tenants,
  handler: FetchHandler<Rest>,
  options: FetchOptions = {},
): FetchHandler<Rest> {
  const { onUnknown = notFound } = options;
  return async (request, ...rest) => {
    const tenant = await choose(tenants, request, headersOf(request), options);
    return tenant === undefined ? await onUnknown(request) : await tenants.run(tenant, () => handler(request, ...rest));
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
