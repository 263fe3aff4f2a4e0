// Config tests: a folder with files in it, gone after the test.

import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";

/** Writes the files, and folders for them, into a new folder. Values that are no text are written as JSON. */
export function folder(files: Record<string, unknown> = {}): string {
  const root = realpathSync(mkdtempSync(path.join(tmpdir(), "tenantctl-")));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
    chmodSync(file, 0o600);
  }
  return root;
}
