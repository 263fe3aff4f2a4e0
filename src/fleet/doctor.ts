// The fleet room: doctor looks at config, registry, migrations and database, says what is wrong and how to mend it, and mends what is safe.

import type { Database } from "../database/database.js";
import { schemasLike } from "../database/schemas.js";
import { readCatalog } from "../database/transaction.js";
import { ProblemsError, TenantctlError } from "../errors.js";
import { type Migration, readMigrations } from "../migrations/files.js";
import { creatingComment, ledgerTable } from "../migrations/ledger.js";
import type { LintFinding } from "../migrations/lint.js";
import { createPreparer } from "../migrations/prepare.js";
import { checkTenantName } from "../registry/names.js";
import type { Tenant } from "../registry/registry.js";
import { problemsIn } from "../registry/tenants.js";
import { examineCatalog } from "./doctor-catalog.js";
import { type Examined, type Finding, type FindingGroup, groupsOf, type Noted, plain } from "./doctor-findings.js";
import { type Fixed, fixedOf, mendAll } from "./doctor-fix.js";
import { examineLimits } from "./doctor-limits.js";
import { examineShared } from "./doctor-shared.js";
import { reportStanding } from "./doctor-standing.js";
import { type Fleet, type FleetOptions, openFleet } from "./fleet.js";
import { lint } from "./lint.js";
import { requireWritable } from "./preflight.js";
import { type RunLimits, rightsOf } from "./run.js";
import { lookAtShared } from "./shared.js";
import { privateTables } from "./shared-access.js";
import { survey } from "./survey.js";

export type { Finding, FindingGroup } from "./doctor-findings.js";
export type { Fixed } from "./doctor-fix.js";

/** What doctor found: with --fix, what is left. */
export interface Diagnosis {
  /** There is no error among the findings. */
  ok: boolean;
  findings: Finding[];
  /** The same, those together that say the same of several places; errors first. */
  groups: FindingGroup[];
  /** What was put right; only where that was asked for. */
  fixed?: Fixed[];
}

export interface ExamineOptions extends FleetOptions {
  /** Puts right what is safe: stamps, rights, and where tenants have roles what PUBLIC has. Without it nothing is touched. */
  fix?: boolean | undefined;
  /** Limits of what is put right. */
  limits?: RunLimits | undefined;
}

/** Looks at everything that can be looked at, and goes on after each thing that is wrong. Touches nothing, unless told to `fix`. */
export async function examine({ fix, limits = {}, ...options }: ExamineOptions): Promise<Diagnosis> {
  const findings: Noted[] = [];
  let fixed: Fixed[] | undefined;
  let fleet: Fleet | undefined;
  try {
    fleet = await openFleet(options);
    await examineFleet(fleet, findings);
    if (fix) {
      const before = findings.splice(0);
      const failed = await mendAll(fleet, before, limits);
      await examineFleet(fleet, findings);
      fixed = fixedOf(before, findings);
      findings.push(...failed);
    }
  } catch (error) {
    note(findings, "config", options.config ?? "tenants.config", error);
  } finally {
    await fleet?.close();
  }
  return {
    ok: findings.every(({ severity }) => severity !== "error"),
    findings: findings.map(plain),
    groups: groupsOf(findings),
    ...(fix ? { fixed: fixed ?? [] } : {}),
  };
}

async function examineFleet(fleet: Fleet, findings: Noted[]): Promise<void> {
  const list = () => attempt(findings, "registry", fleet.config.file, () => fleet.registry.tenants());
  const listed = fleet.registry.inDatabase ? undefined : await list();
  const migrations = await attempt(findings, "migrations", fleet.config.migrations.tenant, () =>
    readMigrations(fleet.config.migrations.tenant),
  );
  const prepare = createPreparer(migrations ?? []);
  for (const { name, file } of migrations ?? []) await attempt(findings, "migrations", file, () => prepare(name, "up"));
  const database = await attempt(findings, "database", "database", () => fleet.database());
  const tenants = fleet.registry.inDatabase ? database && (await list()) : listed;
  await examineFiles(fleet, findings, tenants);
  if (database === undefined) return;
  await attempt(findings, "role", fleet.config.appRole ?? database.display, () => requireWritable(fleet, database));
  await attempt(findings, "database", database.display, () => examinePooler(database, migrations ?? [], findings));
  await attempt(findings, "ledger", "shared schema", async () => {
    const shared = await lookAtShared(fleet, database, true);
    if (shared) reportStanding(findings, shared.surveyed, true);
  });
  if (tenants === undefined) return;
  await examineTenants(fleet, database, findings, tenants, migrations);
  await reportStrays(fleet, database, findings, tenants);
}

// What lint says that is a matter of taste or of time is left to lint.
const adviceOnly: readonly LintFinding["rule"][] = [
  "no-down",
  "partly-transactional",
  "concurrent-on-new-table",
  "scans-all-indexes",
  "unused-allow",
];

async function examineFiles(fleet: Fleet, findings: Noted[], tenants: readonly Tenant[] | undefined): Promise<void> {
  const known = findings.map(({ message }) => message);
  let linted: LintFinding[];
  try {
    linted = (
      await lint(
        fleet,
        [],
        tenants?.map(({ schema }) => schema),
      )
    ).findings;
  } catch (error) {
    if (error instanceof TenantctlError) return; // a folder that can't be read is found by who reads it
    throw error;
  }
  for (const { severity, rule, file, line, column, message, hint } of linted) {
    if (adviceOnly.includes(rule) || known.some((told) => told.includes(`${file}:${line})`))) continue;
    const where = `${file}:${line}:${column}`;
    findings.push({ severity, check: "migrations", where, message: `${rule}: ${message}`, hint });
  }
}

async function examinePooler(database: Database, migrations: readonly Migration[], findings: Noted[]): Promise<void> {
  if (await database.hasSession()) return;
  const outside = migrations.find((one) => one.kind === "sql" && !one.up.transaction);
  findings.push({
    severity: outside ? "error" : "warning",
    check: "database",
    where: database.display,
    message: outside
      ? `${outside.name} is transaction:false, and this is a transaction pooler`
      : "this is a transaction pooler: a migration that is transaction:false would be refused",
    hint: 'set "directDatabase" in the config to the server\'s own address',
  });
}

async function examineTenants(
  fleet: Fleet,
  database: Database,
  findings: Noted[],
  all: readonly Tenant[],
  migrations: readonly Migration[] | undefined,
): Promise<void> {
  const tenants = all.filter(({ state }) => state !== "archived");
  const names = new Map(tenants.map(({ name, schema }) => [schema, name]));
  const examined: Examined = {
    tenants,
    sharedSchemas: fleet.config.sharedSchemas,
    isolated: fleet.config.isolation === "role",
    nameOf: (schema) => names.get(schema) ?? schema,
  };
  const look = (check: string, seek: () => Promise<Noted[]>) =>
    attempt(findings, check, database.display, async () => findings.push(...(await seek())));
  await look("database", () => examineCatalog(database, examined));
  const told = new Set(findings.filter(({ isOfRights }) => isOfRights).map(({ where }) => where));
  if (migrations !== undefined) {
    await look("ledger", async () => {
      const found: Noted[] = [];
      const surveyed = await survey(database, migrations, tenants, {
        ...rightsOf(fleet, database),
        verify: true,
        byOwner: true,
      });
      for (const one of surveyed)
        reportStanding(found, told.has(one.tenant.name) ? { ...one, lacksGrants: false } : one);
      return found;
    });
  }
  if (examined.isolated)
    await look("role", () => examineShared(database, examined.sharedSchemas, privateTables(fleet.config)));
  await look("limit", () => examineLimits(database, examined, fleet.concurrency));
}

// Schemas that look like ours and are in no registry; and what was interrupted.
async function reportStrays(
  fleet: Fleet,
  database: Database,
  findings: Noted[],
  tenants: readonly Tenant[],
): Promise<void> {
  const registered = new Set(tenants.map((tenant) => tenant.schema));
  const shared = fleet.config.sharedSchemas[0] ?? "public";
  const found = await readCatalog(database, (client) => schemasLike(client, ledgerTable, creatingComment("")));
  for (const { schema, comment } of found) {
    if (registered.has(schema) || schema === shared) continue;
    const unfinished = comment?.startsWith(creatingComment("")) ?? false;
    const isName = problemsIn(() => checkTenantName(schema)).length === 0;
    const hint = (of: string) =>
      unfinished ? `tenantctl create-tenant ${of} takes it over` : `tenantctl add-tenant ${of} registers it`;
    findings.push({
      severity: "warning",
      check: "registry",
      where: schema,
      message: unfinished
        ? "a create-tenant was interrupted and left this schema"
        : "a schema with a ledger that no tenant has",
      hint: hint(isName ? schema : `<name> --schema '${schema.replaceAll("'", "'\\''")}'`),
      alike: { hint: hint("<name>") },
    });
  }
}

async function attempt<T>(
  findings: Noted[],
  check: string,
  where: string,
  look: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    note(findings, check, where, error);
    return undefined;
  }
}

function note(findings: Noted[], check: string, where: string, error: unknown): void {
  if (!(error instanceof TenantctlError)) throw error;
  const messages = error instanceof ProblemsError ? error.problems : [error.message];
  for (const message of messages) findings.push({ severity: "error", check, where, message, hint: error.hint ?? "" });
}
