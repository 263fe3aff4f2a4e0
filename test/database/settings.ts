// Database tests: settings as the config room settles them, from a URL alone.
import { tmpdir } from "node:os";
import { expect, onTestFinished } from "vitest";
import { settleDatabase } from "../../src/config/connection.js";
import { type Client, type Database, type DatabaseOptions, openDatabase } from "../../src/database/database.js";
import { sqlState } from "../../src/database/errors.js";

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

/** How two long statements on one connection end when the database is interrupted, and a short one after them on another. */
export async function interrupted(database: Database): Promise<(string | undefined)[]> {
  const sleep = (client: Client, seconds: number) =>
    client.query("select pg_sleep($1)", [seconds]).then(() => "slept", sqlState);
  const both = await database.withClient(async (client) => {
    const first = sleep(client, 60);
    expect(database.interrupt()).toBe(true);
    return [await first, await sleep(client, 60)];
  });
  return [...both, await database.withClient((client) => sleep(client, 0.5))];
}
