// The migrations room: what the application's role may do in a tenant's schema.

import { formerRolesText, ownRoleText } from "../database/own-roles.js";
import { identifier, literal, qualified } from "../database/quote.js";
import { type Isolation, sharedRole, tenantRole } from "../database/roles.js";
import { lockKey } from "../database/transaction.js";
import { ledgerTable } from "./ledger.js";

const kinds = [
  ["select, insert, update, delete", "tables"],
  ["usage, select, update", "sequences"],
  ["execute", "functions"],
] as const;

/**
 * The statements that give a role a schema's tables, sequences and functions, those that are there and those to come,
 * and not the ledger. Right to repeat.
 * @param maker who creates those to come; without it, whoever sends this.
 */
export function grantTexts(schema: string, role: string, maker?: string): string[] {
  const to = identifier(role);
  const within = identifier(schema);
  return [
    `grant usage on schema ${within} to ${to}`,
    ...kinds.flatMap(([rights, kind]) => [
      `grant ${rights} on all ${kind} in schema ${within} to ${to}`,
      `alter default privileges${made(maker)} in schema ${within} grant ${rights} on ${kind} to ${to}`,
    ]),
    `revoke all on table ${qualified(schema, ledgerTable)} from ${to}`,
  ];
}

const made = (maker: string | undefined) => (maker === undefined ? "" : ` for role ${identifier(maker)}`);

/** Finds a role by its name. */
export const roleExistsText = (role: string): string =>
  `select 1 as found from pg_roles where rolname = ${literal(role)}`;

/** The statements that take away what `grantTexts` gave. */
export function revokeTexts(schema: string, role: string, maker?: string): string[] {
  return revokesFrom(identifier(role), identifier(schema), made(maker));
}

function revokesFrom(from: string, within: string, by: string): string[] {
  return [
    ...kinds.flatMap(([, kind]) => [
      `alter default privileges${by} in schema ${within} revoke all on ${kind} from ${from}`,
      `revoke all on all ${kind} in schema ${within} from ${from}`,
    ]),
    `revoke all on schema ${within} from ${from}`,
  ];
}

/**
 * The statements that give a schema's tenant its role, and nobody else rights in the schema: neither PUBLIC, nor the application's role, nor
 * a role that was the schema's under another name. Functions keep EXECUTE for PUBLIC: it is of no use without USAGE on the schema. Right to repeat.
 */
export function isolationTexts(schema: string, isolation: Isolation, maker?: string): string[] {
  const role = tenantRole(isolation.database, schema);
  const group = sharedRole(isolation.database);
  const within = identifier(schema);
  const { appRole, keepRights, membershipOptions, members } = isolation;
  return [
    createRoleText(group),
    ownRoleText(schema, isolation),
    `grant ${identifier(group)} to ${identifier(role)}${membershipOptions ? " with inherit true, set false" : ""}`,
    ...members.map((member) => memberText(role, member, membershipOptions)),
    ...grantTexts(schema, role, maker),
    ...["tables", "sequences"].map((kind) => `revoke all on all ${kind} in schema ${within} from public`),
    `revoke all on schema ${within} from public`,
    ...(appRole === undefined || keepRights ? [] : revokeTexts(schema, appRole, maker)),
    formerRolesText(schema, isolation, revokesFrom("%1$I", forFormat(within), forFormat(made(maker)))),
  ];
}

const forFormat = (text: string) => text.replaceAll("%", "%%");

/** Allows SET ROLE, and nothing without it. */
function memberText(role: string, member: string, membershipOptions: boolean): string {
  const options = membershipOptions ? " with inherit false, set true" : "";
  return `grant ${identifier(role)} to ${identifier(member)}${options}`;
}

// Two at once may want the role that all tenants share: the second one waits, and finds it.
export function createRoleText(role: string): string {
  const missing = `not exists (select from pg_roles where rolname = ${literal(role)})`;
  return `do ${literal(`begin
    if ${missing} then
      perform pg_advisory_xact_lock(${lockKey(`\0role\0${role}`)});
      if ${missing} then create role ${identifier(role)} nologin; end if;
    end if;
  end`)}`;
}
