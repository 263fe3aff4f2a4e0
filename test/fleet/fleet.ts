// Fleet tests: a fleet from a config file, on a real database, opened as the library opens it.
import { tmpdir } from "node:os";
import type { TenantctlEvent } from "../../src/events.js";
import { type Fleet, type FleetOptions, openFleet } from "../../src/fleet/index.js";
import type { TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createProject, type ProjectContents, type TestProject } from "../support/project.ts";

export interface TestFleet {
  fleet: Fleet;
  project: TestProject;
  events: TenantctlEvent[];
  /** Opened once more, as another process would; the config is read anew. */
  again(options?: FleetOptions): Promise<Fleet>;
}

/** Closed when the file ends. */
export async function testFleet(
  database: TestDatabase,
  contents: ProjectContents,
  options: FleetOptions = {},
): Promise<TestFleet> {
  const project = await createProject({ database, ...contents });
  const events: TenantctlEvent[] = [];
  const again = async (more: FleetOptions = {}) => {
    const fleet = await openFleet({
      config: project.configFile,
      env: { HOME: tmpdir() },
      report: (event) => events.push(event),
      ...options,
      ...more,
    });
    whenFileEnds(() => fleet.close());
    return fleet;
  };
  return { fleet: await again(), project, events, again };
}

/** Names of tenants, as the config has them. */
export function tenantsNamed(...names: string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

/** The tables in a schema, but the ledger. */
export async function tablesIn(database: TestDatabase, schema: string): Promise<string[]> {
  const rows = await database.query<{ name: string }>(
    "select tablename as name from pg_tables where schemaname = $1 and tablename <> 'tenantctl_migrations' order by 1",
    [schema],
  );
  return rows.map(({ name }) => name);
}
