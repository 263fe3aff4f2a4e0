// The runtime room: a config file that changed, read in a thread of its own: 50,000 tenants would stop the application for a third of a second.

import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { LoadOptions } from "../config/load.js";
import { type ErrorCode, TenantctlError } from "../errors.js";
import type { Row } from "../registry/rows.js";
import { readRows } from "./file-rows.js";

/** What the thread sends: some rows, or why there are none. */
export type FileMessage =
  | { rows: Row[]; last: boolean }
  | { error: { code: string | undefined; message: string; hint: string | undefined } };

// Where somebody has bundled us into one file, there is none beside it.
const thread = new URL("./file-thread.js", import.meta.url);

/**
 * The rows that a config file lists.
 *
 * @throws TenantctlError CONFIG_NOT_FOUND, CONFIG_INVALID.
 */
export async function listFile(options: LoadOptions): Promise<Row[]> {
  if (thread.protocol !== "file:" || !existsSync(thread)) return await readRows(options);
  const worker = new Worker(thread, { workerData: options.env ? { ...options, env: { ...options.env } } : options });
  worker.unref();
  const rows: Row[] = [];
  return await new Promise((resolve, reject) => {
    worker.on("message", (message: FileMessage) => {
      if ("error" in message) return reject(errorOf(message.error));
      for (const row of message.rows) rows.push(row);
      if (message.last) resolve(rows);
    });
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("the thread that reads the config ended too early"))); // no word after the last one
  });
}

function errorOf({
  code,
  message,
  hint,
}: {
  code: string | undefined;
  message: string;
  hint: string | undefined;
}): Error {
  if (code === undefined) return new Error(message);
  return new TenantctlError(code as ErrorCode, message, hint === undefined ? {} : { hint });
}
