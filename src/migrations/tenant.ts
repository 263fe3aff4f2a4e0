// The migrations room: one tenant is one transaction, and the exceptions that can't be one.

import type { Client } from "../database/database.js";
import { identifier, literal } from "../database/quote.js";
import { dropSchemaText } from "../database/schemas.js";
import { lockKey, withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { byCodeUnits, type Migration } from "./files.js";
import { baselineText, checksumText, creatingComment, creatingRun, type LedgerRow, selectRowsText } from "./ledger.js";
import { runOutside } from "./outside.js";
import type { Direction, Prepared, Preparer } from "./prepare.js";
import { reachCheck } from "./reach-check.js";
import { refuseStanding, type Standing, standingOf } from "./state.js";
import {
  CommitUnknown,
  dropTenantTexts,
  ensureLedger,
  type Facts,
  type Found,
  inTenantTransaction,
  lookAt,
  nothingFound,
  rightsTexts,
  stampLedger,
  type Target,
  type TenantTransaction,
  wantsCommitFirst,
} from "./transaction.js";

/** What is to happen to one tenant. */
export interface Goal {
  direction: Direction;
  /** Which migrations, in which order, from where the tenant stands under the lock. May throw to refuse. */
  choose(standing: Standing, found: Found): string[];
  /** "tenant": all in one transaction; "migration": a commit after each. */
  commit: "tenant" | "migration";
  /** Whether the catalog showed a ledger; only a hint. */
  expectLedger: boolean;
  /** Whether the app role lacks rights. */
  grant: boolean;
  /** The schema is made now, all of it or nothing, and must not be there. */
  creating: boolean;
  /** The shared schema may hold what others made. */
  shared: boolean;
  /** A release that was reverted leaves tenants ahead: allow them. */
  allowAhead: boolean;
  /** What belongs in the last of its transactions, just before the commit: the registry's row, where it is in this database. */
  alongside?: Alongside | undefined;
  /** Creating: whether it has become somebody's tenant meanwhile, so that it stays when the rest of it fails. */
  isTaken?: IsTaken | undefined;
}

/** Whether a schema is in the registry as it is now; asked under the schema's lock. */
type IsTaken = (client: Client) => Promise<boolean>;

/** Something else that is done in a tenant's transaction, or not at all. */
export type Alongside = (client: Client) => Promise<unknown>;

/** A choice that, asked again after a part of it was done, chooses the rest of it and nothing more: a number of steps would go on. */
export function onlyOnce(choose: Goal["choose"]): Goal["choose"] {
  let first: Set<string> | undefined;
  return (standing, found) => {
    const names = choose(standing, found);
    first ??= new Set(names);
    return names.filter((name) => first?.has(name));
  };
}

export interface TenantWork extends Target {
  migrations: readonly Migration[];
  prepare: Preparer;
  /** Called after each commit with the migrations that it holds: what was committed stays, whatever fails later. */
  onCommitted(names: string[]): void;
}

/**
 * Brings one tenant to its goal: all of it in one transaction, where what it runs can be.
 * @throws TenantctlError LOCKED, CONNECTION_LOST, CHANGED, AHEAD, UNMANAGED, SCHEMA_EXISTS; MigrationFailure for a migration that failed.
 */
export async function runTenant(work: TenantWork, goal: Goal): Promise<void> {
  const progress: Progress = { wanted: undefined, cuts: new Set(), parts: 0 };
  try {
    while (await runPart(work, goal, progress)) {}
  } catch (error) {
    // Where it can't be dropped its comment stays, and the same command takes it over.
    if (goal.creating && progress.parts > 0) await dropCreated(work, goal.isTaken).catch(() => {});
    throw error;
  }
}

/** Loads what takes long to load, so that this does not happen while a tenant's transaction is open. */
export async function warmUp(): Promise<void> {
  await import("./umzug.js");
}

class Rehearsed extends Error {}

/**
 * Does the first of a tenant's transactions and rolls it back. It takes the locks that the real one will take.
 * @returns how long it took, in milliseconds, and what it applied: nothing of a module, whose effects may reach beyond the database.
 */
export async function rehearseTenant(work: TenantWork, goal: Goal): Promise<{ ms: number; names: string[] }> {
  const progress: Progress = { wanted: undefined, cuts: new Set(), parts: 0 };
  await warmUp();
  const startedAt = performance.now();
  let names: string[] = [];
  await inTenantTransaction(work, goal.expectLedger, async (transaction) => {
    const part = await planPart(work, goal, progress, transaction.found);
    const prepared = await Promise.all(part.names.map((name) => work.prepare(name, goal.direction)));
    const module = prepared.findIndex((one) => one.kind === "module");
    names = module === -1 ? part.names : part.names.slice(0, module);
    await writePart(work, goal, progress, transaction, { names, rest: [] });
    await transaction.flush();
    throw new Rehearsed();
  }).catch((error: unknown) => {
    if (!(error instanceof Rehearsed)) throw error;
  });
  return { ms: performance.now() - startedAt, names };
}

interface Progress {
  /** What is left to do; undefined until the ledger was read under the lock. */
  wanted: string[] | undefined;
  /** Migrations after which a commit must come. */
  cuts: Set<string>;
  /** How many commits there were. */
  parts: number;
}

interface Part {
  names: string[];
  rest: string[];
}

// One transaction, and after it the migration that must run outside of one. True while there is more.
async function runPart(work: TenantWork, goal: Goal, progress: Progress): Promise<boolean> {
  let tried: string[] = [];
  const part = await inTenantTransaction(work, goal.expectLedger || progress.parts > 0, async (transaction) => {
    const part = await planPart(work, goal, progress, transaction.found);
    tried = part.names;
    await writePart(work, goal, progress, transaction, part);
    return part;
  }).catch(async (error: unknown) => {
    if (error instanceof CommitUnknown && (await wasCommitted(work, tried, goal.direction))) {
      return { names: tried, rest: (progress.wanted ?? []).slice(tried.length) };
    }
    const cut = wantsCommitFirst(error)
      ? await lastEnumMigration(work, goal, tried, error.place?.migration)
      : undefined;
    if (cut === undefined) throw error;
    progress.cuts.add(cut);
    return undefined;
  });
  if (part === undefined) return true;
  committed(work, progress, part.names, part.rest);
  const [next, ...rest] = part.rest;
  if (next === undefined) return false;
  const prepared = await work.prepare(next, goal.direction);
  if (!isOutside(prepared)) return true;
  await runOutside(work, prepared, goal.direction);
  committed(work, progress, [next], rest);
  return rest.length > 0 || goal.creating; // creating: the schema's comment is still to be taken away
}

function committed(work: TenantWork, progress: Progress, names: string[], rest: string[]): void {
  progress.wanted = rest;
  progress.parts++;
  if (names.length > 0) work.onCommitted(names);
}

async function planPart(work: TenantWork, goal: Goal, progress: Progress, found: Found): Promise<Part> {
  const standing = standingOf(work.migrations, { ...found, hasObjects: found.hasObjects && !goal.shared });
  if (goal.creating) refuseOthers(work, found, progress);
  else if (progress.wanted === undefined && goal.direction === "up" && !(goal.allowAhead && standing.state === "ahead"))
    refuseStanding(standing, work.tenant);
  progress.wanted ??= goal.choose(standing, found);
  const applied = new Set(standing.applied);
  const wanted = progress.wanted.filter((name) => applied.has(name) === (goal.direction === "down"));
  let count = 0;
  while (count < wanted.length && !(await endsBefore(work, goal, progress, wanted, count))) count++;
  return { names: wanted.slice(0, count), rest: wanted.slice(count) };
}

async function endsBefore(
  work: TenantWork,
  goal: Goal,
  progress: Progress,
  wanted: string[],
  index: number,
): Promise<boolean> {
  const previous = wanted[index - 1];
  if (previous !== undefined && (goal.commit === "migration" || progress.cuts.has(previous))) return true;
  return isOutside(await work.prepare(wanted[index] ?? "", goal.direction));
}

function isOutside(prepared: Prepared): prepared is Extract<Prepared, { kind: "sql" }> {
  return prepared.kind === "sql" && !prepared.transaction;
}

/**
 * Looks whether a new tenant's schema is there already, before anything is touched. The lock is not taken: what a crash may have left is
 * looked at under it.
 * @throws TenantctlError SCHEMA_EXISTS.
 */
export async function requireNew({ database, tenant }: TenantWork): Promise<void> {
  const facts = await database.withClient((client) => lookAt(client, tenant.schema));
  if (facts.exists && creatingRun(facts.comment) === undefined) throw exists(tenant, facts);
}

/** Whether a schema is what a create-tenant left that crashed between two commits, and nobody has migrated it since. */
export function isUnfinished({ comment, rows = [] }: Found): boolean {
  const run = creatingRun(comment);
  return run !== undefined && rows.every((row) => row.runId === run);
}

// Before each part, since the lock is free between them: what is there must be ours, or what crashed, which the same command takes over.
function refuseOthers({ tenant, run }: TenantWork, found: Found, { parts }: Progress): void {
  const name = `the schema "${tenant.schema}"`;
  if (parts > 0 && creatingRun(found.comment) !== run) {
    throw new TenantctlError("SCHEMA_EXISTS", `somebody else dropped ${name}, or took it over`, {
      hint: "tenantctl list tells whether the tenant is there now",
    });
  }
  if (parts > 0 || !found.exists || isUnfinished(found)) return;
  throw exists(tenant, found);
}

function exists({ name, schema }: TenantWork["tenant"], { owner }: Facts): TenantctlError {
  return new TenantctlError("SCHEMA_EXISTS", `the schema "${schema}" exists`, {
    hint:
      owner === null
        ? `if it is this tenant's: tenantctl add-tenant ${name} --baseline`
        : `it has a ledger; to register it: tenantctl add-tenant ${name}`,
  });
}

async function writePart(
  work: TenantWork,
  goal: Goal,
  progress: Progress,
  transaction: TenantTransaction,
  part: Part,
): Promise<void> {
  const { schema } = work.tenant;
  if (goal.creating && progress.parts === 0 && transaction.found.exists) {
    await transaction.queue({ text: dropSchemaText(schema) });
    transaction.found = nothingFound;
  }
  await ensureLedger(work, transaction, goal.grant && progress.parts === 0);
  if (goal.creating && part.rest.length > 0 && progress.parts === 0)
    await comment(transaction, schema, creatingComment(work.run));
  if (goal.creating && part.rest.length === 0 && progress.parts > 0) await comment(transaction, schema, null);
  if (part.names.length > 0) {
    const { runMigrations } = await import("./umzug.js"); // Umzug takes longer to load than most of our commands to run
    const prepared = await Promise.all(part.names.map((name) => work.prepare(name, goal.direction)));
    const check = reachCheck(work, prepared);
    await check?.begin(transaction);
    await runMigrations(work, transaction, work.migrations, part.names, goal.direction, work.prepare);
    await check?.finish(transaction);
  }
  await stampLedger(work, transaction, rowsAfter(work, goal, transaction.found, part.names));
  if (part.rest.length === 0) await perform(transaction, goal.alongside);
}

async function perform({ client, flush }: TenantTransaction, alongside: Alongside | undefined): Promise<void> {
  if (alongside === undefined) return;
  await flush();
  await alongside(client);
}

async function comment({ queue }: TenantTransaction, schema: string, text: string | null): Promise<void> {
  await queue({ text: `comment on schema ${identifier(schema)} is ${text === null ? "null" : literal(text)}` });
}

function rowsAfter(work: TenantWork, goal: Goal, found: Found, names: readonly string[]) {
  const rows = found.rows ?? [];
  const touched = new Set(names);
  if (goal.direction === "down") return rows.filter((row) => !touched.has(row.name));
  return [...rows, ...work.migrations.filter((migration) => touched.has(migration.name))];
}

// A new enum value can't be used in the transaction that added it: commit after the last migration before the one
// that failed which did, or may have done so.
async function lastEnumMigration(
  work: TenantWork,
  goal: Goal,
  tried: string[],
  failed: string | undefined,
): Promise<string | undefined> {
  const before = tried.slice(0, failed === undefined ? 0 : tried.indexOf(failed));
  for (const name of before.reverse()) {
    const prepared = await work.prepare(name, goal.direction);
    if (prepared.kind === "module" || prepared.addsEnumValue) return name;
  }
  return undefined;
}

// The connection went away with the commit. The lock tells that the other end has finished; the ledger, how.
async function wasCommitted(work: TenantWork, names: readonly string[], direction: Direction): Promise<boolean> {
  if (names.length === 0) return false;
  const { schema } = work.tenant;
  try {
    const rows = await withTransaction(
      work.database,
      async (client) => {
        await client.query(`select pg_advisory_xact_lock(${lockKey(schema)})`);
        return (await client.query<LedgerRow>(selectRowsText(schema))).rows;
      },
      { lockTimeoutMs: 30_000 },
    );
    const ours = new Set(rows.filter((row) => direction === "down" || row.runId === work.run).map((row) => row.name));
    return names.every((name) => ours.has(name) === (direction === "up"));
  } catch {
    return false; // not there, or not to be known: the caller reports the connection as lost
  }
}

/** Drops what this very run created; not what somebody else has migrated since, nor what has become a tenant. */
export async function dropCreated(work: TenantWork, isTaken: IsTaken = async () => false): Promise<void> {
  await inTenantTransaction(work, false, async ({ client, found, queue }) => {
    const { comment, rows = [] } = found;
    const runs = new Set([creatingRun(comment), ...rows.map((row) => row.runId)]);
    runs.delete(undefined);
    const isOurs = runs.size === 1 && runs.has(work.run);
    if (isOurs && !(await isTaken(client))) await queue(...dropTenantTexts(work).map((text) => ({ text })));
  });
}

/** Takes migrations as applied without running them; the schema must be there and have no ledger. */
export async function baselineTenant(work: TenantWork, names: readonly string[], alongside?: Alongside): Promise<void> {
  const taken = new Set(names);
  const migrations = work.migrations.filter(({ name }) => taken.has(name));
  await inTenantTransaction(work, false, async (transaction) => {
    if (!transaction.found.exists)
      throw new TenantctlError("SCHEMA_MISSING", `there is no schema "${work.tenant.schema}"`);
    if (transaction.found.rows !== undefined) {
      throw new TenantctlError("SCHEMA_EXISTS", `the schema "${work.tenant.schema}" has a ledger already`, {
        hint: `tenantctl add-tenant ${work.tenant.name}, without --baseline`,
      });
    }
    await ensureLedger(work, transaction, true);
    if (migrations.length > 0)
      await transaction.queue({ text: baselineText(work.tenant.schema, migrations, work.run) });
    await stampLedger(work, transaction, migrations);
    await perform(transaction, alongside);
  });
}

/** Takes edited files as they are: rewrites the checksums of changed migrations, and the stamp. Resolves to the names. */
export async function repairTenant(work: TenantWork): Promise<string[]> {
  return await inTenantTransaction(work, true, async (transaction) => {
    const { changed } = standingOf(work.migrations, transaction.found);
    const edited = new Map(
      work.migrations.filter(({ name }) => changed.includes(name)).map((migration) => [migration.name, migration]),
    );
    for (const migration of edited.values())
      await transaction.queue({ text: checksumText(work.tenant.schema, migration) });
    const rows = (transaction.found.rows ?? []).map((row) => edited.get(row.name) ?? row);
    await stampLedger(
      work,
      transaction,
      rows.sort((a, b) => byCodeUnits(a.name, b.name)),
    );
    return changed;
  });
}

/** What is put right in a tenant besides its migrations. */
export interface Mending {
  /** Its stamp is written anew from its ledger, where it is another. */
  stamp?: boolean;
  /** The rights in its schema are given anew. */
  rights?: boolean;
  /** What belongs in the same transaction. */
  texts?: readonly string[];
}

/** Puts right what is there of a tenant, in one transaction under its lock; runs no migration, and takes no edited file as it is. */
export async function mendTenant(work: TenantWork, { stamp, rights, texts = [] }: Mending): Promise<void> {
  await inTenantTransaction(work, true, async (transaction) => {
    const { rows, owner } = transaction.found;
    if (stamp && rows !== undefined) await stampLedger(work, transaction, rows);
    await transaction.queue(
      ...[...(rights ? rightsTexts(work, owner ?? undefined) : []), ...texts].map((text) => ({ text })),
    );
  });
}
