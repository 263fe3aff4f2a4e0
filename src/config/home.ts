// Config room: the folder where libpq looks for a user's own files.

import { homedir } from "node:os";
import type { Environment } from "./expand.js";

/** HOME, or what the system knows. */
export function homeFolder(env: Environment): string {
  return env.HOME || homedir();
}
