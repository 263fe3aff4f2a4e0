// The fleet room: doctor --fix, which puts right what can be put right without a choice: stamps and rights, each tenant in one transaction.

import type { Database } from "../database/database.js";
import { withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { readMigrations } from "../migrations/files.js";
import { mendTenant } from "../migrations/tenant.js";
import type { Mend, Noted } from "./doctor-findings.js";
import type { Fleet } from "./fleet.js";
import { jobOf } from "./mend.js";
import { requireWritable } from "./preflight.js";
import { carryOut, defaultLimits, newPlan, openWorkshop, type RunLimits } from "./run.js";
import { shareSchemas } from "./share.js";
import { sharedTarget } from "./shared.js";
import { persist } from "./workers.js";

/** What was wrong, and what was done about it. */
export interface Fixed {
  check: string;
  where: string;
  /** What was wrong. */
  message: string;
  done: string;
}

/**
 * Puts right what says how it is put right; what is there already is done again without harm. A tenant's failure stops nobody else.
 * @returns what could not be put right, and why.
 */
export async function mendAll(fleet: Fleet, findings: readonly Noted[], limits: RunLimits): Promise<Noted[]> {
  const mends = findings.flatMap(({ mend }) => mend ?? []);
  if (mends.length === 0) return [];
  const failed: Noted[] = [];
  try {
    const database = await fleet.database();
    await requireWritable(fleet, database);
    const shared = sharedTarget(fleet);
    await shareSchemas(fleet, database).catch((error: unknown) => failed.push(failure("shared schemas", error)));
    if (mends.some(({ what, tenant }) => what === "stamp" && tenant.name === shared.name))
      await stampShared(fleet, shared, limits).catch((error: unknown) => failed.push(failure(shared.name, error)));
    for (const { tenant, texts = [] } of mends.filter(({ what }) => what === "shared-text"))
      await sendShared(database, texts, limits).catch((error: unknown) => failed.push(failure(tenant.name, error)));
    const ofTenants = (mend: Mend) => !["share", "shared-text"].includes(mend.what) && mend.tenant.name !== shared.name;
    failed.push(...(await mendTenants(fleet, mends.filter(ofTenants), limits)));
  } catch (error) {
    // What stands in everybody's way was found before, and is found again.
    failed.push(failure("database", error));
  }
  return failed;
}

function failure(where: string, error: unknown): Noted {
  if (!(error instanceof TenantctlError)) throw error;
  return { severity: "error", check: "fix", where, message: `not mended: ${error.message}`, hint: error.hint ?? "" };
}

async function stampShared(fleet: Fleet, shared: Mend["tenant"], limits: RunLimits): Promise<void> {
  const migrations = await readMigrations(fleet.config.migrations.shared ?? "");
  const open = openWorkshop(fleet, await fleet.database(), migrations, newPlan("doctor --fix").run, limits);
  await persist(() => mendTenant(open(shared, []), { stamp: true }), { ...defaultLimits, ...limits });
}

async function sendShared(database: Database, texts: readonly string[], limits: RunLimits): Promise<void> {
  const all = { ...defaultLimits, ...limits };
  const send = () =>
    withTransaction(
      database,
      async (client) => {
        for (const text of texts) await client.query(text);
      },
      { lockTimeoutMs: all.lockTimeoutMs },
    );
  await persist(send, all);
}

async function mendTenants(fleet: Fleet, mends: readonly Mend[], limits: RunLimits): Promise<Noted[]> {
  const plan = newPlan("doctor --fix");
  const database = await fleet.database();
  const wanted = new Map<string, Mend[]>();
  for (const mend of mends) wanted.set(mend.tenant.name, [...(wanted.get(mend.tenant.name) ?? []), mend]);
  plan.tenants = (await fleet.registry.tenants()).filter(({ name }) => wanted.has(name));
  const migrations = await readMigrations(fleet.config.migrations.tenant);
  const open = openWorkshop(fleet, database, migrations, plan.run, limits);
  plan.jobs = plan.tenants.map((tenant) => {
    const own = wanted.get(tenant.name) ?? [];
    const has = (what: Mend["what"]) => own.some((mend) => mend.what === what);
    const mending = { stamp: has("stamp"), rights: has("rights"), texts: own.flatMap(({ texts = [] }) => texts) };
    return jobOf(tenant, () => mendTenant(open(tenant, []), mending));
  });
  if (plan.jobs.length === 0) return [];
  const { tenants, error } = await carryOut(fleet, database, plan, limits);
  const failed = tenants.flatMap(({ name, error }) => (error ? [{ where: name, ...error }] : []));
  if (error) failed.push({ where: database.display, ...error });
  return failed.map(({ where, message, hint = "" }) => ({
    severity: "error",
    check: "fix",
    where,
    message: `not mended: ${message}`,
    hint,
  }));
}

/** Of what could be put right, what is no longer found. */
export function fixedOf(before: readonly Noted[], after: readonly Noted[]): Fixed[] {
  const key = ({ check, where, message }: Noted) => JSON.stringify([check, where, message]);
  const left = new Set(after.map(key));
  return before
    .filter((finding) => finding.mend !== undefined && !left.has(key(finding)))
    .map(({ check, where, message, mend }) => ({ check, where, message, done: mend?.done ?? "" }));
}
