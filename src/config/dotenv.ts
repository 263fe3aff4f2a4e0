// Config room: the `.env` file beside the config.

import { readFileSync } from "node:fs";
import path from "node:path";
import { parseEnv } from "node:util";
import { TenantctlError } from "../errors.js";
import type { Environment } from "./expand.js";

/**
 * The environment, and beneath it what the folder's `.env` says. Changes neither.
 *
 * @throws TenantctlError CONFIG_INVALID when the file is there and can't be read.
 */
export function withDotEnv(folder: string, env: Environment): Environment {
  const file = path.join(folder, ".env");
  let beneath: Environment;
  try {
    beneath = parseEnv(readFileSync(file, "utf8")) as Record<string, string>;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EISDIR") return env;
    throw new TenantctlError("CONFIG_INVALID", `${file} can't be read: ${code}`, {
      hint: "may this user read it? It is read where it is there",
      cause: error,
    });
  }
  const set = Object.entries(env).filter(([, value]) => value !== undefined);
  return { ...beneath, ...Object.fromEntries(set) };
}
