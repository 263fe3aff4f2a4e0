// Registry room: the names in the config that are not tenants'.

import type { Config } from "../config/load.js";
import { checkIdentifier } from "./names.js";
import { problemsIn } from "./tenants.js";

/** What is wrong with those that PostgreSQL would cut short, or can't take. */
export function settingsProblems({ sharedSchemas, appRole }: Config): string[] {
  return [
    ...sharedSchemas.map((schema, index) => [`sharedSchemas[${index}]`, "schema name", schema] as const),
    ...(appRole === undefined ? [] : [["appRole", "role name", appRole] as const]),
  ].flatMap(([where, what, name]) =>
    problemsIn(() => checkIdentifier(what, name)).map((problem) => `${where}: ${problem}`),
  );
}
