// The fleet room: tenants come and go: create-tenant, add-tenant, remove-tenant.

import { setTimeout as sleep } from "node:timers/promises";
import type { Client, Database } from "../database/database.js";
import { tenantLogins, tenantRole } from "../database/roles.js";
import { emptySchema, fitsOneDrop, outsideDependents, schemaExists } from "../database/schemas.js";
import { withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { MigrationFailure } from "../migrations/failure.js";
import { readMigrations } from "../migrations/files.js";
import { isNewText } from "../migrations/ledger.js";
import {
  type Alongside,
  baselineTenant,
  dropCreated,
  type Goal,
  isUnfinished,
  requireNew,
  runTenant,
  type TenantWork,
} from "../migrations/tenant.js";
import { dropTenantTexts, inTenantTransaction } from "../migrations/transaction.js";
import { checkEdit, type Tenant, type TenantEdit, type TenantEdited, type TenantState } from "../registry/registry.js";
import { unknownTenant } from "../registry/tenants.js";
import type { Fleet } from "./fleet.js";
import { settleLogins } from "./login-states.js";
import { namesUpTo } from "./mend.js";
import { requireRunnable, requireWritable } from "./preflight.js";
import { namesSchemas, requireOwnLookups, requireWithin } from "./reach.js";
import { checkUnretired, requireUnretired, retire, retireAlone } from "./retired.js";
import { defaultLimits, openWorkshop, type RunLimits } from "./run.js";
import { newRunId } from "./runs.js";
import { shareSchemas } from "./share.js";
import { lookAtShared, withRegistry } from "./shared.js";
import { dropRoles, keptWords, letIn, shutOut } from "./shut-out.js";
import { survey } from "./survey.js";
import { persist } from "./workers.js";

/** A tenant to be; the schema is called like the tenant unless it says otherwise. */
export interface NewTenant {
  name: string;
  schema?: string;
  hosts?: string[];
  labels?: Record<string, string>;
  /** Default: active. */
  state?: TenantState;
}

/** How a tenant is created or added. */
export interface NewTenantOptions extends RunLimits {
  /** Take a schema name that was another tenant's a short while ago. */
  reuseName?: boolean;
}

export interface TenantChange {
  tenant: Tenant;
  /** The migrations that were applied, or taken as applied. */
  applied: string[];
}

/**
 * Creates a tenant: its schema, migrated, and its entry in the registry; all of it or nothing. In a registry in the database its row is
 * written in the very transaction that creates the schema.
 * @throws TenantctlError NAME_INVALID, NAME_RETIRED, TENANT_EXISTS, SCHEMA_EXISTS, HOST_TAKEN, CONFIG_NOT_EDITABLE, REGISTRY_INVALID;
 * MigrationFailure; nothing is left behind.
 */
export async function createTenant(
  fleet: Fleet,
  wanted: NewTenant,
  limits: NewTenantOptions = {},
): Promise<TenantChange> {
  const tenant = completed(wanted);
  const run = newRunId();
  await withRegistry(fleet, run, limits, () => fleet.registry.checkAdd(tenant));
  const migrations = await readMigrations(fleet.config.migrations.tenant);
  const database = await fleet.database();
  await requireWritable(fleet, database);
  const open = openWorkshop(fleet, database, migrations, run, limits);
  const names = migrations.map(({ name }) => name);
  const work = open(tenant, []);
  const prepared = await requireRunnable(database, work, names, "up");
  const others = namesSchemas(prepared) ? await fleet.registry.tenants() : [];
  await requireWithin(fleet, prepared, { all: others.map(({ schema }) => schema), running: [tenant.schema] });
  await requireOwnLookups(fleet, prepared);
  await requireNew(work).catch(async (error: unknown) => {
    throw await overtaken(fleet, tenant, error);
  });
  if (!limits.reuseName) await checkUnretired(database, [tenant]);
  const shared = await lookAtShared(fleet, database);
  await shared?.migrate(run, limits);
  await shareSchemas(fleet, database);

  const applied: string[] = [];
  const goal: Goal = {
    direction: "up",
    choose: () => names,
    commit: fleet.config.transaction,
    expectLedger: false,
    grant: true,
    creating: true,
    shared: false,
    allowAhead: false,
    alongside: listing(fleet, tenant, limits),
    isTaken: taken(fleet, tenant),
  };
  await persist(async () => {
    applied.length = 0;
    await runTenant(open(tenant, applied), goal);
  }, patient(limits)).catch(async (error: unknown) => {
    throw await overtaken(fleet, tenant, nothingCreated(tenant, error));
  });
  if (fleet.registry.inDatabase) return { tenant, applied };
  try {
    await fleet.registry.add(tenant);
  } catch (error) {
    await undoCreation(fleet, tenant, open(tenant, []), limits, error);
    throw error;
  }
  return { tenant, applied };
}

/** Lists a tenant in the transaction of its schema, where the registry is in that database. Whoever gave the name up did it under the same lock. */
function listing(fleet: Fleet, tenant: Tenant, { reuseName = false }: NewTenantOptions): Alongside {
  return async (client: Client) => {
    // Adding waits for whoever removes a tenant at the moment: what that retired is seen after it.
    if (fleet.registry.inDatabase) await fleet.registry.add(tenant, client);
    if (!reuseName) await requireUnretired(client, [tenant]);
  };
}

// Whether somebody else has listed the schema meanwhile.
function taken(fleet: Fleet, { schema }: Tenant): Goal["isTaken"] {
  return (client) => fleet.registry.hasSchema(schema, client);
}

const longestListingMs = 5_000;

// Somebody else may have taken the name, the schema or a host meanwhile: then that is what there is to say. Who lists tenants in a file does
// so after the commit: a schema that was made just now is worth waiting for.
async function overtaken(fleet: Fleet, tenant: Tenant, error: unknown): Promise<unknown> {
  if (!(error instanceof TenantctlError && ["SCHEMA_EXISTS", "REGISTRY_WRITE", "LOCKED"].includes(error.code)))
    return error;
  const waits = error.code === "SCHEMA_EXISTS" && !fleet.registry.inDatabase && (await isNew(fleet, tenant));
  const deadline = Date.now() + (waits ? longestListingMs : 0);
  for (;;) {
    const better = await fleet.registry.checkAdd(tenant).catch((better: unknown) => better);
    if (better !== undefined) return better;
    if (Date.now() >= deadline) return error;
    await sleep(50);
  }
}

async function isNew(fleet: Fleet, { schema }: Tenant): Promise<boolean> {
  const database = await fleet.database();
  return await database
    .withClient(async (client) => (await client.query(isNewText(schema))).rows.length > 0)
    .catch(() => false);
}

function completed({ name, schema = name, hosts = [], labels = {}, state = "active" }: NewTenant): Tenant {
  return { name, schema, hosts: hosts.map((host) => host.toLowerCase()), labels, state };
}

function nothingCreated({ name }: Tenant, error: unknown): unknown {
  if (!(error instanceof MigrationFailure)) return error;
  const {
    code,
    message,
    hint = "nothing was created; mend the migration and try again",
    sqlState,
    place,
    cause,
  } = error;
  return new MigrationFailure(code, `${name}: ${message}`, { hint, sqlState, place, cause });
}

const texts = (all: readonly string[]) => all.map((text) => ({ text }));

// Somebody else may be at the tenant; what we do is short, and worth waiting for.
function patient(limits: RunLimits) {
  return { ...defaultLimits, ...limits };
}

// The registry did not take the tenant. Whoever lists a schema that is there does it under its lock, as we look under it.
async function undoCreation(
  fleet: Fleet,
  tenant: Tenant,
  work: TenantWork,
  limits: RunLimits,
  why: unknown,
): Promise<void> {
  try {
    await persist(() => dropCreated(work, taken(fleet, tenant)), patient(limits));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const first = why instanceof Error ? why.message : String(why);
    throw new TenantctlError(
      "REGISTRY_WRITE",
      `${first}; and the schema "${tenant.schema}" that was created could not be dropped: ${reason}`,
      {
        hint: `mend the registry, then register it: tenantctl add-tenant ${tenant.name}`,
        cause: why,
      },
    );
  }
}

function missingSchema({ name, schema }: Tenant): TenantctlError {
  return new TenantctlError("SCHEMA_MISSING", `there is no schema "${schema}"`, {
    hint: `tenantctl create-tenant ${name} creates one`,
  });
}

export interface AddOptions extends NewTenantOptions {
  /** Take migrations as applied without running them: all, or those up to one. */
  baseline?: boolean;
  baselineTo?: string;
}

/**
 * Registers a schema that exists. With a baseline its migrations are taken as applied, without running them.
 * @throws TenantctlError SCHEMA_MISSING, NAME_RETIRED, UNMANAGED (objects, no ledger, and no baseline), SCHEMA_EXISTS (a ledger, and a baseline), and what checkAdd throws.
 */
export async function addTenant(fleet: Fleet, wanted: NewTenant, options: AddOptions = {}): Promise<TenantChange> {
  const tenant = completed(wanted);
  await fleet.registry.checkAdd(tenant);
  const migrations = await readMigrations(fleet.config.migrations.tenant);
  const names = namesUpTo(migrations, options.baselineTo);
  const database = await fleet.database();
  if (!options.reuseName) await checkUnretired(database, [tenant]);
  const [surveyed] = await survey(database, migrations, [tenant], { appRole: undefined });
  if (surveyed === undefined || surveyed.standing.state === "missing") throw missingSchema(tenant);
  if (surveyed.standing.unreadable) throw surveyed.standing.unreadable;
  const wantsBaseline = options.baseline === true || options.baselineTo !== undefined;
  if (surveyed.standing.state === "unmanaged" && !wantsBaseline) {
    throw new TenantctlError("UNMANAGED", `the schema "${tenant.schema}" holds objects and no ledger`, {
      hint: "--baseline takes all migrations as applied, --baseline-to <migration> those up to one",
    });
  }
  const work = openWorkshop(fleet, database, migrations, newRunId(), options)(tenant, []);
  if (!wantsBaseline) {
    await persist(() => list(fleet, tenant, work, options), patient(options));
    return { tenant, applied: [] };
  }
  await requireWritable(fleet, database);
  await persist(() => baselineTenant(work, names, listing(fleet, tenant, options)), patient(options));
  if (!fleet.registry.inDatabase) await fleet.registry.add(tenant);
  return { tenant, applied: names };
}

// Under the schema's lock: a create-tenant that made it may be about to drop it, since it could not list it.
async function list(fleet: Fleet, tenant: Tenant, work: TenantWork, options: AddOptions): Promise<void> {
  await inTenantTransaction(work, true, async ({ client, found }) => {
    if (!found.exists) throw missingSchema(tenant);
    if (isUnfinished(found)) {
      throw new TenantctlError(
        "SCHEMA_EXISTS",
        `the schema "${tenant.schema}" is what a create-tenant has not finished`,
        {
          hint: `wait for it to end; if it was interrupted: tenantctl create-tenant ${tenant.name} takes it over`,
        },
      );
    }
    await listing(fleet, tenant, options)(client);
    if (!fleet.registry.inDatabase) await fleet.registry.add(tenant);
  });
}

/**
 * Changes what the registry says of a tenant: its state, its hosts, its labels. Writes nothing where it says so already.
 * @throws TenantctlError USAGE for an edit that says nothing or gives and takes the same; TENANT_UNKNOWN, HOST_TAKEN, NAME_INVALID for a host,
 * CONFIG_NOT_EDITABLE, REGISTRY_INVALID where the registry's table has no column for it. Nothing was written.
 */
export async function editTenant(fleet: Fleet, name: string, edit: TenantEdit): Promise<TenantEdited> {
  checkEdit(edit);
  const { schema } = await findTenant(fleet, name);
  // Who is no longer served is shut out before the registry says so; who is served again is let in after it.
  const settle = async (state: TenantState) =>
    fleet.config.isolation === "role" && (await settleLogins(fleet, await fleet.database(), [{ name, schema, state }]));
  if (edit.state !== undefined && edit.state !== "active") await settle(edit.state);
  const result = await fleet.registry.edit(name, edit);
  if (edit.state === "active") await settle(edit.state);
  return result;
}

export interface RemoveOptions extends RunLimits {
  /** Drop the schema and all that is in it. */
  dropSchema?: boolean;
}

/** A tenant by its name. @throws TenantctlError TENANT_UNKNOWN, with the nearest name. */
export async function findTenant(fleet: Fleet, name: string): Promise<Tenant> {
  const tenants = await fleet.registry.tenants();
  const tenant = tenants.find((one) => one.name === name);
  if (tenant === undefined)
    throw unknownTenant(
      name,
      tenants.map((one) => one.name),
    );
  return tenant;
}

/**
 * Strikes a tenant out of the registry. Its data stays, unless its schema is to be dropped. For the next 10 minutes no other tenant gets its
 * schema's name: an application may not have heard of it yet.
 * @throws TenantctlError TENANT_UNKNOWN, CONFIG_NOT_EDITABLE, SCHEMA_SHARED_OBJECTS (another schema's objects would go with it).
 */
export async function removeTenant(fleet: Fleet, name: string, options: RemoveOptions = {}): Promise<TenantChange> {
  const tenant = await findTenant(fleet, name);
  fleet.registry.checkEditable(name);
  if (fleet.config.isolation !== "role") {
    await unlist(fleet, tenant, options);
    return { tenant, applied: [] };
  }
  const database = await fleet.database();
  const shut = await shutOut(database, tenantLogins(database.capabilities.database, tenant.schema));
  try {
    await unlist(fleet, tenant, options);
  } catch (error) {
    await letIn(database, shut).catch((cause: unknown) =>
      fleet.report({
        type: "warning",
        message: `${name}: could not give LOGIN back to ${shut.join(" and ")}: ${cause instanceof Error ? cause.message : String(cause)}`,
      }),
    );
    throw error;
  }
  if (options.dropSchema) await dropLeft(fleet, database, tenant);
  else if (shut.length > 0) {
    fleet.report({
      type: "warning",
      message: `${name}: its login ${shut.join(" and ")} can no longer connect`,
      hint: `when it is a tenant again: tenantctl create-login ${name}; to drop it: drop role`,
    });
  }
  return { tenant, applied: [] };
}

async function unlist(fleet: Fleet, tenant: Tenant, options: RemoveOptions): Promise<void> {
  if (options.dropSchema) await dropAndStrike(fleet, tenant, options);
  else await strike(fleet, tenant);
}

async function strike(fleet: Fleet, tenant: Tenant): Promise<void> {
  if (!fleet.registry.inDatabase) {
    await retireAlone(fleet, tenant);
    await fleet.registry.remove(tenant.name);
    return;
  }
  await withTransaction(await fleet.database(), async (client) => {
    await fleet.registry.remove(tenant.name, client);
    await retire(fleet, client, tenant);
  });
}

// Struck out between the drop and its commit: in the same transaction, or, in a file, so that if the commit fails there is an entry
// to put back, never one whose schema is gone.
async function dropAndStrike(fleet: Fleet, tenant: Tenant, options: RemoveOptions): Promise<void> {
  const database = await fleet.database();
  await requireWritable(fleet, database);
  const fits = await lookBeforeDrop(database, tenant);
  if (fits === undefined) {
    await strike(fleet, tenant);
    return;
  }
  if (!fits) await emptySchema(database, tenant.schema);
  const work = openWorkshop(fleet, database, [], newRunId(), options)(tenant, []);
  let struck = false;
  try {
    await persist(
      () =>
        inTenantTransaction(work, false, async ({ client, found, queue, flush }) => {
          if (found.exists) await queue(...texts(dropTenantTexts(work)));
          await flush();
          await retire(fleet, client, tenant);
          await fleet.registry.remove(tenant.name, client);
          struck = !fleet.registry.inDatabase;
        }),
      patient(options),
    );
  } catch (error) {
    if (struck) await fleet.registry.add(tenant);
    throw error;
  }
}

// With the schema its roles went too, unless there was no schema. One that owns something, or has rights in another database, stays.
async function dropLeft(fleet: Fleet, database: Database, { name, schema }: Tenant): Promise<void> {
  const { database: own } = database.capabilities;
  for (const kept of await dropRoles(database, [...tenantLogins(own, schema), tenantRole(own, schema)])) {
    const { message, hint } = keptWords(kept);
    fleet.report({ type: "warning", message: `${name}: ${message}`, hint });
  }
}

async function lookBeforeDrop(database: Database, tenant: Tenant): Promise<boolean | undefined> {
  return await database.withClient(async (client) => {
    if (!(await schemaExists(client, tenant.schema))) return undefined;
    const others = await outsideDependents(client, tenant.schema);
    if (others.length > 0) {
      throw new TenantctlError(
        "SCHEMA_SHARED_OBJECTS",
        `objects outside of "${tenant.schema}" depend on it, and would be dropped too: ${others.join(", ")}`,
        {
          hint: "drop or change those first; nothing was touched",
        },
      );
    }
    return await fitsOneDrop(client, database, tenant.schema);
  });
}
