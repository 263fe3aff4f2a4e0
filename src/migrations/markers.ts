// The migrations room: markers that other tools understand, and mistyped ones: no section would begin there, and all of it would run as up.

import { lineCommentsIn } from "../database/text.js";
import { lineAndColumnIn } from "./places.js";
import { MalformedFile, type Mark, marksIn } from "./sections.js";

type Direction = Mark["direction"];

/** A comment that looks like a marker. */
interface Candidate {
  direction: Direction;
  /** Whose marker it is; undefined for one of ours that is mistyped. */
  tool: string | undefined;
  /** A word alone, which other tools take for a marker, and people write above what is to come. */
  heading: boolean;
  /** In UTF-16 units, with the dashes. */
  start: number;
  end: number;
}

const hint =
  "write -- migrate:up above what is to run, and -- migrate:down above what undoes it; if such a file was applied, its down part ran too: correct the file, run what is missing (tenantctl sql --all --write), then tenantctl repair";

/**
 * Refuses a file in which another tool's marker, or a mistyped one, has SQL behind it that would run as another section.
 * Whoever writes both, one below the other, is understood by both tools.
 * @throws AggregateError of MalformedFile, one for each marker.
 */
export function refuseStrangeMarkers(text: string, file: string): void {
  let found = candidatesIn(text);
  if (found.length === 0) return;
  const comments = lineCommentsIn(text);
  found = found.filter(({ start }) => comments.has(start));
  const marks = marksIn(text);
  const headings = found.filter(({ heading }) => heading);
  const isPair = marks.length === 0 && new Set(headings.map(({ direction }) => direction)).size === 2;
  const strange = found.filter(
    ({ heading, direction, end }) =>
      (!heading || isPair) && !["nothing", direction].includes(sectionBehind(text, end, marks)),
  );
  // Without a marker of a down part all of it is meant to run, as it does.
  if (strange.every(({ tool, direction }) => tool !== undefined && direction === "up") && marks.length === 0) return;
  const placeOf = lineAndColumnIn(text);
  throw new AggregateError(
    strange.map(({ tool, direction, start, end }) => {
      const written = JSON.stringify(text.slice(start, end).trim());
      const whose = tool === undefined ? `${written} begins no section` : `${written} is ${tool}'s marker, not ours`;
      return new MalformedFile(`${whose}: write -- migrate:${direction}`, file, placeOf(start).line, { hint });
    }),
  );
}

const comment = /^[ \t]*(--.*)$/gm;

function candidatesIn(text: string): Candidate[] {
  const found: Candidate[] = [];
  for (const match of text.matchAll(comment)) {
    const written = match[1] ?? "";
    if (written.length > longest) continue;
    const content = written.replaceAll(edges, "");
    const end = match.index + match[0].length;
    const start = end - written.length;
    const foreign = foreignMarker(content);
    const direction = foreign?.direction ?? mistyped(written, content);
    const heading = headingOf(content);
    if (direction !== undefined) found.push({ direction, tool: foreign?.tool, heading: false, start, end });
    else if (heading !== undefined && isBetweenStatements(text, start))
      found.push({ direction: heading, tool: "another tool", heading: true, start, end });
  }
  return found;
}

const longest = 200;
const edges = /^[\s\u200b\ufeff-]+|[\s\u200b\ufeff-]+$/g;

const directions: Readonly<Record<string, Direction>> = {
  ...{ up: "up", ups: "up" },
  ...{ down: "down", downs: "down", undo: "down", rollback: "down", revert: "down" },
};

const foreign: readonly { tool: string; pattern: RegExp; direction?: Direction }[] = [
  { tool: "goose", pattern: /^\+goose\s+(up|down)\b/i },
  { tool: "sql-migrate", pattern: /^\+migrate\s+(up|down)\b/i },
  { tool: "rambler", pattern: /^rambler\s+(up|down)$/i },
  { tool: "node-pg-migrate", pattern: /^(up|down)\s+migration$/i },
  { tool: "tern", pattern: /^create above\s*\/\s*drop below$/i, direction: "down" },
  { tool: "MyBatis", pattern: /^(?:\/\/\s*)?@(undo)$/i },
  { tool: "Play", pattern: /^!(ups|downs)$/i },
  { tool: "another tool", pattern: /^[@+!#/\s]*[@+!#](ups?|downs?|undo|rollback)$/i },
];

function foreignMarker(content: string): { tool: string; direction: Direction } | undefined {
  for (const { tool, pattern, direction } of foreign) {
    const match = pattern.exec(content);
    const found = match && (direction ?? directions[(match[1] ?? "").toLowerCase()]);
    if (found) return { tool, direction: found };
  }
  return undefined;
}

// "-- Up", "-- === DOWN ===".
function headingOf(content: string): Direction | undefined {
  const [, word = ""] = /^[=*\s-]*(\w+)[=*\s:-]*$/.exec(content) ?? [];
  return directions[word.toLowerCase()];
}

// In a list of values it is about the next one.
function isBetweenStatements(text: string, at: number): boolean {
  return /(^|;)\s*$/.test(withoutComments(text.slice(Math.max(0, at - 2000), at)));
}

function withoutComments(text: string): string {
  return text.replaceAll(/--.*$|\/\*[\s\S]*?\*\//gm, "");
}

const exact = /^--[ \t]*migrate:(up|down)\b/;
const pair = /^[@+!#/=*\s]*(\p{L}+)([\s:;.,=_/-]+)(\p{L}+)((?:\s+transaction\s*[:=]\s*\w+)?[\s;:.*=-]*)$/u;
const known = ["migrate", "migration", "migrations"];

// Two words and nothing else, but options: "migrate the data down to …" is a sentence.
function mistyped(written: string, content: string): Direction | undefined {
  if (exact.test(written)) return undefined;
  const [, first = "", between = "", second = ""] = pair.exec(content) ?? [];
  if (!known.some((word) => isNear(first.toLowerCase(), word))) return undefined;
  const word = second.toLowerCase();
  const right = Object.hasOwn(directions, word) ? directions[word] : undefined;
  // Without a colon only what is a direction, or a swapped one: "migrate town" speaks of a town.
  if (right !== undefined || !/[:;=]/.test(between)) return right ?? (isSwapped(word, "down") ? "down" : undefined);
  // Words of two letters are near to too many others: "migration: US".
  return /^(pu|u+p+)$/.test(word) ? "up" : isNear(word, "down") ? "down" : undefined;
}

/** Whether a word is another one, or one letter more, less or other, or two of its letters swapped, lead there. */
function isNear(word: string, wanted: string): boolean {
  const [left, right] = differing(word, wanted);
  return (left.length <= 1 && right.length <= 1) || isReversed(left, right);
}

function isSwapped(word: string, wanted: string): boolean {
  return word.length === wanted.length && isReversed(...differing(word, wanted));
}

function isReversed(left: string, right: string): boolean {
  return left.length === 2 && right === `${left[1]}${left[0]}`;
}

/** What is left of two words without what both begin and end with. */
function differing(word: string, wanted: string): [string, string] {
  const least = Math.min(word.length, wanted.length);
  let begin = 0;
  while (begin < least && word[begin] === wanted[begin]) begin++;
  let end = 0;
  while (end < least - begin && word.at(-1 - end) === wanted.at(-1 - end)) end++;
  return [word.slice(begin, word.length - end), wanted.slice(begin, wanted.length - end)];
}

/** The section that the SQL behind a place belongs to; nothing where no SQL is left, or all of it is in comments. */
function sectionBehind(text: string, from: number, marks: readonly Mark[]): Direction | "all" | "nothing" {
  const next = marks.find(({ start }) => start >= from);
  if (withoutComments(text.slice(from, next?.start)).trim() === "") return next?.direction ?? "nothing";
  return marks.findLast(({ start }) => start < from)?.direction ?? "all";
}
