// Registry room: a file that many may change at once: one after the other, each change whole or not at all.

import { constants } from "node:fs";
import { access, type FileHandle, open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { TenantctlError } from "../errors.js";

const WAIT_MS = 30_000;
/** A lock that nobody has touched for so long belongs to a process that died. */
const STALE_MS = 5_000;

/**
 * Changes a text file: under its lock, from what it holds then, in one step that readers see whole; not at all where `edit` changes
 * nothing. A link is followed.
 *
 * @returns what `edit` returned.
 * @throws TenantctlError REGISTRY_WRITE when it can't be locked or written, and whatever `edit` throws.
 */
export async function editFile<T extends { text: string }>(
  file: string,
  edit: (text: string) => Promise<T>,
): Promise<T> {
  const target = await checkWritable(file);
  const lock = await lockFile(target);
  try {
    for (;;) {
      const before = await readText(target);
      const after = await edit(before);
      if (after.text === before) return after;
      if (lock.lost()) throw writeError(target, "the lock on it was lost");
      // an editor takes no lock: what it saved meanwhile must not be undone
      if (await replaceFile(target, after.text, before)) return after;
    }
  } finally {
    await lock.release();
  }
}

/**
 * Could the file be changed?
 *
 * @returns the file itself, where the path leads through links.
 * @throws TenantctlError REGISTRY_WRITE.
 */
export async function checkWritable(file: string): Promise<string> {
  try {
    const target = await realpath(file);
    await access(target, constants.W_OK);
    await access(path.dirname(target), constants.W_OK);
    return target;
  } catch (error) {
    throw writeError(file, error);
  }
}

/** @throws TenantctlError REGISTRY_WRITE. */
export async function readText(file: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await readFile(file));
  } catch (error) {
    throw writeError(file, error);
  }
}

async function lockFile(target: string): Promise<{ lost(): boolean; release(): Promise<void> }> {
  const { lock } = await import("proper-lockfile");
  const deadline = Date.now() + WAIT_MS;
  let lost = false;
  for (;;) {
    try {
      const release = await lock(target, { stale: STALE_MS, realpath: false, onCompromised: () => (lost = true) });
      return { lost: () => lost, release: () => release().catch(() => undefined) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ELOCKED") throw writeError(target, error);
      if (Date.now() > deadline)
        throw writeError(target, `another process has held ${path.basename(target)}.lock for ${WAIT_MS / 1000} s`);
      await setTimeout(10 + Math.random() * 90);
    }
  }
}

/** Writes beside, then renames over; false when the file is not what it was. */
async function replaceFile(target: string, text: string, expected: string): Promise<boolean> {
  const beside = path.join(path.dirname(target), `.${path.basename(target)}.${process.pid}-${Date.now()}.tmp`);
  try {
    const { mode, uid, gid } = await stat(target);
    const handle = await open(beside, "wx", mode);
    try {
      await keepOwner(handle, mode, uid, gid);
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if ((await readText(target)) !== expected) return false;
    await rename(beside, target);
    await syncFolder(path.dirname(target));
    return true;
  } catch (error) {
    throw writeError(target, error);
  } finally {
    await rm(beside, { force: true });
  }
}

/** Of another's file root may keep the owner; everybody else becomes it. */
async function keepOwner(handle: FileHandle, mode: number, uid: number, gid: number): Promise<void> {
  await handle.chown(uid, gid).catch(() => undefined);
  await handle.chmod(mode & 0o7777); // the umask had a say in open
}

/** Else a power cut could undo the rename. Not every system can. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

const denied = "may this user write to it, and to its folder?";
const hints: Record<string, string> = {
  EBUSY: "a file that is mounted by itself can't be replaced: mount its folder",
  EACCES: denied,
  EPERM: denied,
  EROFS: denied,
};

function writeError(file: string, reason: unknown): TenantctlError {
  if (reason instanceof TenantctlError) return reason;
  const { code, message } =
    reason instanceof Error ? (reason as NodeJS.ErrnoException) : { code: undefined, message: String(reason) };
  const hint = code === undefined ? undefined : hints[code];
  return new TenantctlError("REGISTRY_WRITE", `${file} can't be changed: ${code ?? message}`, { hint, cause: reason });
}
