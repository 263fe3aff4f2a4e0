// The migrations room: a new migration file.

import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TenantctlError } from "../errors.js";
import { versionOf } from "./files.js";

const sql = `-- migrate:up


-- migrate:down

`;

const typescript = `// client: a pg client inside the tenant's transaction, its search_path set; tenant: { name, schema }
export async function up({ client, tenant }) {
}

export async function down({ client, tenant }) {
}
`;

/**
 * Writes an empty migration whose version is the time now, or one more than the last file's.
 * @returns the file's path.
 * @throws TenantctlError USAGE for a name that makes no file name; FILE_EXISTS.
 */
export async function createMigration(folder: string, name: string, kind: "sql" | "ts"): Promise<string> {
  const words = name.trim().replaceAll(/[\s-]+/g, "_");
  if (!/^[\p{L}\p{N}_]{1,100}$/u.test(words)) {
    throw new TenantctlError(
      "USAGE",
      `a migration's name is words: letters, digits and _, not ${JSON.stringify(name)}`,
      { hint: "for example: tenantctl new-migration add_polls" },
    );
  }
  try {
    await mkdir(folder, { recursive: true });
    const file = join(folder, `${await nextVersion(folder)}_${words}.${kind}`);
    await writeFile(file, kind === "sql" ? sql : typescript, { flag: "wx" });
    return file;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new TenantctlError(
      code === "EEXIST" ? "FILE_EXISTS" : "MIGRATIONS_INVALID",
      `can't write the migration: ${message}`,
      { hint: '"migrations" in the config says where they are', cause: error },
    );
  }
}

// Files made within one second, or on a machine whose clock is behind, still come last.
async function nextVersion(folder: string): Promise<string> {
  const now = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
  const versions = (await readdir(folder)).filter((file) => /^\d{14}[_-]/.test(file)).map(versionOf);
  const last = versions.sort().at(-1);
  return last === undefined || last < now ? now : String(BigInt(last) + 1n);
}
