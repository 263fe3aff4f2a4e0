// The fleet room: rights that roles have by themselves: grants, ownership, attributes, memberships, default privileges and settings.

import { ledgerTable } from "../migrations/ledger.js";
import { granted, ofExtension, predefined } from "./suspects.js";

const revoked = `case o.kind
    when 'routine' then format('revoke %s on routine %s from %s', x.given, o.oid::regprocedure, s.quoted)
    when 'column' then format('revoke %s (%I) on %s from %s', x.given, o.attribute, o.oid::regclass, s.quoted)
    else format('revoke %s on %s %s from %s', x.given, o.kind, o.name, s.quoted) end`;

// Each right of an object, with the words that take it away.
const rightsOn = (own: string) => `object o cross join lateral (
    select x.grantee, x.privilege_type, lower(x.privilege_type) as given, false as passing from aclexplode(o.acl) x
    union all select x.grantee, x.privilege_type || ' WITH GRANT OPTION', 'grant option for ' || lower(x.privilege_type), true from aclexplode(o.acl) x
      where ${own} and x.is_grantable
  ) x join suspect s on s.oid = x.grantee`;

// EXECUTE for PUBLIC is every function's default, and of no use without USAGE on its schema. With TRIGGER on a table of its own, a tenant runs
// what it likes with the rights of whoever writes there; what it may pass on, it may pass on to other tenants.
const inClosed = `select s.name as role, o.name as object, x.privilege_type as privilege, ${granted} as how, ${revoked} as hint
  from ${rightsOn("o.place = 'closed'")}
  where o.place = 'closed' and not (o.kind = 'routine' and s.kind = 'public') and s.oid is distinct from o.owner and case
    when s.nsp is distinct from o.nsp or o.bare = '${ledgerTable}' and o.kind <> 'routine' then not x.passing
    else x.passing or o.kind = 'schema' and x.privilege_type = 'CREATE' or o.kind = 'table' and x.privilege_type = 'TRIGGER' end`;

// What an extension gives to all with what it makes is the extension's own.
const byExtension = `exists (select from pg_init_privs i, aclexplode(i.initprivs) y where i.classoid = 'pg_class'::regclass and i.objoid = o.oid and i.objsubid = 0
    and y.grantee = x.grantee and y.privilege_type = x.privilege_type)`;

const holdsAnything = `(exists (select from pg_class c where c.relnamespace = o.nsp and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not ${ofExtension("pg_class", "c.oid")})
    or exists (select from pg_proc p where p.pronamespace = o.nsp and not ${ofExtension("pg_proc", "p.oid")}))`;

// Everybody reads what is shared. Other schemas are nobody's, but for what extensions make in them. Where all names are looked up the application
// may not create either: what it makes there would be found before, or in place of, what is meant.
const inOpen = `select s.name as role, o.name as object, x.privilege_type as privilege, ${granted} as how, ${revoked} as hint
  from ${rightsOn("false")}
  where o.place <> 'closed' and s.kind <> 'former' and o.kind <> 'routine' and s.oid is distinct from o.owner and case
    when s.kind = 'app' then o.kind = 'schema' and x.privilege_type = 'CREATE' and (o.nsp in (select nsp from shared) or o.name = 'public')
    when o.kind = 'schema' then x.privilege_type = 'CREATE' or o.name <> 'public' and o.nsp not in (select nsp from shared) and ${holdsAnything}
    when ${ofExtension("pg_class", "o.oid")} then x.privilege_type <> 'SELECT' and not ${byExtension}
    else x.privilege_type <> 'SELECT' or o.bare = '${ledgerTable}' or o.oid in (select oid from registry) or o.nsp not in (select nsp from shared) end
  union all select s.name, 'database ' || quote_ident(d.datname), 'CREATE', ${granted}, format('revoke create on database %I from %s', d.datname, s.quoted)
  from pg_database d, aclexplode(d.datacl) x join suspect s on s.oid = x.grantee
  where d.datname = current_database() and x.privilege_type = 'CREATE' and s.kind <> 'app' and s.oid <> d.datdba`;

const owned = `select s.name as role, o.name as object, 'ALL' as privilege, 'ownership' as how,
    case when s.kind <> 'app' then format('reassign owned by %s to %I', s.quoted, current_user)
      else format('alter %s %s owner to %I', o.kind, case o.kind when 'routine' then o.oid::regprocedure::text else o.name end, current_user) end as hint
  from object o join suspect s on s.oid = o.owner
  where (s.kind <> 'app' or o.place = 'closed' or o.kind = 'schema' and (o.nsp in (select nsp from shared) or o.name = 'public')) and not (o.kind = 'sequence' and exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = o.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')))`;

// What else there is to own: databases, servers, types, publications … A login's own temporary tables, large objects and mappings are its own.
const ownedElse = `select s.name, case when i.type in ('server', 'foreign-data wrapper') then 'foreign ' || replace(i.type, 'foreign-', '') else i.type end || ' ' || i.identity, 'ALL', 'ownership',
    case when s.kind <> 'app' then format('reassign owned by %s to %I', s.quoted, current_user)
      else format('alter %s %s owner to %I', replace(i.type, '-', ' '), i.identity, current_user) end
  from pg_shdepend d join suspect s on s.oid = d.refobjid and s.kind <> 'public', lateral pg_identify_object(d.classid, d.objid, d.objsubid) i
  where d.refclassid = 'pg_authid'::regclass and d.deptype = 'o' and d.dbid in (0, (select oid from pg_database where datname = current_database()))
    and d.classid not in ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass, 'pg_largeobject'::regclass, 'pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
    and (d.classid <> 'pg_database'::regclass or d.objid = (select oid from pg_database where datname = current_database()))
    and coalesce(i.schema, '') !~ '^pg_temp'
    and (s.kind <> 'app' or d.classid in ('pg_database'::regclass, 'pg_foreign_server'::regclass, 'pg_foreign_data_wrapper'::regclass)
      or i.schema in (select quote_ident(n.nspname) from pg_namespace n join closed c on c.nsp = n.oid))`;

// The application logs in, and may make databases of its own.
const attributes = `select s.name as role, 'cluster' as object, a.name as privilege, 'attribute' as how, format('alter role %s no%s', s.quoted, lower(a.name)) as hint
  from pg_roles r join suspect s on s.oid = r.oid,
  lateral (values ('SUPERUSER', r.rolsuper), ('BYPASSRLS', r.rolbypassrls), ('CREATEROLE', r.rolcreaterole), ('REPLICATION', r.rolreplication),
    ('CREATEDB', r.rolcreatedb and s.kind <> 'app'), ('LOGIN', r.rolcanlogin and s.kind in ('tenant', 'shared'))) a(name, has)
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
    or s.kind = 'former' and u.oid in (select rol from t)
  union all select s.name, 'role ' || u.quoted, 'INHERIT', 'membership', ${inherits}
  from pg_auth_members m join suspect s on s.oid = m.member join pg_roles r on r.oid = m.member join suspect u on u.oid = m.roleid
  where s.kind = 'app' and u.kind <> 'app' and ${options ? "m.inherit_option" : "r.rolinherit"}
  union all select s.name, 'role ' || quote_ident(u.rolname), 'ADMIN', 'membership', format('revoke admin option for %I from %s', u.rolname, s.quoted) || ${by}
  from pg_auth_members m join suspect s on s.oid = m.member join pg_roles u on u.oid = m.roleid
  where m.admin_option and (s.kind = 'app' or s.kind in ('tenant', 'login') and u.oid in (select oid from known where kind in ('tenant', 'shared')))
  union all select s.name, 'role ' || quote_ident(u.rolname), 'MEMBER', 'membership', coalesce(
    (select format('revoke %I from %s', u.rolname, s.quoted) || ${by} from pg_auth_members m where m.member = s.oid and m.roleid = u.oid limit 1),
    'revoke the role between them: what it is a member of, is a member of it')
  from suspect s join pg_roles r on r.oid = s.oid, pg_roles u
  where s.kind = 'app' and not r.rolsuper and u.oid <> s.oid and (u.rolsuper or u.rolbypassrls or ${predefined("u.rolname")}
      or u.oid in (select owner from object where place = 'closed') or u.oid = (select datdba from pg_database where datname = current_database()))
    and u.oid in (select oid from above)`;
}

const defaults = `select s.name as role, coalesce('schema ' || quote_ident(n.nspname), 'all schemas') as object, x.privilege_type as privilege, 'default privilege' as how,
    format('alter default privileges for role %s%s revoke %s on %s from %s', a.defaclrole::regrole, ' in schema ' || quote_ident(n.nspname), lower(x.privilege_type),
      case a.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'n' then 'schemas' when 'L' then 'large objects' else 'routines' end, s.quoted) as hint
  from pg_default_acl a left join pg_namespace n on n.oid = a.defaclnamespace, aclexplode(a.defaclacl) x join suspect s on s.oid = x.grantee
  where a.defaclobjtype in ('r', 'S', 'n', 'f', 'L') and not (a.defaclobjtype = 'f' and s.kind = 'public') and s.oid <> a.defaclrole
    and (n.oid is null or n.oid in (select nsp from closed) and (s.nsp is distinct from n.oid or x.privilege_type = 'TRIGGER')
      or n.oid in (select nsp from open union all select nsp from private) and s.kind not in ('app', 'former') and a.defaclobjtype <> 'f'
        and (x.privilege_type <> 'SELECT' or n.oid not in (select nsp from shared)))`;

// Settings with which a session begins: as another role, where another tenant's names are found, with code that is loaded, without guards.
const settings = `select coalesce(s.name, 'PUBLIC') as role, 'setting ' || c.name as object, c.value as privilege, case when g.setrole = 0 then 'database setting' else 'role setting' end as how,
    case when g.setrole = 0 and g.setdatabase = 0 then format('alter role all reset %s', c.name) when g.setrole = 0 then format('alter database %I reset %s', d.datname, c.name)
      else format('alter role %s%s reset %s', s.quoted, ' in database ' || quote_ident(d.datname), c.name) end as hint
  from pg_db_role_setting g left join suspect s on s.oid = g.setrole and s.oid <> 0 left join pg_database d on d.oid = g.setdatabase,
    unnest(g.setconfig) e(entry), lateral (select split_part(entry, '=', 1) as name, substr(entry, strpos(entry, '=') + 1) as value) c
  where (g.setrole = 0 or s.oid is not null) and (g.setdatabase = 0 or d.datname = current_database()) and case c.name
    when 'role' then c.value <> 'none'
    when 'session_replication_role' then c.value <> 'origin'
    when 'session_preload_libraries' then g.setrole <> 0 and c.value not in ('', '""')
    when 'local_preload_libraries' then g.setrole <> 0 and c.value not in ('', '""')
    when 'search_path' then exists (select from t, regexp_split_to_table(c.value, '\\s*,\\s*') p(name)
      where p.name in (t.schema, quote_ident(t.schema), '"' || replace(t.schema, '"', '""') || '"') and t.nsp is distinct from s.nsp)
    else false end`;

/** Each with what `baseOf` begins. */
export const rights = (version: number): string[] => [
  attributes,
  memberships(version),
  [owned, ownedElse, inClosed, inOpen].join(" union all "), // all that there is is gone through once
  defaults,
  settings,
];
