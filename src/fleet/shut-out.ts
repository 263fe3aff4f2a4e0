// The fleet room: how a tenant's logins and roles are taken away, whatever the tenant does meanwhile: first LOGIN, then the sessions, then the roles.

import type { Database } from "../database/database.js";
import { dropRolesText, keptByText } from "../database/own-roles.js";
import { identifier } from "../database/quote.js";
import { endSessions } from "../database/sessions.js";
import { withTransaction } from "../database/transaction.js";

/**
 * Takes LOGIN from those of these roles that have it, at once, so that nobody comes back; then ends their sessions.
 * @returns whom it was taken from.
 */
export async function shutOut(database: Database, roles: readonly string[]): Promise<string[]> {
  const shut = await withTransaction(database, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      "select rolname as name from pg_roles where rolname = any($1) and rolcanlogin order by 1",
      [roles],
    );
    for (const { name } of rows) await client.query(`alter role ${identifier(name)} nologin`);
    return rows.map(({ name }) => name);
  });
  await endSessions(database, roles);
  return shut;
}

/** Gives LOGIN back, where what it was taken for did not happen. */
export async function letIn(database: Database, roles: readonly string[]): Promise<void> {
  if (roles.length === 0) return;
  await withTransaction(database, async (client) => {
    for (const role of roles) await client.query(`alter role ${identifier(role)} login`);
  });
}

/** A role that could not be dropped. */
export interface Kept {
  role: string;
  /** What it owns, and where: `it owns large object 16411`. */
  why: string;
  /** It still has LOGIN or memberships, which we may not take from it. */
  able: boolean;
}

/** Drops roles with their rights in this database. Resolves to those that stay, stripped, and why. */
export async function dropRoles(database: Database, roles: readonly string[]): Promise<Kept[]> {
  await withTransaction(database, (client) =>
    client.query(dropRolesText(roles, database.capabilities.membershipOptions)),
  );
  return await keptOf(database, roles);
}

/** Of these roles, those that are still there, and what keeps each. */
export async function keptOf(database: Database, roles: readonly string[]): Promise<Kept[]> {
  const { rows } = await database.withClient((client) =>
    client.query<Kept>(
      `select r.rolname as role, coalesce(${keptByText("r.oid")}, 'another role made it') as why,
         r.rolcanlogin or exists (select from pg_auth_members m where m.member = r.oid) as able
       from pg_roles r where r.rolname = any($1) order by 1`,
      [roles],
    ),
  );
  return rows;
}

/** What is to be said of a role that stays. */
export function keptWords({ role, why, able }: Kept): { message: string; hint: string } {
  const drop = `drop owned by ${identifier(role)}, then: drop role ${identifier(role)}`;
  return able
    ? { message: `the role ${role} stays, and has LOGIN or memberships: ${why}`, hint: `as a superuser: ${drop}` }
    : {
        message: `the role ${role} stays, without LOGIN and rights: ${why}`,
        hint: `reassign what it owns, or: ${drop}`,
      };
}
