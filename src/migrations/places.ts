// The migrations room: places in a text, in bytes, in UTF-16 units, in lines and columns. Texts may be dumps of megabytes, and be asked about often.

/** Line and column of offsets in a text, from 1; a column counts characters. Its lines are looked for when the first one is asked about. */
export function lineAndColumnIn(text: string): (offset: number) => { line: number; column: number } {
  let starts: number[] | undefined;
  let last = { line: 1, column: 1, at: 0 };
  return (offset) => {
    starts ??= lineStarts(text);
    const line = lastNotAbove(starts, offset) + 1;
    const known = line === last.line && last.at <= offset ? last : { column: 1, at: starts[line - 1] as number };
    last = { line, column: known.column + [...text.slice(known.at, offset)].length, at: offset };
    return { line, column: last.column };
  };
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

/** Of rising numbers, the index of the last one that is not above this. */
function lastNotAbove(numbers: readonly number[], limit: number): number {
  let [low, high] = [0, numbers.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((numbers[middle] as number) <= limit) low = middle;
    else high = middle;
  }
  return low;
}

/** UTF-16 units for the parser's offsets, which count bytes of UTF-8. */
export function unitsIn(text: string): (bytes: number) => number {
  const encoded = Buffer.from(text);
  if (encoded.length === text.length) return (bytes) => bytes;
  let [atBytes, atUnits] = [0, 0];
  const between = (from: number, to: number) => encoded.subarray(from, to).toString().length;
  return (bytes) => {
    atUnits += bytes < atBytes ? -between(bytes, atBytes) : between(atBytes, bytes);
    atBytes = bytes;
    return atUnits;
  };
}

/** Where a line, from 1, begins. */
export function lineStart(text: string, line: number): number {
  let at = 0;
  for (let left = line - 1; left > 0 && text.includes("\n", at); left--) at = text.indexOf("\n", at) + 1;
  return at;
}
