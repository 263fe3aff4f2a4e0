// The fleet room: verify-isolation, which looks whether the database keeps tenants apart, and tries.

import { rightPattern } from "../config/shape.js";
import type { Client, Database } from "../database/database.js";
import { identifier, literal, qualified } from "../database/quote.js";
import { sharedRole, tenantLogins, tenantRole } from "../database/roles.js";
import { beginStatements, newToken, readCatalog } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { ledgerTable } from "../migrations/ledger.js";
import type { Tenant } from "../registry/registry.js";
import type { Fleet } from "./fleet.js";
import { findFunctionPaths, pathText } from "./function-paths.js";
import { isolationOf } from "./isolation.js";
import { findLacks, findLeaks, type Right } from "./leaks.js";
import { type Selection, selectTenants } from "./select.js";
import { wantedRights } from "./shared-access.js";
import type { Watched } from "./suspects.js";

export interface VerifyOptions {
  /** For how many of the selected tenants it is tried besides what the catalog says. Default 10. */
  attempts?: number | "all" | undefined;
  /** Rights that are wanted, besides the config's `isolationAllows`, and written as there: `insert shared.plans`. */
  allow?: readonly string[] | undefined;
}

export interface Verification {
  /** Nobody gets through, and nobody lacks a right. */
  ok: boolean;
  tenants: number;
  /** Rights that let a tenant, or the application without a tenant's role, into what is not theirs. */
  leaks: Right[];
  /** Rights that would be leaks, had nobody said that they are wanted. */
  allowed: Right[];
  /** What was said to be wanted, and is no longer there. */
  unused: string[];
  /** Rights that tenants' roles lack in their own schemas. */
  lacks: Right[];
  attempts: {
    tenants: number;
    tried: number;
    /** What was not refused, and what of the tenant's own was. */
    unexpected: { tenant: string; statement: string; outcome: string }[];
  };
}

/**
 * Looks whether tenants' roles reach their own schemas and nothing but them: in the catalog for all of them, and by trying for some.
 * Nothing that it tries stays.
 * @throws TenantctlError NOT_ISOLATED where the config says nothing of roles; TENANT_UNKNOWN; USAGE for what is said to be wanted, and is no
 * right; what opening the database throws.
 */
export async function verifyIsolation(
  fleet: Fleet,
  selection: Selection,
  { attempts = 10, allow = [] }: VerifyOptions = {},
): Promise<Verification> {
  const told = [...new Set([...fleet.config.isolationAllows, ...allow])].map(wishOf);
  const wishes = [...told, ...wantedRights(fleet.config).map(wishOf)];
  const all = await fleet.registry.tenants();
  const selected = await selectTenants(all, selection);
  const database = await fleet.database();
  const isolation = isolationOf(fleet, database);
  if (isolation === undefined) throw notIsolated();
  const roleOf = (tenant: Tenant) => tenantRole(isolation.database, tenant.schema);
  const { registry } = fleet.config;
  const watched: Watched = {
    schemas: all.map(({ schema }) => schema),
    roles: all.map(roleOf),
    logins: all.flatMap(({ schema }) => tenantLogins(isolation.database, schema)),
    sharedRole: sharedRole(isolation.database),
    appRole: fleet.config.appRole,
    sharedSchemas: fleet.config.sharedSchemas,
    registryTable: registry !== undefined && "table" in registry ? registry.table : undefined,
  };
  const others = new Set([...watched.roles, ...watched.logins]);
  for (const tenant of selected) {
    for (const role of [roleOf(tenant), ...tenantLogins(isolation.database, tenant.schema)]) others.delete(role);
  }
  const look = async (client: Client) => {
    // The server guesses that there is hardly anything of all this, and would go through everything for each tenant.
    await client.query("set local enable_nestloop = off");
    const leaks = [...(await findLeaks(client, watched)), ...(await lookups(client, watched))];
    return [leaks, await findLacks(client, watched)] as const;
  };
  const [found, lacking] = await readCatalog(database, look);
  const ofSelected = ({ role }: Right) => !others.has(role);
  const isAllowed = (right: Omit<Right, "how" | "hint">) => wishes.some(({ covers }) => covers(right));
  const leaks = found.filter((right) => ofSelected(right) && !isAllowed(right));
  const allowed = found.filter((right) => ofSelected(right) && isAllowed(right));
  const lacks = lacking.filter(ofSelected);
  const unused = told.filter(({ covers }) => !found.some(covers)).map(({ text }) => text);
  for (const text of unused)
    fleet.report({ type: "warning", message: `${text} is allowed, and there is no such right any more` });
  const tables = await tablesOf(database, watched);
  const there = ({ schema }: Tenant) => tables.has(schema);
  const tenants = sample(selected.filter(there), attempts);
  const tried = await attempt(database, all.filter(there), tenants, watched, tables, roleOf, isAllowed);
  return {
    ok: leaks.length === 0 && lacks.length === 0 && tried.unexpected.length === 0,
    tenants: selected.length,
    leaks,
    allowed,
    unused,
    lacks,
    attempts: tried,
  };
}

// A function that looks names up where another tenant, or its caller, says what they are.
async function lookups(client: Client, { schemas, roles, sharedSchemas }: Watched): Promise<Right[]> {
  const found = await findFunctionPaths(client, schemas, sharedSchemas);
  return found.map((one) => {
    const { schema, kind, identity, others, missing, path, wanted } = one;
    const [wrong] = [...others, ...missing];
    const lacks = path === undefined ? "no search_path of its own" : "search_path without pg_temp at its end";
    return {
      role: roles[schemas.indexOf(schema)] ?? "PUBLIC",
      object: identity,
      privilege: "SEARCH_PATH",
      how: wrong === undefined ? `SECURITY DEFINER, ${lacks}` : `search_path with ${identifier(wrong)}`,
      hint: wanted === undefined ? `alter ${kind} ${identity} set search_path = …, pg_temp` : pathText(one),
    };
  });
}

export function notIsolated(): TenantctlError {
  return new TenantctlError("NOT_ISOLATED", "the config does not keep tenants apart by roles", {
    hint: 'set "isolation": "role" in the config, then: tenantctl isolate',
  });
}

interface Wish {
  text: string;
  covers(right: Omit<Right, "how" | "hint">): boolean;
}

/** `insert shared.plans`, `execute *.sign_up() to PUBLIC`: as leaks are told, case and quotation marks aside; `*` is anything. */
function wishOf(text: string): Wish {
  const plain = (words: string) => words.replaceAll('"', "").trim().toLowerCase();
  if (!rightPattern.test(text)) {
    throw new TenantctlError("USAGE", `${JSON.stringify(text)} is no right that can be allowed`, {
      hint: "a privilege and an object, as verify-isolation tells them: insert shared.plans",
    });
  }
  const parts = plain(text)
    .split("*")
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/ +/g, " +"));
  const pattern = new RegExp(`^${parts.join(".*")}$`);
  return {
    text,
    covers({ privilege, object, role }) {
      const right = plain(`${privilege} ${object}`);
      return pattern.test(right) || pattern.test(`${right} to ${plain(role)}`);
    },
  };
}

/** As many of them, evenly over the fleet. */
function sample(tenants: readonly Tenant[], wanted: number | "all"): Tenant[] {
  if (wanted === "all" || wanted >= tenants.length) return [...tenants];
  return Array.from({ length: wanted }, (_, index) => tenants[Math.floor((index * tenants.length) / wanted)]).filter(
    (tenant) => tenant !== undefined,
  );
}

/** A statement, and whether it is to be refused. */
interface Try {
  statement: string;
  allowed: boolean;
  /** With which right it would be done. */
  privilege: string;
  object: string;
}

async function attempt(
  database: Database,
  all: readonly Tenant[],
  tenants: readonly Tenant[],
  watched: Watched,
  tables: ReadonlyMap<string, string[]>,
  roleOf: (tenant: Tenant) => string,
  isAllowed: (right: Omit<Right, "how" | "hint">) => boolean,
): Promise<Verification["attempts"]> {
  const unexpected: Verification["attempts"]["unexpected"] = [];
  let tried = 0;
  for (const tenant of tenants) {
    const other = all[(all.indexOf(tenant) + 1) % all.length];
    const role = roleOf(tenant);
    const tries = triesFor(tenant, other === tenant ? undefined : other, watched, tables).filter(
      (one) => one.allowed || ![role, watched.sharedRole, "PUBLIC"].some((role) => isAllowed({ ...one, role })),
    );
    const outcomes = await database.withClient((client) => perform(client, database, role, tries));
    if (typeof outcomes === "string") {
      tried++;
      unexpected.push({ tenant: tenant.name, statement: `set role ${identifier(role)}`, outcome: outcomes });
      continue;
    }
    tried += tries.length;
    for (const [index, { statement, allowed }] of tries.entries()) {
      const outcome = outcomes[index] ?? "";
      const through = outcome === done;
      // A schema that may not be used is passed over in a search_path: then there is no such table.
      if (through === allowed && (through || ["42501", "42P01"].includes(outcome))) continue;
      unexpected.push({ tenant: tenant.name, statement, outcome: through ? "done" : outcome });
    }
  }
  return { tenants: tenants.length, tried, unexpected };
}

/** The schemas that are there, of those that are watched, each with a few of its tables. */
async function tablesOf(database: Database, { schemas, sharedSchemas }: Watched): Promise<Map<string, string[]>> {
  const { rows } = await readCatalog(database, (client) =>
    client.query<{ schema: string; tables: string[] }>(
      `select n.nspname as schema, coalesce((array_agg(c.relname::text order by c.relname) filter (where c.oid is not null))[1:3], '{}') as tables
       from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p') and c.relname <> '${ledgerTable}'
       where n.nspname = any($1) group by 1`,
      [["public", ...schemas, ...sharedSchemas]],
    ),
  );
  return new Map(rows.map(({ schema, tables }) => [schema, tables]));
}

// EXPLAIN asks for the same rights as what it explains, and neither fires triggers nor takes numbers from sequences.
function triesFor(
  own: Tenant,
  other: Tenant | undefined,
  watched: Watched,
  tables: ReadonlyMap<string, string[]>,
): Try[] {
  const make =
    (privilege: string, statement: (object: string) => string, allowed = false) =>
    (schema: string, table?: string): Try => {
      const object = table === undefined ? identifier(schema) : qualified(schema, table);
      const place = table === undefined ? schema : `${schema}.${table}`;
      return { privilege, object: place, statement: statement(object), allowed };
    };
  const each = (schema: string, tries: readonly ((schema: string, table: string) => Try)[]) =>
    (tables.get(schema) ?? []).flatMap((table) => tries.map((one) => one(schema, table)));
  const reads = (allowed: boolean) => make("SELECT", (table) => `select from ${table} limit 1`, allowed);
  const writes = (allowed: boolean) => [
    make("INSERT", (table) => `explain insert into ${table} default values`, allowed),
    make("DELETE", (table) => `explain delete from ${table}`, allowed),
  ];
  const create = make("CREATE", (schema) => `create table ${schema}.tenantctl_attempt ()`);
  const find = make("USAGE", (table) => `select ${literal(table)}::regclass`);
  const ledger = (schema: string) => reads(false)(schema, ledgerTable);
  return [
    ledger(own.schema),
    create(own.schema),
    ...(tables.has("public") ? [create("public")] : []),
    ...watched.sharedSchemas
      .filter((schema) => tables.has(schema))
      .flatMap((schema) => [create(schema), ...each(schema, writes(false))]),
    ...(other === undefined
      ? []
      : [
          ledger(other.schema),
          create(other.schema),
          ...each(other.schema, [
            reads(false),
            ...writes(false),
            (schema, table) => ({ ...find(schema, table), object: schema }),
          ]),
        ]),
    ...each(own.schema, [reads(true), ...writes(true)]),
  ];
}

const done = "TNC00";

/** The SQLSTATE of each, in one message: each is undone at once, and the transaction is rolled back. A text: the role can't be taken on. */
async function perform(
  client: Client,
  database: Database,
  role: string,
  tries: readonly Try[],
): Promise<string[] | string> {
  const settings = { searchPath: [], lockTimeoutMs: 5_000, statementTimeoutMs: 0 };
  await client.query(beginStatements(database, settings, newToken()).join("; "));
  try {
    await client.query(`set local role ${identifier(role)}`);
  } catch (error) {
    await client.query("rollback");
    return error instanceof Error ? error.message : String(error);
  }
  const body = `declare one text; outcomes text[] := '{}';
    begin
      foreach one in array array[${tries.map(({ statement }) => literal(statement)).join(", ")}]::text[] loop
        begin
          execute one;
          raise exception using errcode = '${done}';
        exception when others then outcomes := outcomes || sqlstate;
        end;
      end loop;
      perform set_config('tenantctl.outcomes', array_to_string(outcomes, ','), true);
    end`;
  await client.query(`do ${literal(body)}`);
  const { rows } = await client.query<{ outcomes: string }>("select current_setting('tenantctl.outcomes') as outcomes");
  await client.query("rollback");
  return (rows[0]?.outcomes ?? "").split(",");
}
