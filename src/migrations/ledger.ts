// The migrations room: the ledger inside a schema, and its stamp, a fingerprint of all its rows.

import { createHash } from "node:crypto";
import type { Client, Database } from "../database/database.js";
import { isConnectionLost, sqlState } from "../database/errors.js";
import { hasFormerRoleText } from "../database/own-roles.js";
import { literal, qualified } from "../database/quote.js";
import { type Isolation, sharedRole, tenantRole } from "../database/roles.js";
import { withTransaction } from "../database/transaction.js";
import { ledgerFailure, type MigrationFailure } from "./failure.js";
import type { Migration } from "./files.js";
import { byCodeUnits } from "./files.js";

/** The name of the ledger in every schema. */
export const ledgerTable = "tenantctl_migrations";

export interface LedgerRow {
  name: string;
  checksum: string | null;
  runId: string;
}

/** What a stamp or a schema's comment says besides a fingerprint. */
export const runningStamp = (migration: string, direction: "up" | "down" = "up"): string =>
  `tenantctl: ${direction === "up" ? "running" : "reverting"} ${migration}`;
/** What a stamp says is running or was interrupted, as `running x` or `reverting x`; undefined for a fingerprint. */
export const runningOf = (stamp: string | null | undefined): string | undefined =>
  /^tenantctl: ((?:running|reverting) .+)$/.exec(stamp ?? "")?.[1];
export const creatingComment = (run: string): string => `tenantctl: creating ${run}`;
/** The run of the create-tenant that a schema's comment says is under way, or was interrupted. */
export const creatingRun = (comment: string | null): string | undefined =>
  /^tenantctl: creating (.+)$/.exec(comment ?? "")?.[1];

/** The stamp of a ledger with these rows: their number, and a chain of hashes over them in the order of their names. */
export function stampOf(rows: readonly { name: string; checksum: string | null }[]): string {
  return prefixStamps([...rows].sort((a, b) => byCodeUnits(a.name, b.name))).at(-1) ?? "";
}

/** The stamps of every prefix of the migrations, from none to all: element k has k of them. */
export function prefixStamps(migrations: readonly { name: string; checksum: string | null }[]): string[] {
  let chain = "";
  const stamps = [`tenantctl: 0`];
  for (const [index, { name, checksum }] of migrations.entries()) {
    chain = createHash("sha256")
      .update(`${chain}\n${name}\n${checksum ?? ""}`)
      .digest("hex")
      .slice(0, 32);
    stamps.push(`tenantctl: ${index + 1} ${chain}`);
  }
  return stamps;
}

export function createLedgerText(schema: string): string {
  return `create table if not exists ${qualified(schema, ledgerTable)} (
  name text primary key, checksum text, run_id text not null,
  applied_at timestamptz not null default now(), duration_ms integer not null)`;
}

/** Writes one row. How long it took is measured on the server, from the last mark. */
export function insertRowText(schema: string, migration: Migration, run: string): string {
  const checksum = migration.checksum === null ? "null" : literal(migration.checksum);
  return `insert into ${qualified(schema, ledgerTable)} (name, checksum, run_id, duration_ms) values (${literal(migration.name)}, ${checksum}, ${literal(run)},
  round((extract(epoch from clock_timestamp()) - current_setting('tenantctl.mark')::numeric) * 1000)::int)`;
}

/** Takes migrations as applied, without running them. */
export function baselineText(schema: string, migrations: readonly Migration[], run: string): string {
  const rows = migrations.map(
    ({ name, checksum }) => `(${literal(name)}, ${checksum === null ? "null" : literal(checksum)}, ${literal(run)}, 0)`,
  );
  return `insert into ${qualified(schema, ledgerTable)} (name, checksum, run_id, duration_ms) values ${rows.join(", ")}`;
}

/** Sets the search_path for a migration, and notes the time for its row: a number, since how a time is written and read depends on settings. */
export function startText(path: string): string {
  const time = "extract(epoch from pg_catalog.clock_timestamp())::pg_catalog.text";
  return `select pg_catalog.set_config('search_path', ${literal(path)}, true), pg_catalog.set_config('tenantctl.mark', ${time}, true)`;
}

export function deleteRowText(schema: string, name: string): string {
  return `delete from ${qualified(schema, ledgerTable)} where name = ${literal(name)}`;
}

export function checksumText(schema: string, migration: Migration): string {
  const checksum = migration.checksum === null ? "null" : literal(migration.checksum);
  return `update ${qualified(schema, ledgerTable)} set checksum = ${checksum} where name = ${literal(migration.name)}`;
}

/**
 * Writes a stamp. A fingerprint is followed by where it was written: comments can be looked through for that without opening pg_class,
 * in which each tenant has a page of its own. A copy of a schema, a restored or a renamed one carries another's place, and is looked at closer.
 * @param oid the schema's, where it is known: without it the server has to look it up.
 */
export function stampText(schema: string, stamp: string, oid?: string | null): string {
  const comment = `comment on table ${qualified(schema, ledgerTable)} is `;
  if (runningOf(stamp) !== undefined) return comment + literal(stamp);
  if (oid) return comment + literal(`${stamp} in ${oid} ${schema}`);
  const placed = `(select ${placedText(literal(stamp))} from pg_catalog.pg_namespace n where n.nspname = ${literal(schema)})`;
  return `do ${literal(`begin execute ${literal(comment)} || pg_catalog.quote_literal(${placed}); end`)}`;
}

// The same, as SQL; `n` is the schema's row of pg_namespace.
const placedText = (stamp: string) => `${stamp} || ' in ' || n.oid || ' ' || n.nspname`;

/** The stamp in a ledger's comment, without its place. */
export function stampIn(comment: string | null): string | null {
  return /^(tenantctl: \d.*?) in \d/.exec(comment ?? "")?.[1] ?? comment;
}

// The same, as SQL.
const stampInText = (comment: string) =>
  `case when ${comment} ~ '^tenantctl: [0-9]' then split_part(${comment}, ' in ', 1) else ${comment} end`;

/** Selects a ledger's rows, in the order of their names. */
export function selectRowsText(schema: string): string {
  return `select name, checksum, run_id as "runId" from ${qualified(schema, ledgerTable)} order by name collate "C"`;
}

/** Finds a ledger whose first rows were written a moment ago. */
export const isNewText = (schema: string): string =>
  `select from ${qualified(schema, ledgerTable)} having min(applied_at) > now() - interval '30 s'`;

/** What the catalog alone tells of a schema. */
export interface SchemaFacts {
  schema: string;
  exists: boolean;
  /** The comment on its ledger; null where there is a ledger without one, undefined where there is no ledger. */
  stamp: string | null | undefined;
  /**
   * Whether the app's role can use it now and what is created later; true where there is no app role. Where tenants have roles: whether
   * this one's can, whether it can be taken on by those who may, and whether PUBLIC and the app's role have no rights besides.
   */
  granted: boolean;
}

// From here on it is cheaper to look through all comments than to look each ledger up.
const manySchemas = 500;

/**
 * Reads what the catalog tells of these schemas, without opening any of their tables.
 * Where a role is named, it also looks whether that role may use the schema, and what will be created in it.
 * Where a stamp is given, schemas that have it and lack nothing are left out: of a large fleet that is current, nothing travels back.
 */
export async function readFacts(
  client: Client,
  schemas: readonly string[],
  options: FactsOptions = {},
): Promise<Map<string, SchemaFacts>> {
  const all = options.settled === undefined || schemas.length < manySchemas;
  const closer = all ? schemas : await unsettledOf(client, schemas, options);
  if (closer.length === 0) return new Map();
  const { from, joins, granted, values } = rightsLookup(closer, options);
  const { rows } = await client.query<SchemaFacts & { ledger: boolean; stamp: string | null }>({
    text: `select * from (
      select w.schema, n.oid is not null as "exists", c.oid is not null as ledger, ${stampInText("s.description")} as stamp, ${granted} as granted
      ${from}
      left join pg_class c on c.relnamespace = n.oid and c.relname = '${ledgerTable}' and c.relkind in ('r', 'p')
      left join pg_description s on s.objoid = c.oid and s.classoid = 'pg_class'::regclass and s.objsubid = 0
      ${joins}
    ) facts where $2::text is null or stamp is distinct from $2 or not granted`,
    values: [closer, options.settled ?? null, ...values],
  });
  return new Map(
    rows.map(({ ledger, ...facts }) => [facts.schema, { ...facts, stamp: ledger ? facts.stamp : undefined }]),
  );
}

// Of these schemas, those where no comment says that the stamp is settled, or that lack rights. A comment goes with its ledger, and what it
// says of its place can't be another schema's: an oid is this one's alone, and with the name not that of a database this was copied from.
async function unsettledOf(client: Client, schemas: readonly string[], options: FactsOptions): Promise<string[]> {
  const { from, joins, granted, values } = rightsLookup(schemas, options);
  // As an expression it is a hash table whatever the server thinks of its size; as a join it could become a loop in a loop.
  const settled = `(${placedText("$2::text")}) collate "C" in (
        select d.description collate "C" from pg_description d
        where d.classoid = 'pg_class'::regclass and d.objsubid = 0 and d.description like 'tenantctl: %')`;
  const { rows } = await client.query<{ schema: string }>({
    text: `select w.schema ${from} ${joins} where coalesce(${settled}, false) is not true or not ${granted}`,
    values: [schemas, options.settled, ...values],
  });
  return rows.map((row) => row.schema);
}

interface FactsOptions {
  appRole?: string | undefined;
  isolation?: Isolation | undefined;
  settled?: string | undefined;
  /** Rights on what is to come are looked for where the owner of the ledger creates it, who migrates the schema, and not where we would. */
  byOwner?: boolean | undefined;
}

// How many kinds of objects to come a role is given, by schema.
const defaultsText = (maker: string) => `left join (
        select a.defaclnamespace, x.grantee, count(distinct a.defaclobjtype) as kinds
        from pg_default_acl a join ${maker}, aclexplode(a.defaclacl) x
        where a.defaclobjtype in ('r', 'S', 'f') group by 1, 2
      ) d on d.defaclnamespace = n.oid and d.grantee = r.oid`;
const ours = "pg_roles o on o.oid = a.defaclrole and o.rolname = current_user";
const ledgerOf = (nsp: string) =>
  `l.relnamespace = ${nsp} and l.relname = '${ledgerTable}' and l.relkind in ('r', 'p')`;
const owners = `pg_class l on ${ledgerOf("a.defaclnamespace")} and l.relowner = a.defaclrole`;

// What is granted is looked at only where there is a role, since it costs a call for each schema. $1 are the schemas, $2 is the caller's.
function rightsLookup(schemas: readonly string[], { appRole, isolation, byOwner }: FactsOptions) {
  const from = (roles: string) =>
    `from unnest($1::text[]${roles}) left join pg_namespace n on n.nspname = w.schema::name`;
  const defaults = byOwner
    ? `left join pg_class l on ${ledgerOf("n.oid")} ${defaultsText(owners)}`
    : defaultsText(ours);
  const granted = "has_schema_privilege(r.oid, n.oid, 'usage') and coalesce(d.kinds, 0) = 3";
  // Default privileges for oneself are stored nowhere.
  const usable = byOwner ? `(r.oid = l.relowner or ${granted})` : granted;
  if (isolation !== undefined) {
    const { database, members, membershipOptions } = isolation;
    const may = membershipOptions ? "and m.set_option and not m.inherit_option" : "";
    return {
      from: from(", $3::text[]) w(schema, role"),
      granted: `coalesce(n.oid is null or (${usable} and coalesce(m.members, 0) = cardinality($4::text[]) and g.member is not null and not exists (
        select from aclexplode(n.nspacl) x where x.grantee = 0 or x.grantee = (select oid from pg_roles where rolname = $6)) and not ${hasFormerRoleText("r.oid")}), false)`,
      joins: `left join pg_roles r on r.rolname = w.role ${defaults}
      left join (
        select m.roleid, count(distinct m.member) as members from pg_auth_members m join pg_roles u on u.oid = m.member
        where u.rolname = any($4) ${may} group by 1
      ) m on m.roleid = r.oid
      left join (
        select distinct m.member from pg_auth_members m join pg_roles u on u.oid = m.roleid where u.rolname = $5
      ) g on g.member = r.oid`,
      values: [
        schemas.map((schema) => tenantRole(database, schema)),
        members,
        sharedRole(database),
        isolation.keepRights ? null : (isolation.appRole ?? null),
      ],
    };
  }
  const schemasAlone = from(") w(schema");
  if (appRole === undefined) return { from: schemasAlone, granted: "true", joins: "", values: [] };
  return {
    from: schemasAlone,
    granted: `coalesce(n.oid is null or (${usable}), false)`,
    joins: `left join pg_roles r on r.rolname = $3 ${defaults}`,
    values: [appRole],
  };
}

/**
 * Whether a row `n` of pg_namespace holds anything at all: whatever is in a schema depends on it, and only for that is there an index.
 * Default privileges do so too, in another way.
 */
export const hasObjectsText = `exists (select from pg_depend
       where refclassid = 'pg_namespace'::regclass and refobjid = n.oid and deptype = 'n')`;

/** Of these schemas, those that hold anything at all. */
export async function schemasWithObjects(client: Client, schemas: readonly string[]): Promise<Set<string>> {
  const { rows } = await client.query<{ schema: string }>(
    `select n.nspname as schema from pg_namespace n where n.nspname = any($1) and ${hasObjectsText}`,
    [schemas],
  );
  return new Set(rows.map((row) => row.schema));
}

// One statement over thousands of tables would take the server's whole lock table.
const ledgersPerBatch = 50;

/** A ledger's rows, in the order of their names, or why they can't be read. */
export type Ledger = LedgerRow[] | MigrationFailure;

/**
 * Reads the ledgers of schemas that are known to have one, in bounded batches, each in a transaction of its own. One that can't be read
 * spoils no other.
 */
export async function readLedgers(database: Database, schemas: readonly string[]): Promise<Map<string, Ledger>> {
  const ledgers: [string, Ledger][] = [];
  for (let at = 0; at < schemas.length; at += ledgersPerBatch)
    ledgers.push(...(await readBatch(database, schemas.slice(at, at + ledgersPerBatch), 10_000)));
  return new Map(ledgers);
}

// The server does not say which it could not read: halves do. A lock that was waited for is not waited for as long again.
async function readBatch(
  database: Database,
  schemas: readonly string[],
  lockTimeoutMs: number,
): Promise<[string, Ledger][]> {
  const text = schemas.map(
    (schema) =>
      `select ${literal(schema)}::text as schema, name, checksum, run_id as "runId" from ${qualified(schema, ledgerTable)}`,
  );
  const read = async (client: Client) => {
    try {
      return { rows: (await client.query<LedgerRow & { schema: string }>(text.join(" union all "))).rows };
    } catch (error) {
      if (sqlState(error) === undefined || isConnectionLost(error)) throw error;
      return { rows: [], failure: ledgerFailure(error) };
    }
  };
  const { rows, failure } = await withTransaction(database, read, { lockTimeoutMs });
  if (failure !== undefined && schemas.length > 1) {
    const half = schemas.length >> 1;
    const first = await readBatch(database, schemas.slice(0, half), 1_000);
    return [...first, ...(await readBatch(database, schemas.slice(half), 1_000))];
  }
  const ledgers = new Map<string, LedgerRow[]>(schemas.map((schema) => [schema, []]));
  for (const { schema, ...row } of rows) ledgers.get(schema)?.push(row);
  for (const found of ledgers.values()) found.sort((a, b) => byCodeUnits(a.name, b.name));
  return failure === undefined ? [...ledgers] : schemas.map((schema) => [schema, failure]);
}
