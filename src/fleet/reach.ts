// The fleet room: what the config lets tenants' migrations change outside of the tenant's own schema, and look up there.

import { ProblemsError } from "../errors.js";
import { refusedLookups } from "../migrations/catalog-lookups.js";
import type { Prepared } from "../migrations/prepare.js";
import { hintFor, type Reach } from "../migrations/reach.js";
import { writtenChanges } from "../migrations/reach-written.js";
import type { Fleet } from "./fleet.js";

/** The schemas that all tenants share. Where shared migrations run is one, also where the config does not name it. */
export function sharedIn({ config: { migrations, sharedSchemas } }: Fleet): readonly string[] {
  return migrations.shared !== undefined && sharedSchemas.length === 0 ? ["public"] : sharedSchemas;
}

/** How far tenants' migrations may reach. */
export function reachOf(fleet: Fleet): Reach {
  return { shared: sharedIn(fleet), mayChange: fleet.config.migrations.mayChange };
}

/** Whose migrations these are. */
export interface Whose {
  /** The schemas of all tenants. */
  all: Iterable<string>;
  /** The schemas in which they are about to run. */
  running: Iterable<string>;
}

/** Whether any of these migrations changes something that it names with a schema: then it matters whose that is. */
export function namesSchemas(prepared: readonly Prepared[]): boolean {
  const touches = (one: Prepared) =>
    one.kind === "sql" && one.statements.some(({ origin }) => (origin?.statement.touches.length ?? 0) > 0);
  return prepared.some(touches);
}

/**
 * Makes sure, before anything is touched, that none of these migrations says that it changes what is not its tenant's own.
 * @throws ProblemsError OUTSIDE_SCHEMA with each change, its file and line.
 */
export async function requireWithin(fleet: Fleet, prepared: readonly Prepared[], whose: Whose): Promise<void> {
  const [own, ...others] = new Set(whose.running);
  const scope = {
    ...reachOf(fleet),
    tenantSchemas: new Set(whose.all),
    own: others.length === 0 ? own : undefined,
  };
  const found = await Promise.all(prepared.map((one) => (one.kind === "sql" ? writtenChanges(one, scope) : [])));
  const changes = found.flat();
  if (changes.length === 0) return;
  const allowable = new Set(changes.flatMap(({ name, ofTenant }) => (ofTenant ? [] : name)));
  const hint = `nothing was touched; ${allowable.size === 0 ? "leave the schema out: the search_path leads to the tenant's own" : hintFor([...allowable])}`;
  const problems = changes.map(({ message }) => message);
  throw new ProblemsError("OUTSIDE_SCHEMA", "a tenant's migrations reach outside of the tenant's schema", problems, {
    hint,
  });
}

/**
 * Makes sure, before anything is touched, that none of these migrations asks the catalogs for a name in whichever schema it is: for the
 * second tenant the first one's object answers, and the migration is recorded without having done its work.
 * @throws ProblemsError CATALOG_LOOKUP with each lookup, its file and line.
 */
export async function requireOwnLookups(fleet: Fleet, prepared: readonly Prepared[]): Promise<void> {
  const { mayLookUp } = fleet.config.migrations;
  const asking = prepared.flatMap((one) => (one.kind === "sql" && !mayLookUp.includes(one.migration.name) ? one : []));
  const found = (await Promise.all(asking.map(refusedLookups))).flat();
  const [first] = found;
  if (first === undefined) return;
  const names = [...new Set(found.map(({ migration }) => JSON.stringify(migration)))].slice(0, 3).join(", ");
  const problems = found.map(({ message }) => message);
  throw new ProblemsError("CATALOG_LOOKUP", "a tenant's migrations ask the catalogs without a schema", problems, {
    hint: `nothing was touched; ${first.hint}; where it is meant: -- tenantctl-lint: allow catalog-lookup, or in the config "migrations": { "mayLookUp": [${names}] }`,
  });
}
