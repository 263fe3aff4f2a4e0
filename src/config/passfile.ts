// Config room: libpq's password file, `~/.pgpass` or what PGPASSFILE names.

import { readFileSync, statSync } from "node:fs";

/** What a line of the file must match. */
export interface Login {
  /** `localhost` for the default socket. */
  host: string;
  port: number;
  database: string;
  user: string;
}

/** The password of the first line that matches. A file that is missing, no file, or open to others counts for nothing, as with libpq. */
export function findPassword(file: string, login: Login): { password?: string; warning?: string } {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined) return {};
  if (!stats.isFile()) return { warning: `password file ${file} is not a plain file, and was not read` };
  if ((stats.mode & 0o077) !== 0) {
    return { warning: `password file ${file} has group or world access, and was not read; chmod 0600 mends it` };
  }
  const wanted = [login.host, String(login.port), login.database, login.user];
  for (const line of readable(file).split(/\r?\n/)) {
    if (line.startsWith("#")) continue;
    const fields = fieldsOf(line);
    const password = fields[wanted.length]; // what follows it is a comment to libpq
    if (password === undefined) continue;
    if (wanted.every((word, index) => fields[index]?.raw === "*" || fields[index]?.text === word)) {
      return password.text === "" ? {} : { password: password.text };
    }
  }
  return {};
}

/** The fields between the colons, as written and with `\:` and `\\` resolved. */
function fieldsOf(line: string): { raw: string; text: string }[] {
  const fields = [{ raw: "", text: "" }];
  for (const [token, escaped] of line.matchAll(/\\(.)|./gs)) {
    const field = fields.at(-1);
    if (token === ":") fields.push({ raw: "", text: "" });
    else if (field !== undefined) {
      field.raw += token;
      field.text += escaped ?? token;
    }
  }
  return fields;
}

function readable(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
