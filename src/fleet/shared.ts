// The fleet room: the shared schema, which is migrated before any tenant.

import type { Database } from "../database/database.js";
import { TenantctlError } from "../errors.js";
import { type Migration, readMigrations } from "../migrations/files.js";
import { refuseStanding } from "../migrations/state.js";
import { type Goal, runTenant } from "../migrations/tenant.js";
import type { Fleet } from "./fleet.js";
import { requireRunnable, requireWritable } from "./preflight.js";
import { defaultLimits, openWorkshop, type RunLimits } from "./run.js";
import { shareSchemas } from "./share.js";
import { type Surveyed, survey } from "./survey.js";
import { persist } from "./workers.js";

/** The shared schema as what migrations work on. */
export function sharedTarget({ config }: Fleet): { name: string; schema: string } {
  return { name: "(shared)", schema: config.sharedSchemas[0] ?? "public" };
}

/** The shared schema, its files and where it stands. */
export interface Shared {
  surveyed: Surveyed;
  /** What it lacks. */
  pending: Migration[];
  /** Brings it up to date. @throws MigrationFailure; TenantctlError CHANGED, AHEAD, LOCKED, NEEDS_SESSION. */
  migrate(run: string, limits: RunLimits): Promise<string[]>;
}

/**
 * Looks at the shared schema; undefined when the config names no shared migrations. Touches nothing.
 * @param verify reads its ledger, also where its stamp is known.
 * @throws ProblemsError MIGRATIONS_INVALID.
 */
export async function lookAtShared(fleet: Fleet, database: Database, verify = false): Promise<Shared | undefined> {
  const folder = fleet.config.migrations.shared;
  if (folder === undefined) return undefined;
  const migrations = await readMigrations(folder);
  const [surveyed] = await survey(database, migrations, [sharedTarget(fleet)], {
    appRole: undefined,
    shared: true,
    verify,
  });
  if (surveyed === undefined) throw new TenantctlError("INTERNAL", "the survey of one schema told nothing");
  return {
    surveyed,
    pending: migrations.filter(({ name }) => surveyed.standing.pending.includes(name)),
    async migrate(run, limits) {
      const { standing } = surveyed;
      refuseStanding(standing, surveyed.tenant);
      const done: string[] = [];
      const open = openWorkshop(
        { ...fleet, config: { ...fleet.config, appRole: undefined, isolation: "schema" } },
        database,
        migrations,
        run,
        limits,
      );
      const work = { ...open(surveyed.tenant, done), reach: undefined };
      await requireRunnable(database, work, standing.pending, "up");
      if (standing.pending.length > 0 || !surveyed.hasLedger || surveyed.stampDiffers) {
        await persist(() => runTenant(work, sharedGoal(fleet, surveyed)), { ...defaultLimits, ...limits });
        // What came to be just now may be the registry: not for tenants to read, before it has a row.
        await shareSchemas(fleet, database);
      }
      return done;
    },
  };
}

function sharedGoal(fleet: Fleet, surveyed: Surveyed): Goal {
  return {
    direction: "up",
    choose: (standing) => standing.pending,
    commit: fleet.config.transaction,
    expectLedger: surveyed.hasLedger,
    grant: false,
    creating: false,
    shared: true,
    allowAhead: false,
  };
}

/**
 * Asks the registry something. Where its table does not exist, and a shared migration is still to be run, that may create it: then
 * the shared schema is migrated first, and the registry is asked again.
 * @param whenMigrated told which shared migrations were applied for that.
 * @throws MigrationFailure of a shared migration; what `ask` throws.
 */
export async function withRegistry<T>(
  fleet: Fleet,
  run: string,
  limits: RunLimits,
  ask: () => Promise<T>,
  whenMigrated: (applied: string[]) => void = () => {},
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof TenantctlError && error.code === "REGISTRY_MISSING")) throw error;
    const database = await fleet.database();
    const shared = await lookAtShared(fleet, database);
    if (shared === undefined) throw error;
    if (shared.surveyed.standing.state === "current") return await ask(); // somebody else has migrated it meanwhile
    await readMigrations(fleet.config.migrations.tenant); // what is wrong there is said while nothing is touched
    await requireWritable(fleet, database);
    whenMigrated(await shared.migrate(run, limits));
    return await ask();
  }
}
