// Registry room: what every registry does, wherever it lists the tenants.

import type { Client } from "../database/database.js";
import type { TenantEdit, TenantEdited } from "./change.js";
import type { Row } from "./rows.js";
import type { Tenant } from "./tenants.js";

/** What a registry lists, right or wrong. */
export interface Listing {
  rows: readonly Row[];
  /** The same for the same rows; undefined where only the rows themselves tell. */
  version: string | undefined;
}

/** Where the tenants are listed. */
export interface Registry {
  /** Whether it is in the database, so that `add` and `remove` can be part of a transaction there. */
  readonly inDatabase: boolean;
  /**
   * All of them, in the registry's order, names and collisions checked: one that is wrong refuses them all.
   *
   * @throws ProblemsError CONFIG_INVALID or REGISTRY_INVALID with every wrong name and collision; REGISTRY_MISSING when its table does
   * not exist; what opening the database throws, where it is there.
   */
  tenants(): Promise<Tenant[]>;
  /**
   * All rows as they are listed, for whoever serves those that are right; undefined where the version that is known is that of now. A
   * registry in the database is read in batches, so that nothing else waits for long meanwhile.
   *
   * @throws TenantctlError REGISTRY_MISSING, REGISTRY_INVALID, CONFIG_INVALID; what opening the database throws, where it is there.
   */
  list(known?: string): Promise<Listing | undefined>;
  /**
   * Lists one more: in a database, in the transaction that `within` has open, or else in one of its own.
   *
   * @throws TenantctlError NAME_INVALID, TENANT_EXISTS, SCHEMA_EXISTS, HOST_TAKEN, CONFIG_NOT_EDITABLE (the message or hint has what
   * to add), CONFIG_INVALID (the file has become so), REGISTRY_INVALID, REGISTRY_MISSING, REGISTRY_WRITE, LOCKED.
   */
  add(tenant: Tenant, within?: Client): Promise<void>;
  /**
   * Strikes one out: in a database, in the transaction that `within` has open, or else in one of its own.
   *
   * @returns the tenant that it was.
   * @throws TenantctlError TENANT_UNKNOWN, CONFIG_NOT_EDITABLE, CONFIG_INVALID, REGISTRY_MISSING, REGISTRY_WRITE, LOCKED.
   */
  remove(name: string, within?: Client): Promise<Tenant>;
  /**
   * Changes one, in a transaction of its own; writes nothing where it is so already.
   *
   * @throws TenantctlError TENANT_UNKNOWN, HOST_TAKEN, NAME_INVALID for a host, CONFIG_NOT_EDITABLE (the message or hint has what to
   * write), CONFIG_INVALID, REGISTRY_INVALID (there is no column for it), REGISTRY_MISSING, REGISTRY_WRITE, LOCKED.
   */
  edit(name: string, edit: TenantEdit): Promise<TenantEdited>;
  /** Throws what `add` would throw, and writes nothing; to be asked before anything is touched. */
  checkAdd(tenant: Tenant): Promise<void>;
  /**
   * Whether a tenant has this schema now, whatever was read before. A registry in the database is asked in the transaction that `within`
   * has open, and nobody changes it until that ends.
   *
   * @throws TenantctlError REGISTRY_WRITE, REGISTRY_INVALID, REGISTRY_MISSING, CONFIG_INVALID, LOCKED.
   */
  hasSchema(schema: string, within: Client): Promise<boolean>;
  /** @throws TenantctlError CONFIG_NOT_EDITABLE when it can't be edited; it says what to take out by hand. */
  checkEditable(removing?: string): void;
  /**
   * Lists all of these, in one transaction: those that are new are added, those that are there become as they are here, others stay.
   *
   * @throws ProblemsError REGISTRY_INVALID with every name, schema and host that can't be; nothing was written. TenantctlError
   * CONFIG_NOT_EDITABLE where the tenants are listed elsewhere than in a table.
   */
  merge(tenants: readonly Tenant[], options: { dryRun: boolean }): Promise<Merged>;
}

/** What a merge did, or would do: names, in the order of what was merged. */
export interface Merged {
  added: string[];
  changed: string[];
  unchanged: string[];
}
