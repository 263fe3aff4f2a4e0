// Registry room: small changes to a text that somebody laid out by hand.

/** How the text ends its lines. */
export function lineEnd(text: string): "\r\n" | "\n" {
  return text.includes("\r\n") ? "\r\n" : "\n";
}

/** The white space that the line of an offset starts with. */
export function indentAt(text: string, offset: number): string {
  return /^[ \t]*/.exec(text.slice(lineStart(text, offset)))?.[0] ?? "";
}

/** Is there nothing but white space before the offset, on its line? */
export function startsLine(text: string, offset: number): boolean {
  return text.slice(lineStart(text, offset), offset).trim() === "";
}

/** Where the line of an offset ends, before its line end. */
export function lineStop(text: string, offset: number): number {
  const found = /\r?\n/.exec(text.slice(offset));
  return found === null ? text.length : offset + found.index;
}

/** The text with something put in. */
export function insert(text: string, offset: number, piece: string): string {
  return text.slice(0, offset) + piece + text.slice(offset);
}

/** The text without a piece; a line that is blank then goes too, and where two spaces meet one stays. */
export function cut(text: string, start: number, end: number): string {
  const from = lineStart(text, start);
  const before = text.slice(from, start);
  const after = text.slice(end);
  const rest = after.slice(0, lineStop(after, 0));
  if (`${before}${rest}`.trim() === "") {
    const whole = /^[^\n]*\n/.exec(after);
    // of a last line without an end, the line end before it goes
    return whole === null
      ? text.slice(0, from).replace(/\r?\n$/, "")
      : text.slice(0, from) + after.slice(whole[0].length);
  }
  return text.slice(0, start) + (/(^|[ \t{[])$/.test(before) ? after.replace(/^[ \t]+/, "") : after);
}

/** The text without an entry between braces, and without the comma that parts it from a neighbour: the next, or else the last. */
export function cutEntry(
  text: string,
  start: number,
  end: number,
  commas: { behind?: number; before?: number },
): string {
  const { behind, before } = commas;
  if (behind !== undefined) return cut(cut(text, behind, behind + 1), start, end);
  if (before === undefined) return cut(text, start, end);
  if (/^[ \t]*$/.test(text.slice(before + 1, start))) return cut(text, before, end);
  return cut(cut(text, start, end), before, before + 1);
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf("\n", offset - 1) + 1;
}
