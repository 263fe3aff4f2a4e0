// The fleet room: the logins as they are: which of them may log in, and those that should not.

import type { Database } from "../database/database.js";
import { isLoginText, loginMarkOf, loginMarkText } from "../database/own-roles.js";
import { identifier, literal } from "../database/quote.js";
import { tenantLogins, tenantRole } from "../database/roles.js";
import { endSessions } from "../database/sessions.js";
import { withTransaction } from "../database/transaction.js";
import type { Tenant, TenantState } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";

type Standing = Pick<Tenant, "name" | "schema" | "state">;

interface FoundLogin {
  login: string;
  canLogin: boolean;
  comment: string | null;
  /** The roles whose rights it has. One that was dropped and stays, since it owns something, has none. */
  roles: string[];
}

/**
 * Sees to it that the logins of tenants that are not active can't connect, and ends their sessions; and that those of active ones can again, where LOGIN was taken
 * for that and it still is a login of theirs. One look, where all is as it should be.
 */
export async function settleLogins(fleet: Fleet, database: Database, tenants: readonly Standing[]): Promise<void> {
  const { rows } = await database.withClient((client) =>
    client.query<FoundLogin>(
      `select rolname as login, rolcanlogin as "canLogin", shobj_description(oid, 'pg_authid') as comment,
         array(select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = pg_roles.oid) as roles
       from pg_roles
       where ${isLoginText("rolname")}`,
    ),
  );
  if (rows.length === 0) return;
  const found = new Map(rows.map((row) => [row.login, row]));
  for (const tenant of tenants)
    for (const name of tenantLogins(database.capabilities.database, tenant.schema)) {
      const login = found.get(name);
      if (login !== undefined) await settle(fleet, database, tenant, login);
    }
}

async function settle(
  fleet: Fleet,
  database: Database,
  { name, schema, state }: Standing,
  { login, canLogin, comment, roles }: FoundLogin,
): Promise<void> {
  const mark = loginMarkOf(comment);
  const off = state !== "active";
  const isTheirs = roles.includes(tenantRole(database.capabilities.database, schema));
  if (off ? !canLogin : canLogin || !mark?.off || !isTheirs) return;
  await withTransaction(database, async (client) => {
    await client.query(`alter role ${identifier(login)} ${off ? "nologin" : "login"}`);
    // One without a comment gets the earliest time: it was made before there were any.
    const text = loginMarkText({ made: mark?.made ?? new Date(0).toISOString(), off });
    await client.query(`comment on role ${identifier(login)} is ${literal(text)}`);
  });
  if (off) await endSessions(database, [login]);
  fleet.report({
    type: "warning",
    message: off
      ? `${name} is ${state}: ${login} can't log in any more`
      : `${name} is active: ${login} can log in again`,
  });
}

/** A login as it is in the database. */
export interface ListedLogin {
  /** Null: no tenant has its schema. */
  tenant: string | null;
  login: string;
  /** When it was made; null for one of an earlier release. */
  madeAt: string | null;
  /** It has LOGIN, and its password is still valid. */
  canLogin: boolean;
  state: TenantState | null;
  validUntil: string | null;
  /** How many connections it may have at once; null is no limit. */
  connectionLimit: number | null;
  /** How many it has, in all databases. */
  connections: number;
}

/** The logins of this database's tenants, also those that no tenant has any more, by tenant, the oldest first. */
export async function listLogins(fleet: Fleet): Promise<ListedLogin[]> {
  const tenants = await fleet.registry.tenants();
  const database = await fleet.database();
  // create-login sets a search_path for its login in one database, which tells whose it is.
  const { rows } = await database.withClient((client) =>
    client.query<Omit<ListedLogin, "tenant" | "state" | "madeAt"> & { comment: string | null }>(
      `select r.rolname as login, shobj_description(r.oid, 'pg_authid') as comment, r.rolcanlogin and coalesce(r.rolvaliduntil > now(), true) as "canLogin",
         case when isfinite(r.rolvaliduntil) then to_char(r.rolvaliduntil at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') end as "validUntil",
         nullif(r.rolconnlimit, -1) as "connectionLimit", (select count(*)::int from pg_stat_activity a where a.usesysid = r.oid) as connections
       from pg_roles r where ${isLoginText("r.rolname")} and exists (
         select from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where s.setrole = r.oid and d.datname = current_database())`,
    ),
  );
  const owners = new Map(
    rows.length === 0
      ? []
      : tenants.flatMap((one) =>
          tenantLogins(database.capabilities.database, one.schema).map((login): [string, Tenant] => [login, one]),
        ),
  );
  const byTenant = (a: ListedLogin, b: ListedLogin) =>
    `${a.tenant ?? "\uffff"}\0${a.madeAt ?? ""}` < `${b.tenant ?? "\uffff"}\0${b.madeAt ?? ""}` ? -1 : 1;
  return rows
    .map(({ comment, login, ...row }) => {
      const owner = owners.get(login);
      const madeAt = loginMarkOf(comment)?.made ?? null;
      return { tenant: owner?.name ?? null, state: owner?.state ?? null, login, madeAt, ...row };
    })
    .sort(byTenant);
}
