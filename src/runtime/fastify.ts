// The runtime room: requests of Fastify. Its types are described here as far as they are needed, so that nobody has to have them.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Tenant } from "../registry/index.js";
import { type Choice, choose, type Tenants } from "./choose.js";
import { headersOf, runRequest, suspendedAnswer, unknownText, whenChosen } from "./connect.js";

/** What is needed of a FastifyRequest. */
export interface FastifyRequestLike {
  raw: IncomingMessage;
}

/** What is needed of a FastifyReply. */
export interface FastifyReplyLike {
  raw: ServerResponse;
  code(status: number): this;
  type(type: string): this;
  header(name: string, value: string): this;
  send(payload: unknown): this;
}

type Done = (error?: Error) => void;
type Hook = (request: FastifyRequestLike, reply: FastifyReplyLike, done: Done) => void;

export interface FastifyOptions<
  Request extends FastifyRequestLike = FastifyRequestLike,
  Reply extends FastifyReplyLike = FastifyReplyLike,
> extends Choice<Request> {
  /** Answers a request that is for no tenant. Default: 404. */
  onUnknown?: (request: Request, reply: Reply) => unknown;
  /** Answers a request for a tenant that is suspended. Default: 503 with Retry-After, as text, or as JSON where that is asked for. */
  onSuspended?: (request: Request, reply: Reply, tenant: Tenant) => unknown;
}

/** For `app.register`. It holds for the routes of the app that it is registered on, as with fastify-plugin. */
export type FastifyPlugin = (
  app: { addHook(name: "onRequest", hook: Hook): unknown },
  options: unknown,
  done: Done,
) => void;

export function fastifyPlugin<Request extends FastifyRequestLike, Reply extends FastifyReplyLike>(
  tenants: Tenants,
  options: FastifyOptions<Request, Reply> = {},
): FastifyPlugin {
  const {
    onUnknown = (_: Request, reply: Reply) => reply.code(404).type("text/plain; charset=utf-8").send(unknownText),
    onSuspended = suspended,
  } = options;
  const plugin: FastifyPlugin = (app, _options, registered) => {
    app.addHook("onRequest", (request, reply, done) => {
      const asked = request as Request;
      whenChosen(
        () => choose(tenants, asked, headersOf(request.raw), options),
        (tenant) => {
          if (tenant === undefined) onUnknown(asked, reply as Reply);
          else if (tenant.state === "suspended") onSuspended(asked, reply as Reply, tenant);
          else runRequest(tenants, tenant, [request.raw, reply.raw], () => done());
        },
        (error) => done(error instanceof Error ? error : new Error(String(error))),
      );
    });
    registered();
  };
  return Object.assign(plugin, {
    [Symbol.for("skip-override")]: true,
    [Symbol.for("fastify.display-name")]: "tenantctl",
  });
}

function suspended({ raw }: FastifyRequestLike, reply: FastifyReplyLike): unknown {
  const { status, body, type, retryAfter } = suspendedAnswer(raw.headers.accept);
  return reply.code(status).header("retry-after", retryAfter).type(type).send(body);
}
