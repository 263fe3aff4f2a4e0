// Registry room: a tenant's entry as one line of JSON, for files and for messages.

/** `"thor": { "hosts": ["thor.polls.local"] }` */
export function entryLine(key: string, value: unknown): string {
  return `${JSON.stringify(key)}: ${inOneLine(value)}`;
}

/** Any value as one line of JSON, with spaces as people write them. */
export function inOneLine(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inOneLine).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([key, inner]) => entryLine(key, inner));
  return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
}
