// The fleet room: what runs out one day, and is told by doctor before it does: numbers, columns, locks, transaction ids.

import type { Client, Database } from "../database/database.js";
import { readCatalog, withTransaction } from "../database/transaction.js";
import type { Examined, Noted } from "./doctor-findings.js";
import { lockTableConcern } from "./preflight.js";

/** From this part on it is told, and from that part on it is an error. */
const near = 0.8;
const nearer = 0.95;

/** Looks at what has a limit: in the server, and in these schemas. */
export async function examineLimits(database: Database, examined: Examined, concurrency: number): Promise<Noted[]> {
  const schemas = examined.tenants.map(({ schema }) => schema);
  const findings = await readCatalog(database, async (client) => [
    ...(await transactionAges(client, database)),
    ...(await columns(client, examined, schemas)),
  ]);
  const concern = await lockTableConcern(database, concurrency);
  if (concern) findings.push({ severity: "warning", check: "limit", where: database.display, ...concern });
  return [...findings, ...(await sequences(database, examined, schemas))];
}

/** What there is of transaction ids, less what the server keeps to itself at the end. */
const ids = 2 ** 31 - 3_000_000;
/** The age at which VACUUM leaves all else aside, unless told otherwise. */
const failsafe = 1_600_000_000;

/**
 * What to say of the age of a database's oldest transaction, or multixact, where autovacuum begins to freeze at the age of `begins`. A little above that is
 * nothing: with many tables it takes its time.
 */
export function ageFinding(what: string, age: number, begins: number, where: string): Noted | undefined {
  const late = Math.min(2 * begins, (begins + ids) / 2);
  if (age < late) return undefined;
  const millions = (count: number) => Math.floor(count / 1_000_000);
  return {
    severity: age >= Math.max(late, failsafe) ? "error" : "warning",
    check: "limit",
    where,
    message: `the oldest ${what} is ${millions(age)} million old: autovacuum should freeze from ${millions(begins)} million on and does not keep up; at ${millions(ids)} million the server refuses to write`,
    hint: "end old transactions, prepared ones, and replication slots that nobody reads; then: vacuumdb --freeze, by tables, oldest first",
  };
}

async function transactionAges(client: Client, { display }: Database): Promise<Noted[]> {
  const { rows } = await client.query<{ xids: number; multis: number; xidsBegin: number; multisBegin: number }>(
    `select age(datfrozenxid) as xids, mxid_age(datminmxid) as multis, current_setting('autovacuum_freeze_max_age')::int as "xidsBegin",
       current_setting('autovacuum_multixact_freeze_max_age')::int as "multisBegin"
     from pg_database where datname = current_database()`,
  );
  return rows
    .flatMap(({ xids, multis, xidsBegin, multisBegin }) => [
      ageFinding("transaction", xids, xidsBegin, display),
      ageFinding("multixact", multis, multisBegin, display),
    ])
    .filter((finding) => finding !== undefined);
}

const mostColumns = 1600;

// A column that was dropped counts for ever.
async function columns(client: Client, examined: Examined, schemas: readonly string[]): Promise<Noted[]> {
  const { rows } = await client.query<{ schema: string; name: string; columns: number }>(
    `select n.nspname::text as schema, c.relname::text as name, c.relnatts::int as columns from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relnatts >= $2 and c.relkind in ('r', 'p', 'f') and n.nspname = any($1::text[]::name[]) order by 1, 2`,
    [schemas, near * mostColumns],
  );
  return rows.map(({ schema, name, columns }) => ({
    severity: columns >= nearer * mostColumns ? "error" : "warning",
    check: "limit",
    where: examined.nameOf(schema),
    message: `the table ${name} has used ${columns} of the ${mostColumns} columns that there may be, dropped ones too`,
    hint: "drop no more columns there than you must; a new table with the columns that are left, and the rows copied, begins anew",
  }));
}

interface Sequence {
  oid: string;
  schema: string;
  name: string;
  /** The last number that the sequence, or the column that it fills, can hold. */
  last: number;
  column: string | null;
  type: string | null;
}

// Each sequence that is read is opened and locked until its statement ends: not all of them at once.
const sequencesPerBatch = 100;

async function sequences(database: Database, examined: Examined, schemas: readonly string[]): Promise<Noted[]> {
  const small = await readCatalog(database, (client) => smallSequences(client, schemas));
  const findings: Noted[] = [];
  for (let at = 0; at < small.length; at += sequencesPerBatch) {
    const batch = small.slice(at, at + sequencesPerBatch);
    // In a transaction of ours, which does not wait for ever for whoever has locked one.
    const { rows } = await withTransaction(database, (client) =>
      client.query<{ at: number; value: string }>(
        `select * from (
           select s.at::int, s.enough, pg_sequence_last_value(s.oid::regclass) as value from unnest($1::oid[], $2::bigint[]) with ordinality s(oid, enough, at)
           where has_sequence_privilege(s.oid, 'select, usage') offset 0
         ) used where value >= enough order by at`,
        [batch.map(({ oid }) => oid), batch.map(({ last }) => Math.floor(near * last))],
      ),
    );
    for (const row of rows) {
      const sequence = batch[row.at - 1];
      if (sequence) findings.push(sequenceFinding(sequence, Number(row.value), examined.nameOf(sequence.schema)));
    }
  }
  return findings;
}

// Those that count up to no more than an integer, by their own type or by that of the column. No bigint runs out.
async function smallSequences(client: Client, schemas: readonly string[]): Promise<Sequence[]> {
  const { rows } = await client.query<Sequence>(
    `with own as (
       select s.seqrelid as oid, n.nspname as schema, c.relname as name, s.seqmax
       from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = any($1::text[]::name[]) and s.seqincrement > 0 and not s.seqcycle
     ), fills as (
       select d.objid as oid, d.refobjid as relation, d.refobjsubid as attribute from pg_depend d
         where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
       union select d.refobjid, a.adrelid, a.adnum from pg_depend d join pg_attrdef a on a.oid = d.objid
         where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
     ), "column" as (
       select f.oid, c.relname || '.' || a.attname as name, coalesce(nullif(y.typbasetype, 0), y.oid) as type
       from fills f join pg_attribute a on a.attrelid = f.relation and a.attnum = f.attribute join pg_class c on c.oid = f.relation join pg_type y on y.oid = a.atttypid
     )
     select distinct on (1) o.oid::text, o.schema::text, o.name::text, least(o.seqmax, l.last)::float8 as last,
       c.name as column, case c.type when 'int2'::regtype then 'smallint' when 'int4'::regtype then 'integer' end as type
     from own o left join "column" c on c.oid = o.oid
       cross join lateral (select case c.type when 'int2'::regtype then 32767 when 'int4'::regtype then 2147483647 else 9223372036854775807 end as last) l
     where least(o.seqmax, l.last) <= 2147483647 order by 1, 4`,
    [schemas],
  );
  return rows;
}

function sequenceFinding({ name, column, type, last }: Sequence, value: number, where: string): Noted {
  const used = value / last;
  const what = column === null ? `the sequence ${name}` : `${column} (sequence ${name})`;
  const ofWhat = `${last} numbers that ${column !== null && type !== null ? `${type === "integer" ? "an" : "a"} ${type} holds` : "it may give"}`;
  const part = used >= nearer ? nearer : near;
  return {
    severity: used >= nearer ? "error" : "warning",
    check: "limit",
    where,
    message: `${what} has used ${Math.floor(used * 1000) / 10} % of the ${ofWhat}: after the last one every insert fails`,
    hint: "a migration that makes column and sequence bigint: it rewrites the table, unless a new column is filled in batches first",
    alike: { message: `${what} has used over ${part * 100} % of the ${ofWhat}: after the last one every insert fails` },
  };
}
