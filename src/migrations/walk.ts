// The migrations room: syntax trees as PostgreSQL's parser gives them, and the way through one.

/** One node's fields. */
export type Node = Record<string, unknown>;

/** Calls `see` with each object of a syntax tree, in the order of the text, and with the key that it stands under. */
export function visit(tree: unknown, see: (node: Node, key: string) => void): void {
  // No recursion: an expression of thousands of terms is as deep.
  const waiting: [unknown, string][] = [[tree, ""]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [value, key] = next;
    if (typeof value !== "object" || value === null) continue;
    if (!Array.isArray(value)) see(value as Node, key);
    for (const [name, inner] of Object.entries(value).reverse())
      waiting.push([inner, Array.isArray(value) ? key : name]);
  }
}
