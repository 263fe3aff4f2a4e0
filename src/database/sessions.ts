// The database room: other sessions: who holds what we wait for, and how a tenant's session is ended.

import type { Client, Database } from "./database.js";
import { sqlState } from "./errors.js";
import { isOfTenantText } from "./own-roles.js";
import { identifier } from "./quote.js";

/** A session that holds a lock. */
export interface Holder {
  pid: number;
  /** Who logged in; null where the server has no name for it any more. */
  user: string | null;
  /** How long its transaction has been open, or its session if it has none; null where the server does not let us see it. */
  seconds: number | null;
  /** It is a tenant's login, or a tenant's role that may log in. */
  ofTenant: boolean;
}

const age = "extract(epoch from clock_timestamp() - coalesce(a.xact_start, a.backend_start))::float8 as seconds";
const columns = `a.pid, a.usename::text as user, ${age}, ${isOfTenantText("a.usesysid")} as "ofTenant"`;

/** Who holds an advisory lock of this database, by its key; none where it was given back meanwhile. */
export async function advisoryHolders(client: Client, key: string): Promise<Holder[]> {
  const { rows } = await client.query<Holder>(
    `select ${columns} from pg_locks l join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.pid <> pg_backend_pid()
       and l.database = (select oid from pg_database where datname = current_database())
       and (l.classid::bigint << 32 | l.objid::bigint) = ${key}`,
  );
  return rows;
}

/** Who stands in the way of a session that waits for a lock, as far as the server tells. */
export async function blockersOf(client: Client, pid: number): Promise<Holder[]> {
  const { rows } = await client.query<Holder>(
    `select ${columns} from (select unnest(pg_blocking_pids(w.pid)) as pid from pg_stat_activity w where w.pid = $1 and w.wait_event_type = 'Lock') b
     join pg_stat_activity a on a.pid = b.pid limit 3`,
    [pid],
  );
  return rows;
}

/** `pid 4711 (login_app_thor_…, for 3 min)`. */
export function holderWords({ pid, user, seconds }: Holder): string {
  return `pid ${pid} (${[user ?? "of a role that is gone", ...(seconds === null ? [] : [`for ${duration(seconds)}`])].join(", ")})`;
}

function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

/** The same holders with the ages that the server shows to members of their roles alone, as far as we may become members. */
export async function withAges(database: Database, holders: readonly Holder[]): Promise<Holder[]> {
  const hidden = holders.filter(({ seconds }) => seconds === null);
  const users = new Set(hidden.flatMap(({ user }) => user ?? []));
  const ages = new Map<number, number | null>();
  for (const user of users) {
    const pids = hidden.filter((one) => one.user === user).map(({ pid }) => pid);
    const rows = await asMember(database, user, async (client) => {
      const text = `select a.pid, ${age} from pg_stat_activity a where a.pid = any($1)`;
      return (await client.query<{ pid: number; seconds: number | null }>(text, [pids])).rows;
    });
    for (const { pid, seconds } of rows ?? []) ages.set(pid, seconds);
  }
  return holders.map((holder) => ({ ...holder, seconds: holder.seconds ?? ages.get(holder.pid) ?? null }));
}

/** Does something as a member of a role, in a transaction that is undone; undefined where we may not become one. */
async function asMember<T>(
  database: Database,
  role: string,
  act: (client: Client) => Promise<T>,
): Promise<T | undefined> {
  const { superuser, membershipOptions, user } = database.capabilities;
  return await database.withClient(async (client) => {
    await client.query("begin");
    try {
      if (!superuser && role !== user)
        await client.query(
          `grant ${identifier(role)} to ${identifier(user)}${membershipOptions ? " with inherit true" : ""}`,
        );
      return await act(client);
    } catch (error) {
      if (sqlState(error) === "42501") return undefined;
      throw error;
    } finally {
      await client.query("rollback");
    }
  });
}

const endsWithinMs = 3_000;

/**
 * Ends all sessions of these roles, or only those with these pids, as far as we may.
 * @returns the pids that are gone.
 */
export async function endSessions(
  database: Database,
  roles: readonly string[],
  pids?: readonly number[],
): Promise<number[]> {
  const { rows: found } = await database.withClient((client) =>
    client.query<{ pid: number; role: string }>(
      "select pid, usename::text as role from pg_stat_activity where usename = any($1) and pid <> pg_backend_pid() and ($2::int[] is null or pid = any($2))",
      [roles, pids ?? null],
    ),
  );
  const ended: number[] = [];
  for (const role of new Set(found.map(({ role }) => role))) {
    const of = found.filter((one) => one.role === role).map(({ pid }) => pid);
    const gone = await asMember(database, role, async (client) => {
      const text = "select pid from unnest($1::int[]) pid where pg_terminate_backend(pid, $2)";
      return (await client.query<{ pid: number }>(text, [of, endsWithinMs])).rows;
    });
    ended.push(...(gone ?? []).map(({ pid }) => pid));
  }
  return ended;
}
