// The fleet room: what the catalog says of tenants' roles: who has rights where, asked of all at once and not of each pair.

import type { Client } from "../database/database.js";
import { ledgerTable } from "../migrations/ledger.js";
import { waysOut } from "./ways-out.js";

/** A right that should not be there, or one that should and is not. */
export interface Right {
  /** Who has it, or lacks it: a role, or PUBLIC. */
  role: string;
  object: string;
  privilege: string;
  /** How it came about: `grant`, `grant to PUBLIC`, `ownership`, `membership`, `attribute`, `default privilege`, … */
  how: string;
  /** What mends it: mostly a statement, of which what is not tenantctl's own has to be sent by whoever granted it. */
  hint: string;
}

/** Whose rights are looked at, and in what. */
export interface Watched {
  schemas: readonly string[];
  /** The tenants' roles, as the schemas are ordered. */
  roles: readonly string[];
  /** What the tenants' login roles would be called, in the same order. */
  logins: readonly string[];
  sharedRole: string;
  appRole: string | undefined;
  sharedSchemas: readonly string[];
}

// `suspect`: who must not have rights in a schema that is not their own. `object`: all that there is in the tenants' schemas, and in ours.
// `above`: who the application's role may become besides tenants' roles.
const base = `with recursive t as (
    select w.schema, w.role, w.login, n.oid as nsp, n.nspowner as owner, r.oid as rol
    from unnest($1::text[], $2::text[], $6::text[]) w(schema, role, login) left join pg_namespace n on n.nspname = w.schema left join pg_roles r on r.rolname = w.role
  ), suspect as (
    select rol as oid, role as name, quote_ident(role) as quoted, nsp, 'tenant' as kind from t where rol is not null
    union all select r.oid, r.rolname, quote_ident(r.rolname), t.nsp, 'login' from t join pg_roles r on r.rolname = t.login
    union all select oid, rolname, quote_ident(rolname), null, 'shared' from pg_roles where rolname = $3
    union all select oid, rolname, quote_ident(rolname), null, 'app' from pg_roles where rolname = $4
    union all select 0, 'PUBLIC', 'public', null, 'public'
  ), closed as (
    select nsp from t where nsp is not null union select oid from pg_namespace where nspname = 'tenantctl'
  ), open as (
    select n.oid as nsp from pg_namespace n where n.nspname = any($5::text[] || array['public'])
    union select n.oid from pg_namespace n, aclexplode(n.nspacl) x
      where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.oid not in (select nsp from closed)
        and x.grantee in (select oid from suspect where kind <> 'app')
    except select nsp from closed
  ), above as (
    select m.roleid as oid from pg_auth_members m join suspect s on s.oid = m.member where s.kind = 'app' and m.roleid not in (select oid from suspect)
    union select m.roleid from above a join pg_auth_members m on m.member = a.oid where m.roleid not in (select oid from suspect)
  ), object as (
    select n.oid, n.oid as nsp, 'schema' as kind, quote_ident(n.nspname) as name, '' as bare, null::name as attribute, n.nspowner as owner, coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
      from pg_namespace n where n.oid in (select nsp from closed union all select nsp from open)
    union all select c.oid, c.relnamespace, case c.relkind when 'S' then 'sequence' else 'table' end, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
      c.relname, null, c.relowner, c.relacl
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.oid in (select nsp from closed union all select nsp from open)
    union all select c.oid, c.relnamespace, 'column', quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.' || quote_ident(a.attname), c.relname, a.attname, null, a.attacl
      from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
      where a.attacl is not null and n.oid in (select nsp from closed union all select nsp from open)
    union all select p.oid, p.pronamespace, 'routine', quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '()', p.proname, null, p.proowner, p.proacl
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.oid in (select nsp from closed union all select nsp from open)
  )`;

const granted = "case when s.kind = 'public' then 'grant to PUBLIC' else 'grant' end";

const revoked = `case o.kind
    when 'routine' then format('revoke execute on routine %s from %s', o.oid::regprocedure, s.quoted)
    when 'column' then format('revoke %s (%I) on %s from %s', lower(x.privilege_type), o.attribute, o.oid::regclass, s.quoted)
    else format('revoke %s on %s %s from %s', lower(x.privilege_type), o.kind, o.name, s.quoted) end`;

// EXECUTE for PUBLIC is every function's default, and of no use without USAGE on its schema.
const inClosed = `select s.name as role, o.name as object, x.privilege_type as privilege, ${granted} as how, ${revoked} as hint
  from object o join closed c using (nsp), aclexplode(o.acl) x join suspect s on s.oid = x.grantee
  where not (o.kind = 'routine' and s.kind = 'public') and (
    s.nsp is distinct from o.nsp or o.bare = '${ledgerTable}' and o.kind <> 'routine' or o.kind = 'schema' and x.privilege_type = 'CREATE')
    and s.oid is distinct from o.owner`;

const inOpen = `select s.name as role, o.name as object, x.privilege_type as privilege, ${granted} as how, ${revoked} as hint
  from object o join open c using (nsp), aclexplode(o.acl) x join suspect s on s.oid = x.grantee
  where s.kind <> 'app' and o.kind <> 'routine' and (o.kind = 'schema' and x.privilege_type = 'CREATE'
    or o.kind <> 'schema' and (x.privilege_type <> 'SELECT' or o.bare = '${ledgerTable}')) and s.oid is distinct from o.owner
  union all select s.name, 'database ' || quote_ident(d.datname), 'CREATE', ${granted}, format('revoke create on database %I from %s', d.datname, s.quoted)
  from pg_database d, aclexplode(d.datacl) x join suspect s on s.oid = x.grantee
  where d.datname = current_database() and x.privilege_type = 'CREATE' and s.kind <> 'app'`;

const owned = `select s.name as role, o.name as object, 'ALL' as privilege, 'ownership' as how,
    case when s.kind <> 'app' then format('reassign owned by %s to %I', s.quoted, current_user)
      else format('alter %s %s owner to %I', o.kind, case o.kind when 'routine' then o.oid::regprocedure::text else o.name end, current_user) end as hint
  from object o join suspect s on s.oid = o.owner where (s.kind <> 'app' or o.nsp in (select nsp from closed)) and not (o.kind = 'sequence' and exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = o.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')))`;

const attributes = `select s.name as role, 'cluster' as object, a.name as privilege, 'attribute' as how, format('alter role %s no%s', s.quoted, lower(a.name)) as hint
  from pg_roles r join suspect s on s.oid = r.oid,
  lateral (values ('SUPERUSER', r.rolsuper), ('BYPASSRLS', r.rolbypassrls), ('CREATEROLE', r.rolcreaterole), ('REPLICATION', r.rolreplication)) a(name, has)
  where a.has`;

// A tenant's role is a member of what is shared, and of nothing else. The application's may become tenants' roles, and nobody who is more.
function memberships(version: number): string {
  const options = version >= 160_000;
  const by = options ? "format(' granted by %s', m.grantor::regrole)" : "''";
  const inherits = options
    ? `format('grant %s to %s with inherit false', u.quoted, s.quoted) || ${by}`
    : "format('alter role %s noinherit', s.quoted)";
  return `select s.name as role, 'role ' || quote_ident(u.rolname) as object, 'MEMBER' as privilege, 'membership' as how,
    format('revoke %I from %s', u.rolname, s.quoted) || ${by} as hint
  from pg_auth_members m join suspect s on s.oid = m.member join pg_roles u on u.oid = m.roleid
    left join t on t.nsp = s.nsp
  where s.kind = 'shared' or s.kind = 'tenant' and u.rolname <> $3 or s.kind = 'login' and u.oid is distinct from t.rol
  union all select s.name, 'role ' || u.quoted, 'INHERIT', 'membership', ${inherits}
  from pg_auth_members m join suspect s on s.oid = m.member join pg_roles r on r.oid = m.member join suspect u on u.oid = m.roleid
  where s.kind = 'app' and u.kind <> 'app' and ${options ? "m.inherit_option" : "r.rolinherit"}
  union all select s.name, 'role ' || quote_ident(u.rolname), 'MEMBER', 'membership', coalesce(
    (select format('revoke %I from %s', u.rolname, s.quoted) || ${by} from pg_auth_members m where m.member = s.oid and m.roleid = u.oid limit 1),
    'revoke the role between them: what it is a member of, is a member of it')
  from suspect s join pg_roles r on r.oid = s.oid, pg_roles u
  where s.kind = 'app' and not r.rolsuper and u.oid <> s.oid and (u.rolsuper or u.rolbypassrls or u.oid in (select owner from object where nsp in (select nsp from closed))
    or u.rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', 'pg_create_subscription'))
    and u.oid in (select oid from above)`;
}

const defaults = `select s.name as role, coalesce('schema ' || quote_ident(n.nspname), 'all schemas') as object, x.privilege_type as privilege, 'default privilege' as how,
    format('alter default privileges for role %s%s revoke %s on %s from %s', a.defaclrole::regrole, ' in schema ' || quote_ident(n.nspname), lower(x.privilege_type),
      case a.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'n' then 'schemas' when 'L' then 'large objects' else 'routines' end, s.quoted) as hint
  from pg_default_acl a left join pg_namespace n on n.oid = a.defaclnamespace, aclexplode(a.defaclacl) x join suspect s on s.oid = x.grantee
  where a.defaclobjtype in ('r', 'S', 'n', 'f', 'L') and not (a.defaclobjtype = 'f' and s.kind = 'public') and s.oid <> a.defaclrole
    and (n.oid is null or n.oid in (select nsp from closed) and s.nsp is distinct from n.oid
      or n.oid in (select nsp from open) and s.kind <> 'app' and a.defaclobjtype <> 'f' and x.privilege_type <> 'SELECT')`;

// Who may call what is in a tenant's schema, or in one that all may use: a tenant's role, by itself or as everybody does.
const callable = `t.nsp is not null and (s.kind in ('public', 'shared') or s.nsp = t.nsp) or t.nsp is null and s.kind in ('public', 'shared', 'tenant')`;

// Who may call what: apart, since the server would else go through all suspects for each routine.
const callers = (
  which: string,
) => `(select p.oid, p.pronamespace, p.proowner, quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '()' as name, x.grantee
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
    where p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) and ${which} and n.oid in (select nsp from closed union all select nsp from open)
    offset 0) p join suspect s on s.oid = p.grantee left join t on t.nsp = p.pronamespace`;

// It does what its owner may do, for whoever may call it.
const definers = `select distinct coalesce(t.role, s.name) as role, p.name as object, 'EXECUTE' as privilege, 'SECURITY DEFINER' as how,
    format('alter routine %s security invoker', p.oid::regprocedure) as hint
  from ${callers("p.prosecdef")} join pg_roles r on r.oid = p.proowner
    left join (select owner, min(nsp) as first, max(nsp) as last from object where nsp in (select nsp from closed) group by 1) q on q.owner = p.proowner
  where (t.nsp is not null or p.pronamespace in (select nsp from open)) and (${callable})
    and (r.rolsuper or r.rolbypassrls or q.first <> p.pronamespace or q.last <> p.pronamespace)`;

// Of such a language only a superuser makes functions: they are bound by no rights, or do what the server's own user may. Those of
// extensions are their makers' to answer for.
const untrusted = `select distinct coalesce(t.role, s.name) as role, p.name as object, 'EXECUTE' as privilege, 'untrusted language' as how,
    format('revoke execute on routine %s from %s', p.oid::regprocedure, s.quoted) as hint
  from ${callers("not l.lanpltrusted")}
  where (t.nsp is not null or p.pronamespace in (select nsp from open)) and (${callable})
    and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')`;

// A view reads with its owner's rights, a materialized one has read already, a rule does what it says, and a table's children are read with it.
function crossing(version: number): string {
  const invoker =
    version >= 150_000 ? "format('alter view %s set (security_invoker = true)', v.oid::regclass)" : "null";
  return `select distinct coalesce(t.role, 'whoever may read it') as role, quote_ident(vn.nspname) || '.' || quote_ident(v.relname) as object,
    case when v.relkind in ('v', 'm') then 'SELECT on ' else 'ALL on ' end || quote_ident(cn.nspname) || '.' || quote_ident(c.relname) as privilege,
    case when v.relkind in ('v', 'm') then 'view' else 'rule' end as how, case v.relkind
      when 'm' then format('drop materialized view %s', v.oid::regclass)
      when 'v' then coalesce(${invoker}, format('drop view %s', v.oid::regclass))
      else format('drop rule %I on %s', w.rulename, v.oid::regclass) end as hint
  from pg_class v join pg_rewrite w on w.ev_class = v.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass
    join pg_class c on c.oid = d.refobjid and c.relnamespace <> v.relnamespace join closed k on k.nsp = c.relnamespace
    join pg_namespace vn on vn.oid = v.relnamespace join pg_namespace cn on cn.oid = c.relnamespace left join t on t.nsp = v.relnamespace
  where v.relkind in ('v', 'm', 'r', 'p') and not (v.relkind = 'v' and coalesce(v.reloptions::text ~ 'security_invoker=(true|on|1|yes)', false)) and (t.nsp is not null
    or v.relnamespace in (select nsp from open) and exists (select from aclexplode(v.relacl) x join suspect s on s.oid = x.grantee and s.kind <> 'app'))
  union all select coalesce(t.role, 'whoever may read it'), quote_ident(pn.nspname) || '.' || quote_ident(p.relname),
    'SELECT on ' || quote_ident(cn.nspname) || '.' || quote_ident(c.relname), 'inheritance', case
      when c.relispartition then format('alter table %s detach partition %s', p.oid::regclass, c.oid::regclass)
      else format('alter table %s no inherit %s', c.oid::regclass, p.oid::regclass) end
  from pg_inherits i join pg_class p on p.oid = i.inhparent join pg_class c on c.oid = i.inhrelid and c.relnamespace <> p.relnamespace
    join closed k on k.nsp = c.relnamespace join pg_namespace pn on pn.oid = p.relnamespace join pg_namespace cn on cn.oid = c.relnamespace
    left join t on t.nsp = p.relnamespace
  where p.relkind in ('r', 'p', 'f') and (t.nsp is not null or p.relnamespace in (select nsp from open))`;
}

/** The rights that would let tenants' roles, or the application's without one, into what is not theirs. */
export async function findLeaks(client: Client, watched: Watched): Promise<Right[]> {
  const found: Right[] = [];
  const version = await versionOf(client);
  for (const text of [
    attributes,
    memberships(version),
    [owned, inClosed, inOpen].join(" union all "), // all that there is is gone through once
    defaults,
    definers,
    untrusted,
    crossing(version),
    ...waysOut(version),
  ]) {
    const { rows } = await client.query<Right>(`${base} ${text}`, valuesOf(watched));
    found.push(...rows);
  }
  return found;
}

async function versionOf(client: Client): Promise<number> {
  const { rows } = await client.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  return rows[0]?.version ?? 0;
}

/** The rights that tenants' roles lack in their own schemas. */
export async function findLacks(client: Client, watched: Watched): Promise<Right[]> {
  const { rows } = await client.query<Right>(
    `${base} select t.role, 'role' as object, 'EXISTS' as privilege, 'there is no such role' as how, 'tenantctl migrate' as hint from t where t.rol is null and t.nsp is not null
    union all select t.role, quote_ident(t.schema), 'USAGE', 'not granted', 'tenantctl isolate --again' from t
      where t.rol is not null and t.nsp is not null and not has_schema_privilege(t.rol, t.nsp, 'usage')
    union all select s.name, 'role ' || quote_ident(t.role), 'SET ROLE', 'not granted', 'tenantctl isolate --again' from t, suspect s
      where s.kind = 'app' and t.rol is not null and not pg_has_role(s.oid, t.rol, 'member')
    union all select t.role, quote_ident(t.schema) || '.' || quote_ident(c.relname), x.privilege, 'not granted', 'tenantctl isolate --again'
      from t join pg_class c on c.relnamespace = t.nsp and c.relname <> '${ledgerTable}' and c.relkind in ('r', 'p', 'v', 'm', 'f')
      cross join lateral unnest(case when c.relkind in ('r', 'p') then array['SELECT', 'INSERT', 'UPDATE', 'DELETE'] else array['SELECT'] end) x(privilege)
      where t.rol is not null and not has_table_privilege(t.rol, c.oid, x.privilege)`,
    valuesOf(watched),
  );
  return rows;
}

function valuesOf({ schemas, roles, logins, sharedRole, appRole, sharedSchemas }: Watched): unknown[] {
  return [schemas, roles, sharedRole, appRole ?? null, sharedSchemas, logins];
}
