// The database room: what goes in front of a statement, so that it is answered from its scope's schemas and meets nobody's traces.

import { identifier } from "./quote.js";

/**
 * What a connection may keep between two calls. `transaction`: nothing, since another client may get it (a transaction
 * pooler, a pool that somebody else uses too). `session`: it is ours alone.
 */
export type PoolMode = "session" | "transaction";

/** Which schemas a statement is for. */
export interface Scope {
  /** As search_path has them, quoted. */
  readonly path: string;
  /** The role that its statements have, where each tenant has one: always the same for a path. */
  readonly role?: string | undefined;
  /** Why it is not served any more: asked when a statement has waited for its connection. */
  refusal(): Error | undefined;
}

/** What must go in front of a statement. */
export interface Need {
  /** Its search_path, and its role. */
  readonly path: boolean;
  /** The end of what others left; implies `path`. */
  readonly clean: boolean;
  /** In a transaction of its own, which is committed before the statement: whatever that rolls back, this stays. */
  readonly commits: boolean;
}

/** A statement of ours. */
export interface Sendable {
  text: string;
  values?: string[];
}

const begin: Sendable = { text: "begin" };
const commit: Sendable = { text: "commit" };

// Where a connection is not ours alone: what a transaction can leave behind, and what nobody expects to find again.
const leftovers: readonly Sendable[] = [
  { text: "discard temp" },
  { text: "discard sequences" },
  { text: "close all" },
  { text: "unlisten *" },
];

// All that a statement may have left in a session. In one message with others it can't be said shorter.
const discardAll: Sendable = { text: "discard all" };
const discards: readonly Sendable[] = [
  ...leftovers,
  { text: "deallocate all" },
  { text: "reset session authorization" },
  { text: "reset all" },
  { text: "select pg_catalog.pg_advisory_unlock_all()" },
];

const nothing: readonly Sendable[] = [];

/**
 * What goes in front of a statement.
 *
 * @param kept sets again what every tenant's session is to have.
 * @param extended statement by statement, rather than as one text.
 */
export function prefixOf(
  need: Need,
  { mode, kept }: { mode: PoolMode; kept: readonly Sendable[] },
  scope: Scope,
  extended: boolean,
): readonly Sendable[] {
  if (!need.path) return nothing;
  if (mode === "transaction") {
    const clean = need.clean ? leftovers : nothing;
    // Before a transaction's first words there may be no query, nor what counts as one.
    if (need.commits) return [begin, ...clean, commit, ...commands("local", scope)];
    return [...clean, ...(extended ? query(scope, true) : commands("local", scope))];
  }
  const clean = need.clean ? (extended ? [discardAll] : discards) : nothing;
  const again = need.clean ? kept : nothing;
  if (!need.commits) return [...clean, ...again, ...(extended ? query(scope, false) : commands("session", scope))];
  // DISCARD ALL is a transaction by itself.
  return extended
    ? [...clean, begin, ...again, ...commands("session", scope), commit]
    : [begin, ...clean, ...again, ...commands("session", scope), commit];
}

function commands(how: "session" | "local", { path, role }: Scope): Sendable[] {
  const setPath = { text: `set ${how} search_path to ${path}` };
  return role === undefined ? [setPath] : [setPath, { text: `set ${how} role ${identifier(role)}` }];
}

// Its text is the same for all tenants, and outside of a transaction block it gives no warning. Its functions are named with their
// schema: a search_path that was left over may put others in front.
function query({ path, role }: Scope, local: boolean): Sendable[] {
  const set = (setting: string, place: number) => `pg_catalog.set_config('${setting}', $${place}, ${local})`;
  const text = `select ${set("search_path", 1)}${role === undefined ? "" : `, ${set("role", 2)}`}`;
  return [{ text, values: role === undefined ? [path] : [path, role] }];
}
