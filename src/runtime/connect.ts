// The runtime room: requests of Express, Connect, NestJS and whatever else takes (request, response, next).

import { AsyncResource } from "node:async_hooks";
import type { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Tenant } from "../registry/index.js";
import { type Choice, choose, type Headers, type Tenants } from "./choose.js";

export interface ConnectOptions<Request extends IncomingMessage = IncomingMessage> extends Choice<Request> {
  /** Answers a request that is for no tenant. Default: 404. */
  onUnknown?: (request: Request, response: ServerResponse, next: Next) => void;
  /** Answers a request for a tenant that is suspended. Default: 503 with Retry-After, as text, or as JSON where that is asked for. */
  onSuspended?: (request: Request, response: ServerResponse, next: Next, tenant: Tenant) => void;
}

export type Next = (error?: unknown) => void;

export type ConnectMiddleware<Request extends IncomingMessage = IncomingMessage> = (
  request: Request,
  response: ServerResponse,
  next: Next,
) => void;

export function connectMiddleware<Request extends IncomingMessage>(
  tenants: Tenants,
  options: ConnectOptions<Request> = {},
): ConnectMiddleware<Request> {
  const { onUnknown = notFound, onSuspended = suspended } = options;
  return (request, response, next) => {
    const go = (tenant: Tenant | undefined) => {
      if (tenant === undefined) onUnknown(request, response, next);
      else if (tenant.state === "suspended") onSuspended(request, response, next, tenant);
      else runRequest(tenants, tenant, [request, response], () => next());
    };
    whenChosen(() => choose(tenants, request, headersOf(request), options), go, next);
  };
}

/** Calls `go` as soon as the tenant is known, at once if it can be. */
export function whenChosen(
  decide: () => Tenant | Promise<Tenant | undefined> | undefined,
  go: (tenant: Tenant | undefined) => void,
  fail: (error: unknown) => void,
): void {
  let found: ReturnType<typeof decide>;
  try {
    found = decide();
  } catch (error) {
    fail(error);
    return;
  }
  if (!(found instanceof Promise)) go(found);
  // What goes wrong behind us is not ours to catch.
  else found.then((tenant) => process.nextTick(go, tenant), fail);
}

/** Runs what follows with the tenant, and with it what the request's events start, whose own context is the socket's. */
export function runRequest(
  tenants: Tenants,
  tenant: Tenant,
  emitters: readonly EventEmitter[],
  next: () => void,
): void {
  tenants.run(tenant, () => {
    const context = new AsyncResource("tenantctl.request");
    for (const emitter of emitters) emitter.emit = context.bind(emitter.emit);
    next();
  });
}

/** The headers as they came: Node keeps the first of several hosts, and tells of no other. */
export function headersOf({ headers, rawHeaders }: Pick<IncomingMessage, "headers" | "rawHeaders">): Headers {
  return (name) => {
    const found: string[] = [];
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const value = rawHeaders[at + 1];
      if (rawHeaders[at]?.toLowerCase() === name && value !== undefined) found.push(value);
    }
    const authority = headers[":authority"]; // HTTP/2 names the host so
    if (found.length === 0 && name === "host" && typeof authority === "string") found.push(authority);
    return found;
  };
}

function notFound(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(404, { "content-type": "text/plain; charset=utf-8" }).end(unknownText);
}

/** Nothing of what was asked for is in it. */
export const unknownText = "no such tenant\n";

function suspended({ headers }: IncomingMessage, response: ServerResponse): void {
  const { status, body, type, retryAfter } = suspendedAnswer(headers.accept);
  response.writeHead(status, { "content-type": type, "retry-after": retryAfter }).end(body);
}

/** What a request for a suspended tenant is answered: clients and crawlers come back after a 503, and give up after a 404. */
export function suspendedAnswer(accept: string | undefined) {
  const json = /\bapplication\/(?:[\w.-]+\+)?json\b/i.test(accept ?? "") && !/\btext\/html\b/i.test(accept ?? "");
  const message = "this tenant is suspended";
  return {
    status: 503,
    retryAfter: "60", // seconds
    type: `${json ? "application/json" : "text/plain"}; charset=utf-8`,
    body: json ? `${JSON.stringify({ error: { code: "TENANT_SUSPENDED", message } })}\n` : `${message}\n`,
  } as const;
}
