// Express, Fastify, Hono and bare fetch handlers over HTTP: each request sees its host's tenant, and nobody's gets no further.
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { serve } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import { beforeAll, describe, expect, test } from "vitest";
import type { Tenancy } from "../../src/runtime/index.js";
import { createDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createTenants, listOf, openTenancy, tenantNamed, whose } from "./tenancy.ts";

const registry = listOf([]);
let tenancy: Tenancy;

beforeAll(async () => {
  const database = await createDatabase();
  registry.list = await createTenants(database, ["thor", "loki"]);
  tenancy = await openTenancy(database, [], { registry, maxConnections: 2, missMs: 0, refreshMs: 1_000_000 });
});

type Options = {
  /** Of a header, for tests of `tenantOf`. */
  byHeader?: boolean;
  trustForwardedHost?: boolean;
  unknown?: number;
  suspended?: number;
};

/** What each server answers: GET / whose rows it reads; POST / the same, after a JSON body; GET /fail an error. */
const servers: Record<string, (options: Options) => Promise<number>> = {
  async express({ byHeader, unknown, suspended, trustForwardedHost }) {
    const app = express();
    app.use(
      tenancy.middleware<express.Request>({
        trustForwardedHost,
        ...(byHeader ? { tenantOf: (request) => request.get("x-tenant") } : {}),
        ...(unknown ? { onUnknown: (_request, response) => void response.writeHead(unknown).end() } : {}),
        ...(suspended
          ? {
              onSuspended: (_request, response, _next, { name }) =>
                void response.writeHead(suspended).end(`{"of":"${name}"}`),
            }
          : {}),
      }),
    );
    app.use(express.json());
    app.get("/", async (_request, response) => void response.json(await answer()));
    app.post("/", async (request, response) => void response.json({ ...(await answer()), body: request.body }));
    app.get("/fail", async () => await tenancy.query("select nope from notes"));
    app.use(
      ((error, _request, response, _next) =>
        void response.status(500).json({ code: error.code, ...now() })) satisfies express.ErrorRequestHandler,
    );
    return await listen(app);
  },
  async fastify({ byHeader, unknown, suspended, trustForwardedHost }) {
    const app = fastify();
    app.register(
      tenancy.fastify({
        trustForwardedHost,
        ...(byHeader ? { tenantOf: ({ raw }) => raw.headers["x-tenant"]?.toString() } : {}),
        ...(unknown ? { onUnknown: (_request, reply) => reply.code(unknown).send("") } : {}),
        ...(suspended ? { onSuspended: (_request, reply, { name }) => reply.code(suspended).send({ of: name }) } : {}),
      }),
    );
    app.get("/", answer);
    app.post("/", async (request) => ({ ...(await answer()), body: request.body }));
    app.get("/fail", async () => await tenancy.query("select nope from notes"));
    app.setErrorHandler<Error & { code?: string }>((error, _request, reply) =>
      reply.code(500).send({ code: error.code, ...now() }),
    );
    await app.listen({ port: 0, host: "127.0.0.1" });
    whenFileEnds(() => app.close());
    return (app.server.address() as AddressInfo).port;
  },
  async hono({ byHeader, unknown, suspended, trustForwardedHost }) {
    const app = new Hono();
    app.use(
      tenancy.hono({
        trustForwardedHost,
        ...(byHeader ? { tenantOf: ({ req }) => req.raw.headers.get("x-tenant") ?? undefined } : {}),
        ...(unknown ? { onUnknown: () => new Response("", { status: unknown }) } : {}),
        ...(suspended
          ? { onSuspended: (_context, { name }) => Response.json({ of: name }, { status: suspended }) }
          : {}),
      }),
    );
    app.get("/", async (context) => context.json(await answer()));
    app.post("/", async (context) => context.json({ body: await context.req.json(), ...(await answer()) }));
    app.get("/fail", async (context) => context.json((await tenancy.query("select nope from notes")).rows));
    app.onError((error, context) => context.json({ code: Reflect.get(error, "code"), ...now() }, 500));
    return await served(app.fetch);
  },
  async fetch({ byHeader, unknown, suspended, trustForwardedHost }) {
    return await served(
      tenancy.fetch(
        async (request) => {
          if (request.method === "POST") return Response.json({ body: await request.json(), ...(await answer()) });
          if (request.url.endsWith("/fail")) {
            const error = await tenancy.query("select nope from notes").catch((failure) => failure);
            return Response.json({ code: error.code, ...now() }, { status: 500 });
          }
          return Response.json(await answer());
        },
        {
          trustForwardedHost,
          ...(byHeader ? { tenantOf: (request) => request.headers.get("x-tenant") ?? undefined } : {}),
          ...(unknown ? { onUnknown: () => new Response("", { status: unknown }) } : {}),
          ...(suspended
            ? { onSuspended: (_request, { name }) => Response.json({ of: name }, { status: suspended }) }
            : {}),
        },
      ),
    );
  },
};

const now = () => ({ tenant: tenancy.currentTenant()?.name });

async function answer() {
  return { rows: (await tenancy.query(whose)).rows, ...now() };
}

async function listen(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  whenFileEnds(async () => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

function served(handler: (request: Request) => Response | Promise<Response>): Promise<number> {
  return new Promise((resolve) => {
    const server = serve({ fetch: handler, port: 0, hostname: "127.0.0.1" }, ({ port }) => resolve(port));
    whenFileEnds(async () => void server.close());
  });
}

/** One or several requests on one connection, as they are: fetch would not let us choose the Host. */
async function ask(port: number, ...requests: { path?: string; headers?: string[]; body?: unknown }[]) {
  const socket = connect(port, "127.0.0.1");
  socket.setEncoding("latin1");
  let text = "";
  socket.on("data", (chunk: string) => {
    text += chunk;
  });
  for (const [at, { path = "/", headers = [], body }] of requests.entries()) {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const lines = [
      `${json === undefined ? "GET" : "POST"} ${path} HTTP/1.1`,
      ...headers,
      ...(json === undefined ? [] : ["content-type: application/json", `content-length: ${json.length}`]),
      `connection: ${at === requests.length - 1 ? "close" : "keep-alive"}`,
    ];
    socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
    if (json !== undefined) {
      await sleep(5); // the body comes by itself
      socket.write(json);
    }
  }
  await once(socket, "close");
  return text.split(/(?=HTTP\/1\.1 \d{3} )/).map((answered) => ({
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(answered)?.[1]),
    text: answered,
    json: JSON.parse(/\{.*\}/s.exec(answered)?.[0] ?? "null"),
  }));
}

const host = (name: string) => ({ headers: [`Host: ${name}.polls.local`] });
const of = (owner: string) => ({ rows: [{ owner }], tenant: owner });

describe.each(Object.entries(servers))("%s", (_name, start) => {
  test("a request's host chooses its tenant, also with a body, and on a connection that goes on", async () => {
    const port = await start({});
    expect((await ask(port, host("thor")))[0]).toMatchObject({ status: 200, json: of("thor") });
    expect((await ask(port, { headers: ["Host: loki.polls.local:3000"] }))[0]?.json).toEqual(of("loki"));
    const body = { question: "who" };
    const answers = await ask(port, { ...host("thor"), body }, { ...host("loki"), body }, { ...host("thor"), body });
    expect(answers.map(({ json }) => json)).toEqual(["thor", "loki", "thor"].map((name) => ({ ...of(name), body })));
    const many = Array.from({ length: 20 }, (_, at) => (at % 2 ? "thor" : "loki"));
    const all = await Promise.all(many.map(async (name) => (await ask(port, { ...host(name), body }))[0]?.json));
    expect(all).toEqual(many.map((name) => ({ ...of(name), body })));
  });

  test("an error in it is told in its tenant's context", async () => {
    expect((await ask(await start({}), { ...host("loki"), path: "/fail" }))[0]).toMatchObject({
      status: 500,
      json: { code: "42703", tenant: "loki" },
    });
  });

  test("an unknown host is a 404, or what the application says", async () => {
    const [port, own] = [await start({}), await start({ unknown: 421 })];
    expect((await ask(port, host("nobody")))[0]).toMatchObject({
      status: 404,
      text: expect.stringContaining("no such tenant"),
    });
    expect((await ask(own, host("nobody")))[0]).toMatchObject({ status: 421 });
  });

  test("a suspended tenant is a 503 that says when to come back, or what the application says", async () => {
    registry.list = [...registry.list, { ...tenantNamed("freya"), state: "suspended" }];
    const [port, own] = [await start({}), await start({ suspended: 418 })];
    const accepting = (accept: string) => ({ headers: [...host("freya").headers, `Accept: ${accept}`] });
    const [plain] = await ask(port, host("freya"));
    expect(plain).toMatchObject({ status: 503, text: expect.stringMatching(/\r\nretry-after: 60\r\n/i) });
    expect(plain?.text).toContain("this tenant is suspended");
    const [page] = await ask(port, accepting("text/html,application/json;q=0.9"));
    expect(page?.text).toMatch(/content-type: text\/plain/i);
    const [json] = await ask(port, accepting("application/json"));
    expect(json).toMatchObject({ status: 503, json: { error: { code: "TENANT_SUSPENDED" } } });
    expect((await ask(own, host("freya")))[0]).toMatchObject({ status: 418, json: { of: "freya" } });
  });

  test("a hostile Host gets no further and is repeated nowhere", async () => {
    const port = await start({});
    const hostile = [
      'x"; drop schema thor; --',
      "thor.polls.local, loki.polls.local",
      "\xff\xfe",
      "a".repeat(4000),
      "thor.polls.local\t",
    ];
    for (const value of [...hostile, "thor.polls.local@loki.polls.local", ""]) {
      const [answered] = await ask(port, { headers: [`Host: ${value}`] });
      if (answered?.status === 200) expect([value.trim(), answered.json]).toEqual(["thor.polls.local", of("thor")]);
      else {
        expect([400, 404]).toContain(answered?.status);
        if (value !== "") expect(answered?.text).not.toContain(value);
      }
    }
    for (const two of [
      ["thor", "loki"],
      ["loki", "thor"],
      ["thor", "thor"],
    ]) {
      const [answered] = await ask(port, { headers: two.map((name) => `Host: ${name}.polls.local`) });
      expect([400, 404]).toContain(answered?.status);
    }
  });

  test("X-Forwarded-Host counts only where it is trusted, and then only one", async () => {
    const forwarded = (...hosts: string[]) => ({
      headers: ["Host: thor.polls.local", ...hosts.map((name) => `X-Forwarded-Host: ${name}`)],
    });
    const [port, trusting] = [await start({}), await start({ trustForwardedHost: true })];
    expect((await ask(port, forwarded("loki.polls.local")))[0]?.json).toEqual(of("thor"));
    expect((await ask(trusting, forwarded("loki.polls.local")))[0]?.json).toEqual(of("loki"));
    expect((await ask(trusting, host("thor")))[0]?.json).toEqual(of("thor"));
    expect((await ask(trusting, forwarded("loki.polls.local, thor.polls.local")))[0]?.status).toBe(404);
    expect((await ask(trusting, forwarded("loki.polls.local", "thor.polls.local")))[0]?.status).toBe(404);
  });

  test("a function can choose the tenant instead", async () => {
    const port = await start({ byHeader: true });
    expect((await ask(port, { headers: ["Host: thor.polls.local", "X-Tenant: loki"] }))[0]?.json).toEqual(of("loki"));
    expect((await ask(port, host("thor")))[0]?.status).toBe(404);
    expect((await ask(port, { headers: ["Host: thor.polls.local", `X-Tenant: ${"x".repeat(999)}`] }))[0]?.status).toBe(
      404,
    );
  });

  test("a tenant that is created while it runs is served", async () => {
    const port = await start({});
    registry.list = registry.list.filter(({ name }) => name !== "odin");
    await tenancy.findHost("forget.polls.local");
    expect((await ask(port, host("odin")))[0]?.status).toBe(404);
    registry.list = [...registry.list, { ...tenantNamed("odin"), schema: "loki2" }];
    expect((await ask(port, host("odin")))[0]?.status).toBe(500);
  });
});

test("a request that is cut off holds no connection, and its events keep their tenant", async () => {
  const app = express();
  const seen: unknown[] = [];
  app.use(tenancy.middleware());
  app.get("/", async (request, response) => {
    request.on("close", () => seen.push(tenancy.currentTenant()?.name));
    response.write("begun");
    await tenancy.query("select pg_sleep(0.2)");
    response.end("done");
  });
  const port = await listen(app);
  const socket = connect(port, "127.0.0.1");
  socket.write("GET / HTTP/1.1\r\nHost: thor.polls.local\r\n\r\n");
  await once(socket, "data");
  socket.destroy();
  await expect.poll(() => seen).toEqual(["thor"]);
  await expect.poll(() => tenancy.pool.idleCount).toBe(tenancy.pool.totalCount);
});
