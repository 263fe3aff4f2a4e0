// Config room: JSON with comments, read so that every value has a place. Loaded only where plain JSON is not enough.

import {
  findNodeAtLocation,
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "jsonc-parser";

/** What a parser makes of a text. Offsets count from its start. */
export interface Reading {
  value: unknown;
  problems: { offset: number; message: string }[];
  /** The keys of the map at the path, in the text's order. */
  keys(path: readonly string[]): string[];
  /** Where the value at the path starts. */
  offset(path: readonly PropertyKey[]): number | undefined;
}

/** Reads the text to the end, whatever is wrong with it. Offsets count from its start. */
export function readJsonc(text: string): Reading {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  // one mistake makes several errors, and the first is where it is
  const broken = errors
    .slice(0, 1)
    .map(({ offset, error }) => ({ offset, message: inWords(printParseErrorCode(error)) }));
  const at = (path: readonly PropertyKey[]) =>
    root &&
    findNodeAtLocation(
      root,
      [...path].map((key) => (typeof key === "number" ? key : String(key))),
    );
  return {
    value: root && getNodeValue(root),
    problems: broken.length > 0 || root === undefined ? broken : duplicates(root),
    keys: (path) => (at(path)?.children ?? []).map((property) => String(property.children?.[0]?.value)),
    offset: (path) => at(path)?.offset,
  };
}

function duplicates(node: Node): Reading["problems"] {
  const seen = new Set<unknown>();
  return (node.children ?? []).flatMap((child) => {
    if (child.type !== "property") return duplicates(child);
    const [key, value] = child.children ?? [];
    const twice = seen.has(key?.value);
    seen.add(key?.value);
    return [
      ...(twice ? [{ offset: child.offset, message: `${JSON.stringify(key?.value)} is there twice` }] : []),
      ...(value === undefined ? [] : duplicates(value)),
    ];
  });
}

/** `CommaExpected` -> `comma expected`. */
function inWords(code: string): string {
  return code.replace(/(?<!^)([A-Z])/g, " $1").toLowerCase();
}
