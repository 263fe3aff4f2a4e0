// The migrations room: where in a text is what lint found.

import type { SchemaMention } from "./lint-names.js";

/**
 * Where mentions are between two places of a text; those without a location are looked for, each further on than the one before it.
 * @param units of the text, for the parser's offsets.
 */
export function placesIn(
  text: string,
  units: (bytes: number) => number,
  start = 0,
  end = text.length,
): (mention: SchemaMention, from?: number) => number {
  const taken = new Set<number>();
  return ({ schema, name, location, quoted }, from = start) => {
    if (location !== undefined) {
      const at = units(location);
      return quoted && text[at] === "'" ? at + 1 : at;
    }
    const escaped = (word: string) => word.replaceAll('"', '""').replaceAll(/[.*+?^$(){}|[\]\\]/g, "\\$&");
    const after = name === undefined ? "(?![\\p{L}\\p{N}_$])" : `\\s*\\.\\s*"?${escaped(name)}`;
    const pattern = new RegExp(`(?<![\\p{L}\\p{N}_$."])"?${escaped(schema)}"?${after}`, "giu");
    const free = [...text.slice(start, end).matchAll(pattern)]
      .map(({ index }) => start + index)
      .filter((at) => !taken.has(at));
    // A loop's query comes after its body in the tree.
    const at = free.find((place) => place >= from) ?? free[0];
    if (at === undefined) return from;
    taken.add(at);
    return at;
  };
}
