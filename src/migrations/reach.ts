// The migrations room: how far a tenant's migrations may reach: which schemas are shared, and what else they may change.

/** What a tenant's migrations may change outside of the tenant's own schema. */
export interface Reach {
  /** Shared schemas: rows in them may be written, and foreign keys lead there. */
  shared: readonly string[];
  /** Names of objects, or schemas, that may be changed: `shared.audit`, `archive`, `extension citext`. */
  mayChange: readonly string[];
}

/** A name as `mayChange` has it: `shared.audit`, or the schema alone. */
export function nameOf(schema: string | null | undefined, name: string | undefined, kind = ""): string {
  if (schema === null || schema === undefined) return kind === "schema" ? String(name) : `${kind} ${name}`;
  return name === undefined ? schema : `${schema}.${name}`;
}

/** Whether one of these names is that of an object, of its schema, or the schema with a star: `archive.*`. */
export function mayChange(names: readonly string[], schema: string | null | undefined, name: string): boolean {
  const plain = names.map((one) => one.replaceAll('"', "").toLowerCase());
  const wanted = [name, ...(schema === null || schema === undefined ? [] : [schema, `${schema}.*`])];
  return wanted.some((one) => plain.includes(one.toLowerCase()));
}

/** How a message lists the objects, at most three of them. */
export function listed(names: readonly string[]): string {
  const some = names.slice(0, 3).join(", ");
  return names.length > 3 ? `${some} and ${names.length - 3} more` : some;
}

/** What to do about a change that is refused. */
export function hintFor(names: readonly string[]): string {
  const list = names
    .slice(0, 3)
    .map((name) => JSON.stringify(name))
    .join(", ");
  return `a tenant's migration may change its own schema alone: put this into a shared migration; or allow it in the config: "migrations": { "mayChange": [${list}] }`;
}
