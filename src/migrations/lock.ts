// The migrations room: who holds what a tenant's transaction waits for: named, and ended where it is a tenant's session that holds our lock.

import type { Client, Database } from "../database/database.js";
import { advisoryHolders, blockersOf, endSessions, type Holder, holderWords, withAges } from "../database/sessions.js";
import { lockKey } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import type { Reporter } from "../events.js";
import { MigrationFailure } from "./failure.js";

/** What of a tenant's transaction is needed to tell who is in its way. */
export interface Waiting {
  database: Database;
  tenant: { name: string };
  report?: Reporter | undefined;
  timeouts: { lockTimeoutMs: number };
}

/** Somebody else holds a tenant's lock: another run of ours, or whoever has learnt the key, which pg_locks shows. */
export class Locked extends TenantctlError {
  readonly holders: readonly Holder[];

  constructor(holders: readonly Holder[]) {
    super("LOCKED", `somebody else is working on this tenant${named(holders)}`, {
      hint: "wait for the other run to end, and try again",
    });
    this.holders = holders;
  }
}

/** The error for a lock that is held, on a connection where the server still answers. */
export async function lockedBy(client: Client, schema: string): Promise<Locked> {
  return new Locked(await advisoryHolders(client, lockKey(schema)));
}

/**
 * Ends the sessions of tenants among those that hold the lock. No tenant's session has anything to do with it, and whoever waited for one would wait for ever.
 * @throws TenantctlError LOCKED_BY_TENANT where one can't be ended; the error itself where another run of ours holds the lock.
 */
export async function endTenantsSessions(target: Waiting, error: Locked): Promise<void> {
  if (!error.holders.some(({ ofTenant }) => ofTenant)) throw error;
  const ofTenants = await withAges(
    target.database,
    error.holders.filter(({ ofTenant }) => ofTenant),
  );
  const users = ofTenants.flatMap(({ user }) => user ?? []);
  const ended = await endSessions(
    target.database,
    users,
    ofTenants.map(({ pid }) => pid),
  );
  const left = ofTenants.filter(({ pid }) => !ended.includes(pid));
  for (const holder of ofTenants.filter(({ pid }) => ended.includes(pid)))
    target.report?.({
      type: "warning",
      message: `${target.tenant.name}: ended a tenant's session that held this tenant's lock${named([holder])}`,
    });
  if (left.length === 0) return;
  throw lockedByTenant(left);
}

/** @param holders sessions of tenants that take the lock again and again, or can't be ended. */
export function lockedByTenant(holders: readonly Holder[]): TenantctlError {
  return new TenantctlError("LOCKED_BY_TENANT", `a tenant's own session holds this tenant's lock${named(holders)}`, {
    hint: `end it: select pg_terminate_backend(${holders[0]?.pid ?? "pid"}), as a superuser or a member of pg_signal_backend; create-login --drop shuts its login out`,
  });
}

function named(holders: readonly Holder[]): string {
  return holders.length === 0 ? "" : `: ${holders.map(holderWords).join(", ")}`;
}

/** Looks, while a transaction goes on, who stands in its way; asks the server only once it has taken so long that it may be waiting. */
export interface Watch {
  /** Names who was in the way, where it failed since it waited too long for a lock. */
  explain(error: unknown): unknown;
  stop(): void;
}

const shortestWatchMs = 50;

export function watchLocks({ database, timeouts }: Waiting, pid: number): Watch {
  const { lockTimeoutMs } = timeouts;
  let seen: Holder[] = [];
  let asking = false;
  const ask = async () => {
    if (asking) return;
    asking = true;
    try {
      const found = await database.withClient((client) => blockersOf(client, pid));
      if (found.length > 0) seen = await withAges(database, found);
    } catch {
      // Nobody is named, then: the failure itself is told anyway.
    }
    asking = false;
  };
  // A server that serves us one connection at a time can't be asked beside it.
  const watches = lockTimeoutMs > 0 && database.capabilities.connections > 1;
  const timer = watches ? setInterval(ask, Math.max(shortestWatchMs, lockTimeoutMs / 3)) : undefined;
  return {
    explain(error) {
      if (seen.length === 0 || !(error instanceof MigrationFailure) || error.sqlState !== "55P03") return error;
      const { code, message, sqlState, place, text, partly, cause } = error;
      const hint = `wait for it, or end it: select pg_terminate_backend(${seen[0]?.pid}); or raise --lock-timeout`;
      return new MigrationFailure(code, `${message}; held by${named(seen).slice(1)}`, {
        sqlState,
        place,
        text,
        partly,
        cause,
        hint,
      });
    },
    stop: () => clearInterval(timer),
  };
}
