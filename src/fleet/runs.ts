// The fleet room: runs are remembered in the schema `tenantctl`, in transactions of their own.

import type { Client, Database } from "../database/database.js";
import { ensureOwnTables, ownTableExists } from "../database/own.js";
import { withTransaction } from "../database/transaction.js";
import type { Failure } from "../events.js";
import type { TenantResult } from "./workers.js";

/** A run as it is remembered. */
export interface RunRecord {
  run: string;
  command: string;
  startedAt: string;
  /** Null: it is going on, or was killed. */
  finishedAt: string | null;
  migrated: number;
  failed: number;
  skipped: number;
  failures: { name: string; error: Failure }[];
}

/** A new run's id: its time, so that ids sort, and something random. */
export function newRunId(): string {
  const time = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
  // No secret, so no need for the 15 ms that node:crypto takes to get going.
  const suffix = Math.floor(Math.random() * 0x1000000);
  return `${time}-${suffix.toString(16).padStart(6, "0")}`;
}

/** Writes down what one run does, as it does it. */
export interface RunLog {
  result(result: TenantResult): Promise<void>;
  finish(): Promise<void>;
}

// Old runs say nothing that the ledgers don't; this many are kept.
const keptRuns = 1_000;

/** Begins to remember a run. */
export async function logRun(database: Database, run: string, command: string): Promise<RunLog> {
  const counts = { migrated: 0, failed: 0, skipped: 0 };
  await withTransaction(database, async (client) => {
    await ensureOwnTables(client, "failures", tables);
    await client.query("insert into tenantctl.runs (run, command) values ($1, $2)", [run, command]);
    await client.query(
      "delete from tenantctl.runs where run in (select run from tenantctl.runs order by started_at desc offset $1)",
      [keptRuns],
    );
  });
  return {
    async result({ name, outcome, error }) {
      if (outcome === "migrated" || outcome === "reverted") counts.migrated++;
      if (outcome === "skipped") counts.skipped++;
      if (outcome !== "failed") return;
      counts.failed++;
      await withTransaction(database, async (client) => {
        await client.query("insert into tenantctl.failures (run, name, error) values ($1, $2, $3)", [
          run,
          name,
          JSON.stringify(error),
        ]);
      });
    },
    async finish() {
      await withTransaction(database, async (client) => {
        const values = [run, counts.migrated, counts.failed, counts.skipped];
        await client.query(
          "update tenantctl.runs set finished_at = now(), migrated = $2, failed = $3, skipped = $4 where run = $1",
          values,
        );
      });
    },
  };
}

const tables = [
  `create table if not exists tenantctl.runs (run text primary key, command text not null,
    started_at timestamptz not null default now(), finished_at timestamptz,
    migrated integer not null default 0, failed integer not null default 0, skipped integer not null default 0)`,
  "create index if not exists runs_started_at on tenantctl.runs (started_at)",
  `create table if not exists tenantctl.failures (run text not null references tenantctl.runs on delete cascade,
    name text not null, error jsonb not null, primary key (run, name))`,
  "create index if not exists failures_name on tenantctl.failures (name)",
];

// A role that only looks at the catalog, for monitoring, can tell where the fleet stands.
async function mayRead(client: Client): Promise<boolean> {
  const { rows } = await client.query(
    `select from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'tenantctl'
     where c.relname in ('runs', 'failures') and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')`,
  );
  return rows.length === 2;
}

/** The last runs, newest first. */
export async function readRuns(database: Database, limit: number): Promise<RunRecord[]> {
  return await withTransaction(database, async (client) => {
    if (!(await ownTableExists(client, "failures"))) return [];
    const { rows } = await client.query<RunRecord>(
      `select r.run, r.command, to_char(r.started_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "startedAt",
         to_char(r.finished_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "finishedAt", r.migrated,
         case when r.finished_at is null then coalesce(f.failed, 0) else r.failed end::int as failed, r.skipped, coalesce(f.failures, '[]') as failures
       from (select * from tenantctl.runs order by started_at desc, run desc limit $1) r
       left join lateral (select count(*) as failed, jsonb_agg(jsonb_build_object('name', name, 'error', error) order by name) as failures
         from tenantctl.failures where run = r.run) f on true
       order by r.started_at desc, r.run desc`,
      [limit],
    );
    return rows;
  });
}

/** The names of the tenants that failed in the last run that touched any. */
export async function lastFailed(database: Database): Promise<Set<string>> {
  const [last] = await readRuns(database, 1);
  return new Set(last?.failures.map((failure) => failure.name));
}

/** The last failure of each of these tenants that is remembered. */
export async function lastFailures(
  database: Database,
  names: readonly string[],
): Promise<Map<string, Failure & { run: string }>> {
  if (names.length === 0) return new Map();
  return await withTransaction(database, async (client) => {
    if (!(await mayRead(client))) return new Map();
    const { rows } = await client.query<{ name: string; run: string; error: Failure }>(
      `select distinct on (f.name) f.name, f.run, f.error from tenantctl.failures f join tenantctl.runs r on r.run = f.run
       where f.name = any($1) order by f.name, r.started_at desc, f.run desc`,
      [names],
    );
    return new Map(rows.map(({ name, run, error }) => [name, { run, ...error }]));
  });
}
