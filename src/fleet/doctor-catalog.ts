// The fleet room: what the catalog tells doctor of all tenants' schemas at once: one query for each kind of thing, and none for each tenant.

import type { Client, Database } from "../database/database.js";
import { identifier, qualified } from "../database/quote.js";
import { sharedRole } from "../database/roles.js";
import { readCatalog } from "../database/transaction.js";
import { ledgerTable } from "../migrations/ledger.js";
import { type Examined, few, type Noted } from "./doctor-findings.js";
import { functionPaths, openTriggers } from "./doctor-functions.js";
import { ofExtension } from "./suspects.js";

const inSchemas = `t as (
    select w.schema, n.oid as nsp, n.nspowner as owner, n.nspacl as acl from unnest($1::text[]) w(schema) join pg_namespace n on n.nspname = w.schema::name)`;

const kindOfRelation = `case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'f' then 'foreign table' else 'table' end`;

/** Extensions, functions, owners, PUBLIC and indexes, of all the schemas. */
export async function examineCatalog(database: Database, examined: Examined): Promise<Noted[]> {
  const { database: name, user } = database.capabilities;
  return await readCatalog(database, async (client) => [
    ...(await extensions(client, examined)),
    ...(await functionPaths(client, examined)),
    ...(await openTriggers(client, examined, name, database.display)),
    ...(await owners(client, examined, user)),
    ...(await publicRights(client, examined)),
    ...(await publicDefaults(client, examined, database.display)),
    ...(await openSchemas(client, examined)),
    ...(examined.isolated ? await closedSchemas(client, examined, sharedRole(name)) : []),
    ...(await invalidIndexes(client, examined)),
  ]);
}

function tenantSchemas({ tenants }: Examined): string[] {
  return tenants.map(({ schema }) => schema);
}

async function extensions(client: Client, examined: Examined): Promise<Noted[]> {
  const { rows } = await client.query<{ schema: string; name: string; moves: boolean }>(
    `with ${inSchemas} select t.schema, e.extname::text as name, e.extrelocatable as moves from pg_extension e join t on t.nsp = e.extnamespace order by 1, 2`,
    [tenantSchemas(examined)],
  );
  const [shared] = examined.sharedSchemas;
  const to = shared === undefined ? '<a schema of "sharedSchemas">' : identifier(shared);
  return rows.map(({ schema, name, moves }) => ({
    severity: "error",
    check: "extension",
    where: examined.nameOf(schema),
    message: `the extension ${name} lies in its schema: no other tenant finds it, and it goes when this one is dropped, with what others made of it`,
    hint: moves
      ? `alter extension ${identifier(name)} set schema ${to}`
      : `it can't be moved: drop it, and create it in ${to} by a shared migration`,
  }));
}

// Who migrated a schema owns its ledger, and should own all else: or the next migration is refused, and default privileges are another's.
async function owners(client: Client, examined: Examined, user: string): Promise<Noted[]> {
  const { rows } = await client.query<{ schema: string; owner: string; wanted: string; names: string[]; may: boolean }>(
    `with ${inSchemas}, wanted as (
       select t.*, coalesce(c.relowner, t.owner) as wanted
       from t left join pg_class c on c.relnamespace = t.nsp and c.relname = '${ledgerTable}' and c.relkind in ('r', 'p')
     ), object as (
       select w.*, w.owner as has, 'the schema itself' as name from wanted w
       union all select w.*, c.relowner, ${kindOfRelation} || ' ' || quote_ident(c.relname) from wanted w join pg_class c on c.relnamespace = w.nsp
         where c.relowner <> w.wanted and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not ${ofExtension("pg_class", "c.oid")}
           and not (c.relkind = 'S' and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
             and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')))
       union all select w.*, p.proowner,
           case p.prokind when 'p' then 'procedure ' when 'a' then 'routine ' else 'function ' end || quote_ident(p.proname) from wanted w join pg_proc p on p.pronamespace = w.nsp
         where p.proowner <> w.wanted and not ${ofExtension("pg_proc", "p.oid")}
       union all select w.*, y.typowner, 'type ' || quote_ident(y.typname) from wanted w join pg_type y on y.typnamespace = w.nsp
         where y.typowner <> w.wanted and (y.typtype in ('e', 'd', 'r') or y.typtype = 'c' and exists (
           select from pg_class c where c.oid = y.typrelid and c.relkind = 'c')) and not ${ofExtension("pg_type", "y.oid")}
     )
     select schema, pg_get_userbyid(has)::text as owner, pg_get_userbyid(wanted)::text as wanted, array_agg(distinct name order by name) as names,
       pg_has_role(has, 'usage') as may
     from object where has <> wanted group by schema, has, wanted
     union all select schema, pg_get_userbyid(wanted), pg_get_userbyid(wanted), array[]::text[], false from wanted where not pg_has_role(wanted, 'usage')
     order by 1, 2`,
    [tenantSchemas(examined)],
  );
  return rows.map(({ schema, owner, wanted, names, may }) => {
    const check = {
      severity: may ? ("warning" as const) : ("error" as const),
      check: "owner",
      where: examined.nameOf(schema),
    };
    if (names.length === 0) {
      return {
        ...check,
        message: `it belongs to the role ${owner}, whose rights ${user} doesn't have: migrate would be refused`,
        hint: `connect as ${owner}, or: grant ${identifier(owner)} to ${identifier(user)}`,
      };
    }
    return {
      ...check,
      message: `${few(names)}: owned by ${owner}, not by ${wanted}, who migrates it${may ? "" : "; migrations that change that are refused"}`,
      // Whoever owns a view or a SECURITY DEFINER function says what it may do: nothing to be changed unasked.
      hint: `look at what it is, then, in its schema: ${ownerHint(names, wanted)}`,
    };
  });
}

function ownerHint(names: readonly string[], wanted: string): string {
  const [first = ""] = names;
  const words = first === "the schema itself" ? "schema …" : first;
  return `alter ${words} owner to ${identifier(wanted)}${names.length === 1 ? "" : ", and so on"}`;
}

interface PublicRow {
  schema: string;
  objects: string[];
  /** Rights on what is there; else those that new tables and sequences would get, which this role gives. */
  by: string | null;
  kind: string | null;
  onSchema: boolean;
  may: boolean;
}

async function publicRights(client: Client, examined: Examined): Promise<Noted[]> {
  const { rows } = await client.query<PublicRow>(
    `with ${inSchemas}
     select schema, array_agg(name || ' (' || rights || ')' order by place, name) as objects, null as by, null as kind, bool_or(place = 1) as "onSchema", true as may from (
       select t.schema, 1 as place, 'the schema' as name, string_agg(x.privilege_type, ', ' order by x.privilege_type) as rights
         from t, aclexplode(t.acl) x where x.grantee = 0 group by t.schema
       union all select t.schema, 2, ${kindOfRelation} || ' ' || quote_ident(c.relname), string_agg(x.privilege_type, ', ' order by x.privilege_type)
         from t join pg_class c on c.relnamespace = t.nsp and c.relacl is not null, aclexplode(c.relacl) x
         where x.grantee = 0 and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not ${ofExtension("pg_class", "c.oid")} group by t.schema, c.relname, c.relkind
     ) granted group by schema
     union all select t.schema, array_agg(distinct x.privilege_type), pg_get_userbyid(a.defaclrole),
         case a.defaclobjtype when 'S' then 'sequences' else 'tables' end, false, pg_has_role(a.defaclrole, 'usage')
       from t join pg_default_acl a on a.defaclnamespace = t.nsp, aclexplode(a.defaclacl) x
       where x.grantee = 0 and a.defaclobjtype in ('r', 'S') group by t.schema, a.defaclrole, a.defaclobjtype
     order by 1, 3 nulls first, 4`,
    [tenantSchemas(examined)],
  );
  return rows.map((row) => publicFinding(row, examined));
}

function publicFinding({ schema, objects, by, kind, onSchema, may }: PublicRow, examined: Examined): Noted {
  const within = identifier(schema);
  const name = examined.nameOf(schema);
  const sql = (inSchema: string) =>
    by === null
      ? `revoke all on schema ${inSchema} from public; revoke all on all tables in schema ${inSchema} from public; revoke all on all sequences in schema ${inSchema} from public`
      : `alter default privileges for role ${identifier(by)} in schema ${inSchema} revoke all on ${kind} from public`;
  const finding: Noted = {
    // Where the search_path alone keeps tenants apart, it may be how the application has its rights.
    severity: examined.isolated ? "error" : "warning",
    check: "public",
    where: name,
    message:
      by === null
        ? `PUBLIC, which is every role, has rights in its schema: ${few(objects)}`
        : `PUBLIC, which is every role, would get rights on ${kind} that ${by} makes in its schema: ${objects.join(", ")}`,
    hint: `where nothing needs them ("appRole" gets its own): ${sql(within)}`,
    alike: { hint: `where nothing needs them ("appRole" gets its own): ${sql("…")}` },
  };
  if (!examined.isolated || !may) return finding;
  return {
    ...finding,
    hint: "tenantctl doctor --fix takes them away",
    alike: {},
    isOfRights: onSchema,
    mend: {
      what: "rights",
      tenant: { name, schema },
      texts: by === null ? [] : [sql(within)],
      done: by === null ? "PUBLIC has no rights in its schema any more" : `PUBLIC gets nothing of new ${kind} any more`,
    },
  };
}

// Default privileges that name no schema are those of all schemas, also of tenants to come.
async function publicDefaults(client: Client, examined: Examined, where: string): Promise<Noted[]> {
  const { rows } = await client.query<{ by: string; kind: string; rights: string }>(
    `with ${inSchemas}
     select pg_get_userbyid(a.defaclrole)::text as by, case a.defaclobjtype when 'S' then 'sequences' when 'n' then 'schemas' else 'tables' end as kind,
       string_agg(x.privilege_type, ', ' order by x.privilege_type) as rights
     from pg_default_acl a, aclexplode(a.defaclacl) x where a.defaclnamespace = 0 and x.grantee = 0 and a.defaclobjtype in ('r', 'S', 'n')
       and a.defaclrole in (select owner from t union select c.relowner from t join pg_class c on c.relnamespace = t.nsp and c.relname = '${ledgerTable}')
     group by a.defaclrole, a.defaclobjtype order by 1, 2`,
    [tenantSchemas(examined)],
  );
  return rows.map(({ by, kind, rights }) => ({
    severity: examined.isolated ? "error" : "warning",
    check: "public",
    where,
    message: `PUBLIC, which is every role, would get rights on ${kind} that ${by} makes, in any schema: ${rights}`,
    hint: `where nothing needs them: alter default privileges for role ${identifier(by)} revoke all on ${kind} from public`,
  }));
}

// Whoever may create in a schema of the search_path can put a function or table before, or in place of, the one that is meant.
async function openSchemas(client: Client, { sharedSchemas, isolated }: Examined): Promise<Noted[]> {
  const { rows } = await client.query<{ schema: string; may: boolean }>(
    `select n.nspname::text as schema, pg_has_role(n.nspowner, 'usage') as may from pg_namespace n
     where n.nspname = any($1::text[]) and exists (
       select from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x where x.grantee = 0 and x.privilege_type = 'CREATE') order by 1`,
    [isolated ? [...new Set([...sharedSchemas, "public"])] : sharedSchemas],
  );
  return rows.map(({ schema, may }) => {
    const sql = `revoke create on schema ${identifier(schema)} from public`;
    const mend: Pick<Noted, "mend"> =
      isolated && may
        ? { mend: { what: "share", tenant: { name: schema, schema }, done: "PUBLIC may no longer create in it" } }
        : {};
    return {
      severity: isolated ? "error" : "warning",
      check: "public",
      where: schema,
      message: "PUBLIC, which is every role, may create in this schema, where all tenants' names are looked up",
      hint: mend.mend ? "tenantctl doctor --fix takes it away" : `${may ? "" : "as its owner: "}${sql}`,
      ...mend,
    };
  });
}

// What all tenants read together they read by the role that they have in common.
async function closedSchemas(client: Client, { sharedSchemas }: Examined, role: string): Promise<Noted[]> {
  const { rows } = await client.query<{ schema: string }>(
    `select n.nspname::text as schema from pg_namespace n left join pg_roles r on r.rolname = $2
     where n.nspname = any($1::text[]) and has_schema_privilege(r.oid, n.oid, 'usage') is not true order by 1`,
    [sharedSchemas, role],
  );
  return rows.map(({ schema }) => ({
    severity: "warning",
    check: "role",
    where: schema,
    message: "the tenants' roles may not use this shared schema",
    hint: "tenantctl doctor --fix, or tenantctl migrate, puts it right",
    mend: { what: "share", tenant: { name: schema, schema }, done: "the tenants' roles may use it" },
  }));
}

// What is being built is not valid yet. Which index another role builds is hidden from us; which table it holds for that is not.
async function invalidIndexes(client: Client, examined: Examined): Promise<Noted[]> {
  const { rows } = await client.query<{
    schema: string;
    name: string;
    table: string;
    unique: boolean;
    parent: boolean;
  }>(
    `with ${inSchemas}
     select t.schema, ic.relname::text as name, tc.relname::text as table, i.indisunique as unique, ic.relkind = 'I' as parent
     from pg_index i join pg_class ic on ic.oid = i.indexrelid join pg_class tc on tc.oid = i.indrelid join t on t.nsp = ic.relnamespace
     where not (i.indisvalid and i.indisready and i.indislive)
       and not exists (select from pg_stat_progress_create_index b where b.index_relid = i.indexrelid or b.index_relid is null and exists (
         select from pg_locks l where l.pid = b.pid and l.relation = i.indrelid and l.mode = 'ShareUpdateExclusiveLock'))
     order by 1, 2`,
    [[...new Set([...tenantSchemas(examined), ...examined.sharedSchemas])]],
  );
  return rows.map(({ schema, name, table, unique, parent }): Noted => {
    const where = examined.nameOf(schema);
    const index = `the index ${name} of ${table} is invalid`;
    const finding = (severity: Noted["severity"], message: string, hint: (of: string) => string): Noted => ({
      severity,
      check: "index",
      where,
      message,
      hint: hint(qualified(schema, name)),
      alike: { hint: hint(`….${identifier(name)}`) },
    });
    // What a REINDEX CONCURRENTLY that failed left behind: the index itself is as it was.
    if (/_cc(new|old)\d*$/.test(name)) {
      const message = `${index}: an interrupted REINDEX CONCURRENTLY left it, and every write keeps it up`;
      return finding("warning", message, (of) => `drop index concurrently ${of}`);
    }
    const message = parent
      ? `${index}: some of its partitions have no such index`
      : `${index}: ${unique ? "it keeps nothing unique for sure" : "no query uses it"}, and every write keeps it up`;
    return finding("error", message, (of) =>
      parent
        ? `create the index on each partition, then: alter index ${of} attach partition …`
        : `reindex index concurrently ${of}, outside of a transaction; where a migration of transaction:false was interrupted: tenantctl migrate`,
    );
  });
}
