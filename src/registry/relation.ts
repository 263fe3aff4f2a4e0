// Registry room: a table's name as SQL writes it.

import { checkIdentifier } from "./names.js";

/** A table in a schema; both are names as the catalog has them. */
export interface Relation {
  schema: string | undefined;
  name: string;
}

/**
 * Reads `public.tenants`, `tenants` or `"Weird schema"."t"`: what is not quoted is in lower case, as for the server.
 *
 * @returns undefined when it is no name, or one of another database.
 * @throws TenantctlError NAME_INVALID for a part that the server would cut short.
 */
export function parseRelation(text: string): Relation | undefined {
  const part = /(?:"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*))/u.source;
  const match = new RegExp(`^\\s*${part}(?:\\s*\\.\\s*${part})?\\s*$`, "u").exec(text);
  if (match === null) return undefined;
  const [, quoted1, bare1, quoted2, bare2] = match;
  const read = (quoted: string | undefined, bare: string | undefined) =>
    quoted?.replaceAll('""', '"') ?? (bare && folded(bare));
  const first = read(quoted1, bare1) ?? "";
  const second = read(quoted2, bare2);
  const relation = second === undefined ? { schema: undefined, name: first } : { schema: first, name: second };
  for (const name of [relation.schema, relation.name]) if (name !== undefined) checkIdentifier("table name", name);
  return relation;
}

// The server folds ASCII letters, and no others in UTF-8.
function folded(bare: string): string {
  return bare.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
