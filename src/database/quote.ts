// The database room: how names and text are written into SQL. The only place that quotes.

/** Quotes an identifier, whatever it holds. Callers check its length in bytes first: the server truncates silently. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a name within a schema. */
export function qualified(schema: string, name: string): string {
  return `${identifier(schema)}.${identifier(name)}`;
}

/** Quotes a text as a literal, right with standard_conforming_strings on or off. */
export function literal(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes("\\") ? ` E${quoted.replaceAll("\\", "\\\\")}` : quoted;
}

/** A search_path of these schemas, in order. */
export function searchPath(schemas: readonly string[]): string {
  return schemas.map(identifier).join(", ");
}
