// A way to a server that can be closed for a while: then connections break, and new ones are refused, as when the server is down.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { whenFileEnds } from "./ending.ts";
import { freePort } from "./keeper.ts";

export interface Relay {
  /** Leads to the same database, through the relay. */
  url: string;
  down(): void;
  up(): Promise<void>;
}

/** Up when it is given; down when the test file ends. */
export async function startRelay(to: string): Promise<Relay> {
  const { hostname, port } = new URL(to);
  const url = new URL(to);
  url.port = String(await freePort());
  const sockets = new Set<Socket>();
  let server: Server | undefined;

  function pass(client: Socket): void {
    const upstream = connect(Number(port), hostname);
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", end).on("close", () => {
        sockets.delete(socket);
        end();
      });
    }
    client.pipe(upstream).pipe(client);
  }
  const down = () => {
    server?.close();
    for (const socket of sockets) socket.destroy();
  };
  const up = async () => {
    server = createServer(pass).listen(Number(url.port), "127.0.0.1");
    await once(server, "listening");
  };
  await up();
  whenFileEnds(async () => down());
  return { url: `${url.href}?sslmode=disable`, down, up };
}
