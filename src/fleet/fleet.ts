// The fleet room: what every operation over many tenants stands on: config, registry, and a database opened when first needed.

import { type Config, type LoadOptions, loadConfig } from "../config/load.js";
import { type Database, openDatabase } from "../database/database.js";
import type { Reporter } from "../events.js";
import { openRegistry, type Registry } from "../registry/registry.js";
import { untilReached } from "./outage.js";

/** How many tenants are worked on at once, unless told otherwise. The server's processors are the limit. */
export const defaultConcurrency = 4;

export interface Fleet {
  config: Config;
  registry: Registry;
  /** Opens the database at its first call. @throws TenantctlError DATABASE_UNREACHABLE, DATABASE_REFUSED, DATABASE_LOCKED, CONFIG_INVALID. */
  database(): Promise<Database>;
  report: Reporter;
  concurrency: number;
  /** Whether somebody asked for just that concurrency. */
  concurrencyGiven: boolean;
  /**
   * Rolls back what is under way in the database, by cancelling it.
   * @returns false where nothing can be cancelled.
   */
  interrupt(): boolean;
  isInterrupted(): boolean;
  close(): Promise<void>;
}

/** The search_path of a tenant: its own schema, then the shared ones. */
export function schemasOf(fleet: Fleet, { schema }: { schema: string }): string[] {
  return [schema, ...fleet.config.sharedSchemas.filter((shared) => shared !== schema)];
}

export interface FleetOptions extends LoadOptions {
  /** Receives what a run tells while it goes on. */
  report?: Reporter;
  /** How many tenants are worked on at once; at least 1. */
  concurrency?: number;
  /** How long the database is waited for where it can't be reached, in milliseconds. Default: not at all. */
  waitMs?: number;
  /** Aborting it ends that wait. */
  stop?: AbortSignal;
}

/**
 * Loads the config and gets ready; connects to nothing yet. Close it when done.
 * @throws TenantctlError CONFIG_NOT_FOUND; ProblemsError CONFIG_INVALID.
 */
export async function openFleet(options: FleetOptions = {}): Promise<Fleet> {
  const config = await loadConfig(options);
  const report = options.report ?? (() => {});
  const concurrency = options.concurrency ?? defaultConcurrency;
  let opened: Promise<Database> | undefined;
  let current: Database | undefined;
  let interrupted = false;
  async function open(): Promise<Database> {
    const settings = config.database();
    if (settings.kind === "embedded") {
      report({
        type: "warning",
        message: `the embedded database ${settings.display} serves one process and one connection`,
        hint: "for more than a first try: --database <url>",
      });
    } else {
      for (const message of settings.warnings) report({ type: "warning", message });
    }
    // One more than there are workers, for what is written beside them.
    const connections = { direct: config.directDatabase(), maxConnections: concurrency + 1 };
    current = await untilReached(() => openDatabase(settings, connections), options, report);
    return current;
  }
  const database = () => (opened ??= open());
  return {
    config,
    registry: openRegistry(config, database),
    database,
    report,
    concurrency,
    concurrencyGiven: options.concurrency !== undefined,
    interrupt() {
      interrupted = current?.interrupt() ?? false;
      return interrupted;
    },
    isInterrupted: () => interrupted,
    async close() {
      const closing = opened;
      opened = undefined;
      // An opening that failed was reported where it was asked for, and left nothing open.
      await closing?.then(
        (database) => database.close(),
        () => {},
      );
    },
  };
}
