// Config room: whose files are obeyed. A config that was found by looking for it may be anybody's: /tmp/tenants.config.ts would run as whoever works beneath it.

import { lstatSync, realpathSync, type Stats, statSync } from "node:fs";
import path from "node:path";
import { TenantctlError } from "../errors.js";
import type { Environment } from "./expand.js";

/**
 * Refuses a file that was found, not named, where it or its folder belongs to somebody who is neither us nor root; a link is judged by itself, and by where it leads.
 * `TENANTCTL_TRUST` names folders whose files are trusted all the same, separated as in PATH. Where the system has no user ids, nothing is refused.
 *
 * @throws TenantctlError CONFIG_UNTRUSTED; CONFIG_INVALID when TENANTCTL_TRUST has a path that is not absolute.
 */
export function refuseForeign(file: string, env: Environment): void {
  const us = process.geteuid?.();
  if (us === undefined) return;
  const foreign = ownersOf(file).find(({ uid }) => uid !== us && uid !== 0);
  if (foreign === undefined || trustedFolders(env).some((folder) => isWithin(file, folder))) return;
  throw new TenantctlError(
    "CONFIG_UNTRUSTED",
    `${file} was found and is not read: ${foreign.of} belongs to another user (uid ${foreign.uid})`,
    {
      hint: `if you trust that user, name the file (--config ${file}) or its folder (TENANTCTL_TRUST=${path.dirname(file)})`,
    },
  );
}

function ownersOf(file: string): { of: string; uid: number }[] {
  const looks: [string, string, (file: string) => Stats | undefined][] = [
    ["it", file, (at) => lstatSync(at, { throwIfNoEntry: false })],
    ["its folder", path.dirname(file), statIfThere],
    ["the file that it leads to", file, statIfThere],
    ["the folder that it leads to", path.dirname(realPath(file)), statIfThere],
  ];
  return looks.flatMap(([of, at, look]) => {
    const stats = look(at);
    return stats === undefined ? [] : [{ of, uid: stats.uid }];
  });
}

function trustedFolders(env: Environment): string[] {
  const folders = (env.TENANTCTL_TRUST ?? "").split(path.delimiter).filter((folder) => folder !== "");
  const relative = folders.find((folder) => !path.isAbsolute(folder));
  if (relative === undefined) return folders;
  throw new TenantctlError("CONFIG_INVALID", `TENANTCTL_TRUST has "${relative}", which is no absolute path`, {
    hint: `it names folders, separated by "${path.delimiter}": TENANTCTL_TRUST=/srv/polls`,
  });
}

/** Whether the folder has the file in it, at any depth. */
function isWithin(file: string, folder: string): boolean {
  const way = path.relative(realPath(folder), realPath(file));
  return way !== ".." && !way.startsWith(`..${path.sep}`) && !path.isAbsolute(way);
}

function realPath(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return path.resolve(file); // not there, or not for us to look at: reading it says so
  }
}

function statIfThere(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
