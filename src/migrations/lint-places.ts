// The migrations room: where in a text is what lint found.

import type { SchemaMention } from "./lint-names.js";

/** Where mentions are in a text; those without a location are looked for, each further on than the one before it. */
export function placesIn(text: string, start: number, end: number): (mention: SchemaMention, from?: number) => number {
  const units = unitsIn(text);
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

/** UTF-16 units for the parser's offsets, which count bytes of UTF-8. */
export function unitsIn(text: string): (bytes: number) => number {
  let encoded: Buffer | undefined;
  return (bytes) => {
    encoded ??= Buffer.from(text);
    return encoded.length === text.length ? bytes : encoded.subarray(0, bytes).toString().length;
  };
}

/** Where a line, from 1, begins. */
export function lineStart(text: string, line: number): number {
  let at = 0;
  for (let left = line - 1; left > 0 && text.includes("\n", at); left--) at = text.indexOf("\n", at) + 1;
  return at;
}
