// Migrations tests: a TCP proxy in front of a server that cuts the connection at a moment of the test's choice.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

export interface Proxy {
  url: string;
  /** How many connections it has cut. */
  cuts(): number;
}

/**
 * `cut` looks at what a client sends: "before" cuts without passing it on, "after" passes it on, waits for the server's
 * first answer, drops that, and cuts. Anything else lets it through.
 */
export async function startProxy(to: string, cut: (sent: string) => "before" | "after" | undefined): Promise<Proxy> {
  const target = new URL(to);
  const sockets = new Set<Socket>();
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    let dropping = false;
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", end).on("close", end);
    }
    client.on("data", (chunk) => {
      const when = cut(chunk.toString("latin1"));
      if (when !== undefined) cuts++;
      if (when === "before") return end();
      if (when === "after") dropping = true;
      upstream.write(chunk);
    });
    upstream.on("data", (chunk) => (dropping ? end() : client.write(chunk)));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const url = new URL(to);
  url.port = String(address.port);
  return { url: `${url.href}?sslmode=disable`, cuts: () => cuts };
}
