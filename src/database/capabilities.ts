// The database room: what a server can do, asked once at connect. No code asks for a product's name.

import type pg from "pg";

export interface Capabilities {
  /** How many connections it serves us at once. */
  connections: number;
  /** How many locks its shared table is sure to hold: max_locks_per_transaction for every session it allows. */
  lockTable: number;
  /** Whether it looks through all of pg_index for ADD COLUMN with a DEFAULT, ALTER COLUMN TYPE and the like: docs/servers.md. */
  scansAllIndexes: boolean;
  /** Whether a backend can look, while it works, whether its client is still there. */
  checksClient: boolean;
  /**
   * Whether it takes several statements in one message, whatever they are. Nothing but an attempt tells: it is taken to be so
   * until a message is refused for that.
   */
  severalStatements: boolean;
  /** Whether it has connections to spare for an onlooker; until it gives no answer, it is taken to be so. */
  secondConnection: boolean;
  /** A standby refuses to write. */
  inRecovery: boolean;
  /** The role that we are, which owns what we create. */
  user: string;
  superuser: boolean;
  /** Whether we may create roles. */
  createsRoles: boolean;
  /** The database's own name: a pooler may call it otherwise. */
  database: string;
  /** Whether each membership says if it is inherited, and if it allows SET ROLE (PostgreSQL 16 and newer). */
  membershipOptions: boolean;
}

/** Asks a server what it can do. `connections` is at most `limit`, which an embedded database sets to 1. */
export async function askCapabilities(client: pg.ClientBase, limit: number): Promise<Capabilities> {
  const { rows } = await client.query<{
    connections: number;
    locks: number;
    scans: boolean;
    recovery: boolean;
    user: string;
    superuser: boolean;
    creates: boolean;
    database: string;
    options: boolean;
  }>(`select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as connections,
            current_setting('max_locks_per_transaction')::int
              * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int) as locks,
            -- the setting came with the checks that scan: 15.20 and 17.12 have both, their predecessors neither
            current_setting('composite_type_mismatch', true) is not null as scans,
            pg_is_in_recovery() as recovery,
            current_user::text as user,
            r.rolsuper as superuser, r.rolsuper or r.rolcreaterole as creates, current_database()::text as database,
            exists (select from pg_attribute where attrelid = 'pg_auth_members'::regclass and attname = 'set_option') as options
          from pg_roles r where r.rolname = current_user`);
  const [row] = rows;
  if (row === undefined) throw new Error("the server answered no row to a question that has one");
  return {
    connections: Math.min(row.connections, limit),
    lockTable: row.locks,
    scansAllIndexes: row.scans,
    checksClient: await canCheckClient(client),
    severalStatements: true,
    secondConnection: Math.min(row.connections, limit) > 1,
    inRecovery: row.recovery,
    user: row.user,
    superuser: row.superuser,
    createsRoles: row.creates,
    database: row.database,
    membershipOptions: row.options,
  };
}

/** How often a backend that works looks for its client. It keeps the first interval that it was told, whatever it is told later. */
export const clientCheckInterval = "2s";

// Some platforms know the setting and refuse any value but 0.
async function canCheckClient(client: pg.ClientBase): Promise<boolean> {
  try {
    await client.query(`begin; set local client_connection_check_interval = '${clientCheckInterval}'; rollback`);
    return true;
  } catch {
    await client.query("rollback");
    return false;
  }
}
