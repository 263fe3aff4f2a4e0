// A plain HTTP client for the examples' servers: it says whichever Host it likes, and can send what no client would.
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { json } from "node:stream/consumers";

export interface Answer<Body> {
  status: number;
  body: Body;
}

/** JSON to JSON; GET unless there is something to send. */
export async function ask<Body = unknown>(
  port: number,
  host: string,
  path: string,
  send?: unknown,
): Promise<Answer<Body>> {
  const asked = request({
    port,
    path,
    method: send === undefined ? "GET" : "POST",
    headers: { host, "content-type": "application/json" },
  });
  asked.end(send === undefined ? undefined : JSON.stringify(send));
  const [response] = await once(asked, "response");
  const isJson = String(response.headers["content-type"]).startsWith("application/json");
  if (!isJson) response.resume();
  return { status: response.statusCode, body: (isJson ? await json(response) : undefined) as Body };
}

/** The status with which the server answers these bytes after a request line for `/polls`. */
export async function statusOf(port: number, headers: string): Promise<number> {
  const socket = connect({ port });
  socket.write(Buffer.from(`GET /polls HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`, "latin1"));
  let answer = "";
  for await (const chunk of socket.setEncoding("latin1")) answer += chunk;
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
}
