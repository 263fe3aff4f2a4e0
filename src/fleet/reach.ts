// The fleet room: what the config lets tenants' migrations change outside of the tenant's own schema.

import { ProblemsError } from "../errors.js";
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
