// The fleet room: what leads out of a tenant's schema without being a right in another one: to other servers, to files, to large objects.

import { granted } from "./suspects.js";

// Whoever may use a wrapper makes servers of his own, and a server is reached with the passwords that are kept for it.
const foreign = `select s.name as role, o.name as object, 'USAGE' as privilege, ${granted} as how, format('revoke usage on %s from %s', o.name, s.quoted) as hint
  from (select 'foreign server ' || quote_ident(srvname) as name, srvacl as acl, srvowner as owner from pg_foreign_server
    union all select 'foreign data wrapper ' || quote_ident(fdwname), fdwacl, fdwowner from pg_foreign_data_wrapper) o,
    aclexplode(o.acl) x join suspect s on s.oid = x.grantee
  where s.kind <> 'app' and s.oid <> o.owner`;

// They are in no schema. One that a single tenant may read may be its own.
const largeObjects = `select s.name as role, 'large object ' || l.oid as object, x.privilege_type as privilege, ${granted} as how,
    format('revoke %s on large object %s from %s', lower(x.privilege_type), l.oid, s.quoted) as hint
  from pg_largeobject_metadata l, aclexplode(l.lomacl) x join suspect s on s.oid = x.grantee
  where l.lomacl is not null and s.kind <> 'app' and s.oid <> l.lomowner and (s.kind in ('public', 'shared') or exists (
    select from aclexplode(l.lomacl) y join suspect z on z.oid = y.grantee where z.kind in ('tenant', 'login') and z.nsp is distinct from s.nsp))
  union all select coalesce(s.name, 'PUBLIC'), 'all large objects', 'ALL', 'lo_compat_privileges', case
      when s.oid is not null then format('alter role %s%s reset lo_compat_privileges', s.quoted, ' in database ' || quote_ident(d.datname))
      when d.oid is not null then format('alter database %I reset lo_compat_privileges', d.datname) else 'alter role all reset lo_compat_privileges' end
  from pg_db_role_setting g left join suspect s on s.oid = g.setrole and s.oid <> 0 left join pg_database d on d.oid = g.setdatabase
  where exists (select from unnest(g.setconfig) c where c ~ '^lo_compat_privileges=(on|true|yes|1)$')
    and (g.setrole = 0 or s.oid is not null) and (g.setdatabase = 0 or d.datname = current_database())
  union all select 'PUBLIC', 'all large objects', 'ALL', 'lo_compat_privileges', 'alter system reset lo_compat_privileges'
  from pg_settings where name = 'lo_compat_privileges' and setting = 'on' and source not in ('database', 'user', 'database user', 'global')`;

// What initdb, or an extension, lets nobody or only some call: the server's files, its connections to itself, others' statistics. Functions of
// which they say nothing are everybody's.
const functions = `select s.name as role, quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '()' as object, 'EXECUTE' as privilege, ${granted} as how,
    format('revoke execute on function %s from %s', p.oid::regprocedure, s.quoted) as hint
  from pg_proc p join pg_init_privs i on i.classoid = 'pg_proc'::regclass and i.objoid = p.oid and i.objsubid = 0 join pg_namespace n on n.oid = p.pronamespace,
    aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x join suspect s on s.oid = x.grantee and s.kind <> 'former'
  where s.oid <> p.proowner and not exists (select from aclexplode(i.initprivs) y where y.grantee in (0, x.grantee) and y.privilege_type = x.privilege_type)`;

// Passwords, and samples of everybody's rows: what initdb does not let all read.
const catalogs = `select s.name as role, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as object, x.privilege_type as privilege, ${granted} as how,
    format('revoke %s on %s.%I from %s', lower(x.privilege_type), quote_ident(n.nspname), c.relname, s.quoted) as hint
  from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) x join suspect s on s.oid = x.grantee
  where n.nspname = 'pg_catalog' and not exists (
    select from pg_init_privs i, aclexplode(i.initprivs) y where i.classoid = 'pg_class'::regclass and i.objoid = c.oid and i.objsubid = 0
      and y.grantee = x.grantee and y.privilege_type = x.privilege_type)
  union all select s.name, format('%I.%I.%I', n.nspname, c.relname, a.attname), x.privilege_type, ${granted},
    format('revoke %s (%I) on %I.%I from %s', lower(x.privilege_type), a.attname, n.nspname, c.relname, s.quoted)
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(a.attacl) x join suspect s on s.oid = x.grantee
  where a.attacl is not null and n.nspname = 'pg_catalog' and not exists (
    select from pg_init_privs i, aclexplode(i.initprivs) y where i.classoid = 'pg_class'::regclass and i.objoid = c.oid and i.objsubid = a.attnum
      and y.grantee = x.grantee and y.privilege_type = x.privilege_type)`;

// Settings that only a superuser may change, since they lead around rights.
const parameters = `select s.name as role, 'parameter ' || p.parname as object, x.privilege_type as privilege, ${granted} as how,
    format('revoke %s on parameter %s from %s', lower(x.privilege_type), p.parname, s.quoted) as hint
  from pg_parameter_acl p, aclexplode(p.paracl) x join suspect s on s.oid = x.grantee`;

/** Each with what `baseOf` begins. */
export function waysOut(version: number): string[] {
  return [foreign, largeObjects, functions, catalogs, ...(version >= 150_000 ? [parameters] : [])];
}
