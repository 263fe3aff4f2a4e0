// The migrations room: dbmate's format, an up section and a down section in one file.

import { type ErrorOptionsWithHint, TenantctlError } from "../errors.js";
import { lineAndColumnIn } from "./places.js";

/** A file that is no migration, and where in it that shows. */
export class MalformedFile extends TenantctlError {
  override readonly name = "MalformedFile";
  /** The message without the place. */
  readonly problem: string;
  readonly line: number;

  constructor(problem: string, file: string, line?: number, options: ErrorOptionsWithHint = {}) {
    super("MIGRATIONS_INVALID", `${problem} (${file}${line === undefined ? "" : `:${line}`})`, options);
    this.problem = problem;
    this.line = line ?? 1;
  }
}

export interface Section {
  text: string;
  /** Whether it runs in the tenant's transaction. `transaction:false` is for CREATE INDEX CONCURRENTLY and its like. */
  transaction: boolean;
  /** The line of the file, from 1, on which `text` begins, always at its first column. */
  line: number;
}

/** A line that begins a section. */
export interface Mark {
  direction: "up" | "down";
  options: string;
  /** In UTF-16 units of the file's text. */
  start: number;
  /** Where the section's text begins. */
  end: number;
}

const marker = /^[ \t]*--[ \t]*migrate:(up|down)\b[ \t]*(.*?)[ \t]*\r?$/gm;

/** The markers of a file, in its order. */
export function marksIn(text: string): Mark[] {
  return [...text.matchAll(marker)].map((match) => ({
    direction: match[1] as Mark["direction"],
    options: match[2] ?? "",
    start: match.index,
    end: match.index + match[0].length + 1,
  }));
}

/**
 * Splits a file into its sections. Without markers the whole file is up.
 * @throws MalformedFile MIGRATIONS_INVALID with file and line.
 */
export function readSections(text: string, file: string): { up: Section; down: Section | undefined } {
  const placeOf = lineAndColumnIn(text);
  const marks = marksIn(text).map((mark) => ({ ...mark, line: placeOf(mark.start).line }));
  const [first] = marks;
  if (first === undefined) return { up: { text, transaction: true, line: 1 }, down: undefined };
  const before = text.slice(0, first.start);
  const stray = before.split("\n").findIndex((line) => line.trim() !== "" && !line.trim().startsWith("--"));
  if (stray !== -1)
    throw new MalformedFile("SQL before the first -- migrate:up marker belongs to no section", file, stray + 1);

  const sections: { up?: Section; down?: Section } = {};
  for (const [index, mark] of marks.entries()) {
    if (sections[mark.direction])
      throw new MalformedFile(`a second -- migrate:${mark.direction} marker`, file, mark.line);
    sections[mark.direction] = {
      text: text.slice(mark.end, marks[index + 1]?.start),
      transaction: readOptions(mark.options, file, mark.line),
      line: mark.line + 1,
    };
  }
  if (!sections.up) throw new MalformedFile("there is a -- migrate:down marker and no -- migrate:up", file, first.line);
  return { up: sections.up, down: sections.down };
}

function readOptions(options: string, file: string, line: number): boolean {
  let transaction = true;
  for (const option of options.split(/\s+/).filter(Boolean)) {
    if (option === "transaction:false") transaction = false;
    else if (option !== "transaction:true") {
      throw new MalformedFile(
        `unknown option ${JSON.stringify(option)} after the marker; there is transaction:false`,
        file,
        line,
      );
    }
  }
  return transaction;
}
