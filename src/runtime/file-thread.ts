// The runtime room: the thread that reads a config file and sends its rows, some at a time.

import { parentPort, workerData } from "node:worker_threads";
import type { LoadOptions } from "../config/load.js";
import { TenantctlError } from "../errors.js";
import type { FileMessage } from "./file-reader.js";
import { readRows } from "./file-rows.js";

// To take in one message is one piece of work for the application.
const rowsPerMessage = 500;

const tell = (message: FileMessage) => parentPort?.postMessage(message);

async function readAndTell(): Promise<void> {
  const rows = await readRows(workerData as LoadOptions);
  for (let at = 0; at < rows.length; at += rowsPerMessage)
    tell({ rows: rows.slice(at, at + rowsPerMessage), last: false });
  tell({ rows: [], last: true });
}

readAndTell().catch((error: unknown) => {
  const known = error instanceof TenantctlError ? error : undefined;
  tell({
    error: {
      code: known?.code,
      message: error instanceof Error ? error.message : String(error),
      hint: known?.hint,
    },
  });
});
