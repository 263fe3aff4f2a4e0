// Database tests: settings as the config room settles them, from a URL alone.
import { tmpdir } from "node:os";
import { onTestFinished } from "vitest";
import { settleDatabase } from "../../src/config/connection.js";
import { type Database, type DatabaseOptions, openDatabase } from "../../src/database/database.js";

/** As if the config said so, in an environment that says nothing. */
export function settingsOf(url: string) {
  return settleDatabase({ url, source: "tenants.config.json", folder: tmpdir() }, { HOME: "/nonexistent" }, tmpdir());
}

/** Opens it, and closes it after the test. */
export async function openUrl(url: string, options: Partial<DatabaseOptions> = {}): Promise<Database> {
  const database = await openDatabase(settingsOf(url), { maxConnections: 3, ...options });
  onTestFinished(() => database.close());
  return database;
}
