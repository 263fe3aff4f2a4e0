// The database room: other sessions: who holds what we wait for, and how a tenant's session is ended.

import type { Client, Database } from "./database.js";
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

const columns = `a.pid, a.usename::text as user, extract(epoch from now() - coalesce(a.xact_start, a.backend_start))::float8 as seconds, ${isOfTenantText("a.usesysid")} as "ofTenant"`;

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
  return `pid ${pid} (${[user ?? "of a role that is gone", ...(seconds === null ? [] : [`for ${age(seconds)}`])].join(", ")})`;
}

function age(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

const endsWithinMs = 3_000;

/**
 * Ends all sessions of these roles, or only those with these pids. Where rights lack it takes on the roles for it, in a transaction that is undone.
 * @returns the pids that are gone.
 */
export async function endSessions(
  database: Database,
  roles: readonly string[],
  pids?: readonly number[],
): Promise<number[]> {
  const { superuser, membershipOptions, user } = database.capabilities;
  return await database.withClient(async (client) => {
    const { rows: found } = await client.query<{ pid: number; role: string }>(
      "select pid, usename::text as role from pg_stat_activity where usename = any($1) and pid <> pg_backend_pid() and ($2::int[] is null or pid = any($2))",
      [roles, pids ?? null],
    );
    const ended: number[] = [];
    for (const role of new Set(found.map(({ role }) => role))) {
      const of = found.filter((one) => one.role === role).map(({ pid }) => pid);
      await client.query("begin");
      try {
        if (!superuser)
          await client.query(
            `grant ${identifier(role)} to ${identifier(user)}${membershipOptions ? " with inherit true" : ""}`,
          );
        const { rows } = await client.query<{ pid: number }>(
          "select pid from unnest($1::int[]) pid where pg_terminate_backend(pid, $2)",
          [of, endsWithinMs],
        );
        ended.push(...rows.map(({ pid }) => pid));
      } catch {
        // We may not: who asked sees that they are not among those that ended.
      }
      await client.query("rollback");
    }
    return ended;
  });
}
