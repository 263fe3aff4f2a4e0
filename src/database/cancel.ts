// The database room: asks a server to cancel what one of its connections is doing.

import pg from "pg";

/** What pg knows of a connection, and does not say in its types. */
interface Connected {
  host: string;
  port: number;
  processID: number | null;
  secretKey: number | null;
  connection: { ssl: unknown; sslNegotiation: string };
}

interface Wire extends NodeJS.EventEmitter {
  stream: { destroy(): void };
  connect(...place: [port: number, host: string] | [path: string]): void;
  requestSsl(): void;
  cancel(processID: number, secretKey: number): void;
}

const patienceMs = 2_000;

/** Asks for the cancellation of a connection's statement, on a connection of its own; resolves once it was asked, or could not be. */
export async function cancelStatement(client: pg.ClientBase): Promise<void> {
  const { host, port, processID, secretKey, connection } = client as unknown as Connected;
  if (processID === null || secretKey === null) return;
  const { ssl, sslNegotiation } = connection;
  const wire = new pg.Connection({ ssl, sslNegotiation } as never) as unknown as Wire;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => wire.stream.destroy(), patienceMs);
    const ask = () => wire.cancel(processID, secretKey);
    wire.once("connect", () => {
      if (!ssl) ask();
      else if (sslNegotiation !== "direct") wire.requestSsl();
    });
    wire.once("sslconnect", ask);
    wire.on("error", () => wire.stream.destroy()); // who can't be asked notices that we are gone
    wire.once("end", () => {
      clearTimeout(timer);
      resolve();
    });
    if (host.startsWith("/")) wire.connect(`${host}/.s.PGSQL.${port}`);
    else wire.connect(port, host);
  });
}
