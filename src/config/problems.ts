// Config room: what is wrong with a config, each thing with its path in the file and, where the file is text, its place.

import { ProblemsError } from "../errors.js";
import { MEND_HINT, type Source } from "./source.js";

export interface Problem {
  path: readonly PropertyKey[];
  message: string;
}

/** One error for all of them. */
export async function configError(source: Source, problems: Problem[], hint = MEND_HINT): Promise<ProblemsError> {
  const lines = await Promise.all(
    problems.map(async ({ path, message }) => {
      const place = await source.locate(path);
      const where = place === undefined ? source.label : `${source.label}:${place}`;
      return `${where}: ${path.length === 0 ? "" : `${pathInWords([...source.prefix, ...path])}: `}${message}`;
    }),
  );
  return new ProblemsError("CONFIG_INVALID", `${source.label} is not valid`, lines, { hint });
}

/** `tenants.thor.hosts[0]`; a key that is no word is quoted: `tenants["acme.eu"]`. */
export function pathInWords(path: readonly PropertyKey[]): string {
  return path.reduce<string>((words, key) => {
    if (typeof key === "number") return `${words}[${key}]`;
    const name = String(key);
    if (!/^[\p{L}\p{N}_$-]+$/u.test(name)) return `${words}[${JSON.stringify(name)}]`;
    return words === "" ? name : `${words}.${name}`;
  }, "");
}
