// The fleet room: the logins of tenants: roles that can be nobody but one tenant, whatever is sent through them.

import type { Client, Database } from "../database/database.js";
import { loginMarkOf, loginMarkText } from "../database/own-roles.js";
import { identifier, literal, searchPath } from "../database/quote.js";
import { tenantLogins, tenantRole } from "../database/roles.js";
import { withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import type { Tenant } from "../registry/registry.js";
import { type Fleet, schemasOf } from "./fleet.js";
import { isolationOf } from "./isolation.js";
import { isAmbiguous, preparedPassword, requirePassword, verifierOf } from "./password.js";
import { requireWritable, roleExists } from "./preflight.js";
import { dropRoles, type Kept, keptWords, shutOut } from "./shut-out.js";
import { findTenant } from "./tenants.js";
import { notIsolated } from "./verify-isolation.js";

export interface Login {
  tenant: string;
  schema: string;
  /** The login role's name. */
  login: string;
  /** "stripped": it could not be dropped, and has neither LOGIN nor rights any more. */
  outcome: "created" | "changed" | "dropped" | "stripped" | "missing";
  /** Those that stay, and why. */
  kept?: Kept[];
}

/** What a login may use. What is left out is the default for a new login, and stays for one that is there. Times in milliseconds, 0 is no limit. */
export interface LoginOptions {
  /** Connections at once; -1 is no limit. Default 10. */
  connectionLimit?: number | undefined;
  /** Until when its password is valid; null is for ever, the default. It ends no session. */
  validUntil?: Date | null | undefined;
  /** Default 5 minutes. Whoever logs in may set this and the next two otherwise. */
  statementTimeoutMs?: number | undefined;
  /** How long a transaction may be idle. Default 1 minute. */
  idleInTransactionTimeoutMs?: number | undefined;
  /** How long a session may be idle. Default 1 hour. */
  idleTimeoutMs?: number | undefined;
  /** Makes the tenant's other login, with the limits of the one that is in use, which stays as it is. */
  rotate?: boolean | undefined;
}

/** What a new login may use unless somebody says otherwise. */
export const loginDefaults = {
  connectionLimit: 10,
  validUntil: null,
  statementTimeoutMs: 300_000,
  idleInTransactionTimeoutMs: 60_000,
  idleTimeoutMs: 3_600_000,
} as const;

/**
 * Makes a login role that has the rights of one tenant's role and can take on no other; where it is there, it gets the new password, and the options that
 * are named. One of that name that is not this tenant's is dropped first. Of a tenant that is not active it can't log in yet.
 * @throws TenantctlError USAGE for a password that is too short, or a third login; TENANT_UNKNOWN, NOT_ISOLATED, ROLE_UNKNOWN when the tenant has
 * no role yet, ROLE_UNSUITABLE.
 */
export async function createLogin(
  fleet: Fleet,
  name: string,
  password: string,
  options: LoginOptions = {},
): Promise<Login> {
  requirePassword(password);
  const tenant = await findTenant(fleet, name);
  const database = await fleet.database();
  const isolation = isolationOf(fleet, database);
  if (isolation === undefined) throw notIsolated();
  await requireWritable(fleet, database);
  const role = tenantRole(isolation.database, tenant.schema);
  if (!(await roleExists(database, role))) {
    throw new TenantctlError("ROLE_UNKNOWN", `${name} has no role yet`, { hint: `tenantctl migrate ${name} makes it` });
  }
  const found = await ownLogins(database, tenant, role);
  const { login, isNew } = chosen(tenant, tenantLogins(isolation.database, tenant.schema), found, options);
  const last = found.at(-1)?.name;
  const before = isNew && last !== undefined ? await limitsOf(database, last) : {};
  const prepared = await preparedPassword(password);
  if (isAmbiguous(password, prepared)) {
    fleet.report({
      type: "warning",
      message: `${name}: some clients (node-postgres is one) can't log in with this password: they prepare its characters otherwise than PostgreSQL`,
      hint: "choose one without accents that are characters of their own, ligatures or wide letters beside characters that are newer than 2002",
    });
  }
  const off = tenant.state !== "active";
  const made = found.find((one) => one.name === login)?.made ?? new Date().toISOString();
  const texts = [
    `${isNew ? "create" : "alter"} role ${identifier(login)} ${off ? "nologin" : "login"} inherit password ${literal(verifierOf(prepared))}`,
    `grant ${identifier(role)} to ${identifier(login)}${isolation.membershipOptions ? " with inherit true, set false" : ""}`,
    `comment on role ${identifier(login)} is ${literal(loginMarkText({ made, off }))}`,
    `alter role ${identifier(login)} in database ${identifier(isolation.database)} set search_path to ${searchPath(schemasOf(fleet, tenant))}`,
    ...limitTexts(login, isolation.database, isNew ? { ...loginDefaults, ...before, ...given(options) } : options),
  ];
  await withTransaction(database, (client) => inOrder(client, texts));
  if (off)
    fleet.report({ type: "warning", message: `${name} is ${tenant.state}: ${login} can't log in until it is active` });
  return { tenant: name, schema: tenant.schema, login, outcome: isNew ? "created" : "changed" };
}

async function inOrder(client: Client, texts: readonly string[]): Promise<void> {
  for (const text of texts) await client.query(text);
}

function given(options: LoginOptions): LoginOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

// What the login in use may use, for the one that comes in its place. Its date is its password's.
async function limitsOf(database: Database, login: string): Promise<LoginOptions> {
  const { rows } = await database.withClient((client) =>
    client.query<{ limit: number; settings: string[] | null }>(
      `select r.rolconnlimit as limit, s.setconfig as settings from pg_roles r
         left join pg_db_role_setting s on s.setrole = r.oid and s.setdatabase = (select oid from pg_database where datname = current_database())
       where r.rolname = $1`,
      [login],
    ),
  );
  const settings = new Map(rows[0]?.settings?.map((text) => text.split("=", 2) as [string, string]));
  const time = (name: string) => {
    const text = settings.get(name) ?? "";
    return /^\d+$/.test(text) ? Number(text) : undefined;
  };
  return given({
    connectionLimit: rows[0]?.limit,
    statementTimeoutMs: time("statement_timeout"),
    idleInTransactionTimeoutMs: time("idle_in_transaction_session_timeout"),
    idleTimeoutMs: time("idle_session_timeout"),
  });
}

function limitTexts(login: string, database: string, options: LoginOptions): string[] {
  const { connectionLimit, validUntil } = options;
  const settings = {
    statement_timeout: options.statementTimeoutMs,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs,
    idle_session_timeout: options.idleTimeoutMs,
  };
  return [
    ...(connectionLimit === undefined ? [] : [`alter role ${identifier(login)} connection limit ${connectionLimit}`]),
    ...(validUntil === undefined
      ? []
      : [`alter role ${identifier(login)} valid until ${literal(validUntil?.toISOString() ?? "infinity")}`]),
    ...Object.entries(settings).flatMap(([setting, value]) =>
      value === undefined
        ? []
        : [`alter role ${identifier(login)} in database ${identifier(database)} set ${setting} to ${value}`],
    ),
  ];
}

interface OwnLogin {
  name: string;
  /** When it was made; of one without a comment, nothing: earlier than any other. */
  made: string | undefined;
}

// The logins that can be this tenant, the newest last. Whoever has such a name and can't be it is of a former tenant, and goes.
async function ownLogins(database: Database, { name, schema }: Tenant, role: string): Promise<OwnLogin[]> {
  const names = tenantLogins(database.capabilities.database, schema);
  const { rows } = await database.withClient((client) =>
    client.query<{ name: string; comment: string | null; member: boolean }>(
      `select r.rolname as name, shobj_description(r.oid, 'pg_authid') as comment, exists (
         select from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid and g.rolname = $2) as member
       from pg_roles r where r.rolname = any($1)`,
      [names, role],
    ),
  );
  const strangers = rows.filter(({ member }) => !member).map(({ name }) => name);
  if (strangers.length > 0) {
    await shutOut(database, strangers);
    const [kept] = await dropRoles(database, strangers);
    if (kept) {
      const { message, hint } = keptWords(kept);
      throw new TenantctlError("ROLE_UNSUITABLE", `${name}: of a former tenant of that name ${message}`, { hint });
    }
  }
  return rows
    .filter(({ member }) => member)
    .map(({ name, comment }) => ({ name, made: loginMarkOf(comment)?.made }))
    .sort((a, b) => ((a.made ?? "") < (b.made ?? "") ? -1 : 1));
}

function chosen(
  tenant: Tenant,
  names: readonly [string, string],
  found: readonly OwnLogin[],
  { rotate }: LoginOptions,
) {
  const last = found.at(-1)?.name;
  if (last === undefined) return { login: names[0], isNew: true };
  if (!rotate) return { login: last, isNew: false };
  const free = names.find((name) => !found.some((one) => one.name === name));
  if (free !== undefined) return { login: free, isNew: true };
  throw new TenantctlError("USAGE", `${tenant.name} has two logins already`, {
    hint: `drop the one that is no longer used: tenantctl create-login ${tenant.name} --drop-old`,
  });
}

/**
 * Drops a tenant's logins: LOGIN and rights are taken first, then their sessions end. One that owns something stays, without all that.
 * @param only `old`: of two logins the one that was made first.
 * @throws TenantctlError TENANT_UNKNOWN; USAGE where there is no old one.
 */
export async function dropLogin(
  fleet: Fleet,
  name: string,
  { old }: { old?: boolean | undefined } = {},
): Promise<Login> {
  const tenant = await findTenant(fleet, name);
  const database = await fleet.database();
  const { database: own } = database.capabilities;
  const names = tenantLogins(own, tenant.schema);
  const result = { tenant: name, schema: tenant.schema };
  let dropped: string[] = names;
  if (old) {
    const [first, second] = await ownLogins(database, tenant, tenantRole(own, tenant.schema));
    if (first === undefined || second === undefined) {
      throw new TenantctlError("USAGE", `${name} has no second login`, {
        hint: "--rotate makes one, --drop drops the only one",
      });
    }
    dropped = [first.name];
  }
  const there = await existing(database, dropped);
  const [login] = there;
  if (login === undefined) return { ...result, login: names[0], outcome: "missing" };
  await shutOut(database, there);
  const kept = await dropRoles(database, there);
  return { ...result, login, ...(kept.length === 0 ? { outcome: "dropped" } : { outcome: "stripped", kept }) };
}

async function existing(database: Database, names: readonly string[]): Promise<string[]> {
  const { rows } = await database.withClient((client) =>
    client.query<{ name: string }>("select rolname as name from pg_roles where rolname = any($1) order by 1", [names]),
  );
  return rows.map(({ name }) => name);
}
