// The database room: what the roles of isolated tenants are called: in the whole cluster, so each carries its database.

import { createHash } from "node:crypto";

/** How tenants are kept apart where each has a role. */
export interface Isolation {
  /** The database that the roles' names carry. */
  database: string;
  /** Who may become the tenants' roles: the application's role, and we ourselves. */
  members: readonly string[];
  /** Whether a membership says if it is inherited (PostgreSQL 16 and newer). Else the member itself must be NOINHERIT. */
  membershipOptions: boolean;
  /** The application's role, which must not have rights in the schemas besides; undefined where it owns them. */
  appRole: string | undefined;
  /** Leaves it the rights that it has. */
  keepRights?: boolean;
}

const longestName = 63;

/** The role that may use one tenant's schema and no other's. Always the same for a database and a schema, and no two alike. */
export function tenantRole(database: string, schema: string): string {
  return roleName("tenant", database, schema);
}

/** The login role of one tenant's, where it has one. */
export function tenantLogin(database: string, schema: string): string {
  return roleName("login", database, schema);
}

/**
 * The names that a tenant's login roles may have: one is made first, the other when a password is to be changed without downtime, and so in turn.
 */
export function tenantLogins(database: string, schema: string): [string, string] {
  return [tenantLogin(database, schema), roleName("login2", database, schema)];
}

/** The role of which all the tenants' roles of a database are members: it may read what is shared. */
export function sharedRole(database: string): string {
  return roleName("tenants", database);
}

// What is cut short, or has the separator in it, is told apart by the hash.
function roleName(kind: string, database: string, schema?: string): string {
  const hash = createHash("sha256")
    .update([kind, database, ...(schema === undefined ? [] : [schema])].join("\0"))
    .digest("hex")
    .slice(0, 16);
  const room = longestName - kind.length - hash.length - 3;
  const within = schema === undefined ? "" : cut(schema, Math.max(room - Buffer.byteLength(database), room - 16));
  return [kind, cut(database, room - Buffer.byteLength(within)), ...(within === "" ? [] : [within]), hash].join("_");
}

/** At most so many bytes of UTF-8, and no half character. */
function cut(text: string, bytes: number): string {
  let short = "";
  for (const character of text) {
    if (Buffer.byteLength(short + character) > bytes) break;
    short += character;
  }
  return short;
}
