// Config room: `${VAR}` and `${VAR:-default}` in the config's texts.

export type Environment = Readonly<Record<string, string | undefined>>;

/** The text with its variables filled in, or why that can't be. */
export type Expansion = { text: string } | { problem: string };

/**
 * Fills in variables as a shell does: `:-` stands in for one that is unset or empty. What a variable holds is not expanded again.
 *
 * @returns a problem when a variable is unset, a `${` is never closed, or nothing remains.
 */
export function expand(text: string, env: Environment): Expansion {
  const problems: string[] = [];
  const expanded = text.replace(/\$\{([^}]*)(\}?)/g, (whole, inside: string, end: string) => {
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside) ?? [];
    if (name === undefined || end === "" || fallback?.includes("${")) {
      problems.push(`has a \${ that is neither \${VAR} nor \${VAR:-default}`);
      return whole;
    }
    const value = env[name];
    if (fallback !== undefined) return value || fallback;
    if (value === undefined) problems.push(`\${${name}} is not set`);
    return value ?? "";
  });
  const [problem] = problems;
  if (problem !== undefined) return { problem };
  return expanded === "" ? { problem: text === "" ? "is empty" : `${text} is empty` } : { text: expanded };
}
