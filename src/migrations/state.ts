// The migrations room: where one tenant stands, from its ledger and the files.

import { TenantctlError } from "../errors.js";
import type { Migration } from "./files.js";
import type { LedgerRow } from "./ledger.js";

export type State = "missing" | "unreadable" | "unmanaged" | "changed" | "ahead" | "pending" | "current";

export interface Standing {
  state: State;
  /** The names that its ledger has, in order. */
  applied: string[];
  /** The names of the files that it lacks, in order. */
  pending: string[];
  /** Applied migrations whose file was edited since. */
  changed: string[];
  /** Applied migrations that no file describes. */
  unknown: string[];
  /** Why its ledger could not be read: what it has is not known. */
  unreadable?: TenantctlError;
}

/** Where a tenant stands whose ledger can't be read. */
export function unreadableStanding(why: TenantctlError): Standing {
  return { state: "unreadable", applied: [], pending: [], changed: [], unknown: [], unreadable: why };
}

/** Compares a ledger's rows with the files. Rows are undefined where there is no ledger. */
export function standingOf(
  migrations: readonly Migration[],
  found: { exists: boolean; rows: readonly LedgerRow[] | undefined; hasObjects: boolean },
): Standing {
  const rows = found.rows ?? [];
  const byName = new Map(migrations.map((migration) => [migration.name, migration]));
  const appliedNames = new Set(rows.map((row) => row.name));
  const standing = {
    applied: rows.map((row) => row.name),
    pending: migrations.filter(({ name }) => !appliedNames.has(name)).map(({ name }) => name),
    changed: rows.filter((row) => isChanged(row, byName.get(row.name))).map(({ name }) => name),
    unknown: rows.filter((row) => !byName.has(row.name)).map(({ name }) => name),
  };
  return { state: stateOf(found, standing), ...standing };
}

function isChanged(row: LedgerRow, migration: Migration | undefined): boolean {
  // A module has no checksum; a migration rewritten from SQL as a module counts as edited, and the other way round.
  return migration !== undefined && row.checksum !== migration.checksum;
}

function stateOf(
  found: { exists: boolean; rows: readonly LedgerRow[] | undefined; hasObjects: boolean },
  { changed, unknown, pending }: Omit<Standing, "state" | "unreadable">,
): State {
  if (!found.exists) return "missing";
  if (found.rows === undefined && found.hasObjects) return "unmanaged";
  if (changed.length > 0) return "changed";
  if (unknown.length > 0) return "ahead";
  return pending.length > 0 ? "pending" : "current";
}

/**
 * Refuses what must not be migrated.
 * @throws TenantctlError UNMANAGED, CHANGED or AHEAD, with a hint; what its ledger could not be read for.
 */
export function refuseStanding(standing: Standing, tenant: { name: string; schema: string }): void {
  const { state, changed, unknown, unreadable } = standing;
  if (unreadable !== undefined) throw unreadable;
  if (state === "unmanaged") {
    throw new TenantctlError(
      "UNMANAGED",
      `the schema "${tenant.schema}" holds objects and no ledger: somebody else made them`,
      {
        hint: `if they are what the migrations make: tenantctl baseline ${tenant.name}`,
      },
    );
  }
  if (state === "changed") {
    throw new TenantctlError("CHANGED", `${list(changed)} edited after it was applied`, {
      hint: "restore the file and put the change into a new migration; or take it as it is: tenantctl repair",
    });
  }
  if (state === "ahead") {
    throw new TenantctlError("AHEAD", `${list(unknown)} applied, and no file describes it`, {
      hint: "deploy the release that has the file, or restore it",
    });
  }
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(", ");
  const verb = names.length === 1 ? "was" : "were";
  return names.length > 3 ? `${shown} and ${names.length - 3} more ${verb}` : `${shown} ${verb}`;
}
