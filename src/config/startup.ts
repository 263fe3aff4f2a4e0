// Config room: startup options in a URL, as PGOPTIONS has them, which may set anything but whose statements are whose.

import { TenantctlError } from "../errors.js";
import type { Parameter } from "./parameters.js";

/** Which schema and role a statement has is for us to say. */
const OURS = ["search_path", "role", "session_authorization"];

/**
 * The options, checked.
 *
 * @throws TenantctlError CONFIG_INVALID where they set what follows the tenant.
 */
export function startupOptions(parameter: Parameter | undefined): string | undefined {
  if (parameter === undefined) return undefined;
  const setting = settingsOf(parameter.value).find((name) => OURS.includes(name));
  if (setting === undefined) return parameter.value;
  throw new TenantctlError("CONFIG_INVALID", `${parameter.from}: options may not set ${setting}`, {
    hint: "tenantctl sets it itself, for each tenant; leave it out",
  });
}

// The server splits at white space, and a backslash takes the next character as it is.
function settingsOf(options: string): string[] {
  const words = [...options.matchAll(/(?:\\.|[^\s\\])+/gs)].map(([word]) => word.replace(/\\(.)/gs, "$1"));
  return words
    .map((word, at) => (words[at - 1] === "-c" ? word : word.replace(/^(-c|--)/, "")))
    .map((word) => (word.split("=", 1)[0] ?? "").replaceAll("-", "_").toLowerCase());
}
