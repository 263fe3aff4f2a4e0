// The migrations room: which of the locks that a transaction holds mean that it changed what is not its tenant's.

import { mayChange, nameOf, type Reach } from "./reach.js";
import type { Place, Suspect } from "./reach-locks.js";

/** Everything that is known of one suspect. A place is undefined where there is no such object: not yet, or no more. */
export interface Evidence {
  suspect: Suspect;
  now: Place | undefined;
  before: Place | undefined;
  /** What the table is made of is what it was. */
  same: boolean;
}

// What weighs most comes first.
const verbs = ["drops", "moves", "creates", "changes", "writes rows of"] as const;

/** A change outside of the tenant's schema. */
export interface Change {
  verb: (typeof verbs)[number];
  /** As `mayChange` in the config has it. */
  name: string;
}

// Catalogs and what PostgreSQL itself keeps.
const kept = /^pg_(catalog|toast|temp_\d+|toast_temp_\d+)$/;
const tables = ["r", "p"];
const analyzed = [...tables, "m", "f"];
const indexes = ["i", "I"];
const partsOfTables = ["pg_constraint", "pg_trigger", "pg_rewrite", "pg_policy", "pg_attrdef", "pg_publication_rel"];
/** Locks of a statement that leaves a table as it was, but for statistics, comments, or a foreign key that leads to it. */
const weighed = [
  "ShareUpdateExclusiveLock",
  "ShareLock",
  "ShareRowExclusiveLock",
  "ExclusiveLock",
  "AccessExclusiveLock",
];

/** Whether it decides whether the table is what it was. */
export function isWeighed({ catalog, mode }: Suspect): boolean {
  return catalog === "pg_class" && weighed.includes(mode);
}

/** What a suspect means; undefined where it is nothing, or allowed. */
export function verdict(evidence: Evidence, schema: string, reach: Reach): Change | undefined {
  const { suspect, now, before } = evidence;
  const places = [now, before].filter((place) => place !== undefined);
  // Made and dropped in this transaction: nobody else ever saw it.
  if (places.length === 0 || places.every((place) => isFree(place, schema, reach))) return undefined;
  if (passes(evidence, reach)) return undefined;
  const place = (before !== undefined && !isFree(before, schema, reach) ? before : now) ?? before;
  if (place === undefined) return undefined;
  return { verb: verbOf(suspect, now, before), name: nameOf(place.schema, place.name, place.kind) };
}

/** Whether a migration may change whatever is at this place. */
export function isFree(place: Place, schema: string, { mayChange: names }: Reach): boolean {
  if (place.schema === schema || (place.schema !== null && kept.test(place.schema))) return true;
  if (place.catalog === "pg_namespace" && place.name === schema) return true;
  if (place.ofExtension && place.catalog !== "pg_extension") return true;
  return mayChange(names, place.schema, nameOf(place.schema, place.name, place.kind));
}

function passes({ suspect: { catalog, mode }, now, before, same }: Evidence, { shared }: Reach): boolean {
  if (catalog !== "pg_class") return passesAlone(catalog, now, before);
  if (now === undefined) return false;
  const isShared = now.schema !== null && shared.includes(now.schema);
  if (mode === "RowExclusiveLock") return now.kind === "S" || isShared;
  if (before === undefined) return false;
  if (mode === "ShareUpdateExclusiveLock") return same && analyzed.includes(now.kind); // ANALYZE
  return isShared && same && tables.includes(now.kind) && isWeighed({ catalog, oid: now.oid, mode });
}

// What is in no schema: what is new leaves no lock either, and what is as it was has been locked for something else, as a publication is for a table.
function passesAlone(catalog: string, now: Place | undefined, before: Place | undefined): boolean {
  if (before === undefined) return now?.schema === null;
  if (now === undefined || now.schema !== null) return false;
  return catalog === "pg_extension" || now.row === before.row;
}

/** The changes, each of them once, those first that weigh most: an extension that is dropped before all that goes with it. */
export function inOrder(changes: readonly Change[]): Change[] {
  const sorted = [...changes].sort(
    (a, b) => rank(a) - rank(b) || verbs.indexOf(a.verb) - verbs.indexOf(b.verb) || (a.name < b.name ? -1 : 1),
  );
  return sorted.filter((change, at) => sorted.findIndex(({ name }) => name === change.name) === at);
}

const rank = ({ name }: Change) => (name.startsWith("extension ") || !name.includes(".") ? 0 : 1);

function verbOf({ catalog, mode }: Suspect, now: Place | undefined, before: Place | undefined): Change["verb"] {
  if (mode === "RowExclusiveLock" && now !== undefined && now.schema === before?.schema) return "writes rows of";
  if (partsOfTables.includes(catalog) || indexes.includes((now ?? before)?.kind ?? "")) return "changes";
  if (now === undefined) return "drops";
  if (before === undefined) return "creates";
  if (now.schema !== before.schema) return "moves";
  return "changes";
}
