// Migrations tests: one tenant on a real server, brought to where its files say.
import { onTestFinished } from "vitest";
import { type Database, openDatabase } from "../../src/database/database.js";
import { identifier } from "../../src/database/quote.js";
import type { MigrationFailure } from "../../src/migrations/failure.js";
import { readMigrations } from "../../src/migrations/files.js";
import { createPreparer } from "../../src/migrations/prepare.js";
import { type Goal, runTenant, type TenantWork } from "../../src/migrations/tenant.js";
import { settingsOf } from "../database/settings.ts";
import type { TestDatabase } from "../support/database.ts";
import { folderOf } from "./folder.ts";

export interface OneTenant {
  database: Database;
  folder: string;
  work: TenantWork;
  /** What was committed, in order. */
  done: string[];
  migrate(goal?: Partial<Goal>): Promise<string[]>;
  /** Undoes these, the last first. */
  rollback(...names: string[]): Promise<string[]>;
  /** The failure that migrating ends in, without the file's folder. */
  failure(goal?: Partial<Goal>): Promise<MigrationFailure>;
  rows(): Promise<{ name: string; checksum: string | null; run_id: string; applied_at: Date; duration_ms: number }[]>;
  names(): Promise<string[]>;
  stamp(): Promise<string | null>;
  /** Tables, views and indexes in its schema, but the ledger's. */
  relations(): Promise<string[]>;
}

const upGoal: Goal = {
  direction: "up",
  choose: (standing) => standing.pending,
  commit: "tenant",
  expectLedger: false,
  grant: false,
  creating: false,
  shared: false,
  allowAhead: false,
};

let runs = 0;

async function open(url: string, direct: string | undefined): Promise<Database> {
  const database = await openDatabase(settingsOf(url), {
    maxConnections: 2,
    direct: direct === undefined ? undefined : settingsOf(direct),
  });
  onTestFinished(() => database.close());
  return database;
}

/** A tenant whose folder holds these files. `options` are those of TenantWork, and `url` where to connect; a database that is given stays open. */
export async function oneTenant(
  test: TestDatabase,
  schema: string,
  files: Record<string, string | Uint8Array>,
  options: Partial<TenantWork> & { url?: string; direct?: string } = {},
): Promise<OneTenant> {
  const { url = test.url, direct, database = await open(url, direct), ...more } = options;
  const folder = await folderOf(files);
  const migrations = await readMigrations(folder);
  const done: string[] = [];
  const work: TenantWork = {
    database,
    tenant: { name: schema, schema },
    sharedSchemas: [],
    appRole: undefined,
    run: `run-${++runs}`,
    timeouts: { lockTimeoutMs: 2_000, statementTimeoutMs: 0 },
    migrations,
    prepare: createPreparer(migrations),
    onCommitted: (names) => done.push(...names),
    ...more,
  };
  const ledger = `${identifier(schema)}.tenantctl_migrations`;
  const run = async (goal: Partial<Goal>) => {
    done.length = 0;
    await runTenant(work, { ...upGoal, ...goal });
    return [...done];
  };
  return {
    database,
    folder,
    work,
    done,
    migrate: (goal = {}) => run(goal),
    rollback: (...names) => run({ direction: "down", choose: () => names, expectLedger: true, allowAhead: true }),
    async failure(goal = {}) {
      const error = await run(goal).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error === undefined) throw new Error("it did not fail");
      return error as MigrationFailure;
    },
    rows: () => test.query(`select * from ${ledger} order by name collate "C"`),
    async names() {
      return (await test.query<{ name: string }>(`select name from ${ledger} order by 1`)).map(({ name }) => name);
    },
    async stamp() {
      const [row] = await test.query<{ stamp: string | null; place: string }>(
        `select obj_description(c.oid, 'pg_class') as stamp, ' in ' || n.oid || ' ' || n.nspname as place
         from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $1::regclass`,
        [ledger],
      );
      if (row?.stamp == null || !/^tenantctl: \d/.test(row.stamp)) return row?.stamp ?? null;
      if (!row.stamp.endsWith(row.place)) throw new Error(`the stamp says another place: ${row.stamp}`);
      return row.stamp.slice(0, -row.place.length);
    },
    async relations() {
      const rows = await test.query<{ name: string }>(
        `select relname as name from pg_class where relnamespace = (select oid from pg_namespace where nspname = $1)
           and relkind in ('r', 'p', 'v', 'm', 'i') and relname not like 'tenantctl%' order by 1`,
        [schema],
      );
      return rows.map(({ name }) => name);
    },
  };
}
