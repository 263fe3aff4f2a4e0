// The fleet room: whose rights verify-isolation looks at, and in what: the beginning of all its questions to the catalog.

import { isLoginText, isTenantsText } from "../database/own-roles.js";

/** Whose rights are looked at, and in what. */
export interface Watched {
  schemas: readonly string[];
  /** The tenants' roles, as the schemas are ordered. */
  roles: readonly string[];
  /** What the tenants' login roles would be called, two for each, in the same order. */
  logins: readonly string[];
  sharedRole: string;
  appRole: string | undefined;
  sharedSchemas: readonly string[];
  /** The table that lists the tenants, as the config writes it. */
  registryTable: string | undefined;
}

/** Whether the object of this catalog and oid was made by an extension. */
export const ofExtension = (catalog: string, oid: string): string =>
  `exists (select from pg_depend of_extension where of_extension.classid = '${catalog}'::regclass and of_extension.objid = ${oid} and of_extension.deptype = 'e')`;

/** How a right of the suspect `s` came about. */
export const granted = "case when s.kind = 'public' then 'grant to PUBLIC' else 'grant' end";

/** Roles that the server comes with and that lead to others' rows, files, sessions or statements. */
export const predefined = (role: string): string =>
  `(${role} ~ '^pg_' and ${role} not in ('pg_use_reserved_connections', 'pg_read_all_settings', 'pg_stat_scan_tables', 'pg_checkpoint', 'pg_database_owner'))`;

// `suspect`: who must not have rights in a schema that is not their own. A former one has a name as tenants' roles and logins have, and a
// membership of theirs, and is no tenant's.
// `closed`: tenants' schemas. `open`: shared ones, and all others that suspects may use. `private`: the rest.
// `object`: all that is in them. `above`: who the application's role may become besides tenants' roles.
const common = `with recursive t as (
    select w.schema, w.role, w.at, n.oid as nsp, n.nspowner as owner, r.oid as rol
    from unnest($1::text[], $2::text[]) with ordinality w(schema, role, at) left join pg_namespace n on n.nspname = w.schema left join pg_roles r on r.rolname = w.role
  ), known as (
    select rol as oid, role as name, quote_ident(role) as quoted, nsp, 'tenant' as kind from t where rol is not null
    union all select r.oid, r.rolname, quote_ident(r.rolname), t.nsp, 'login' from t
      join unnest($6::text[]) with ordinality l(name, at) on (l.at + 1) / 2 = t.at join pg_roles r on r.rolname = l.name
    union all select oid, rolname, quote_ident(rolname), null, 'shared' from pg_roles where rolname = $3
    union all select oid, rolname, quote_ident(rolname), null, 'app' from pg_roles where rolname = $4
    union all select 0, 'PUBLIC', 'public', null, 'public'
  ), registry as (
    select to_regclass(case when strpos($7::text, '.') = 0 then quote_ident(s.name) || '.' || $7 else $7 end)::oid as oid
    from unnest($5::text[] || array['public']) s(name) where $7 is not null
  ), follower as (
    select m.member as oid from pg_auth_members m join known k on k.oid = m.roleid where k.kind in ('tenant', 'shared')
    union select m.member from pg_auth_members m join follower f on f.oid = m.roleid
  ), suspect as (
    select * from known
    union all select r.oid, r.rolname, quote_ident(r.rolname), null, 'former' from pg_roles r
      where (${isTenantsText("r.rolname")} or ${isLoginText("r.rolname")}) and r.oid in (select oid from follower) and r.oid not in (select oid from known)
  ), closed as (
    select nsp from t where nsp is not null union select oid from pg_namespace where nspname = 'tenantctl'
  ), shared as (
    select oid as nsp from pg_namespace where nspname = any($5::text[]) except select nsp from closed
  ), open as (
    select n.oid as nsp from pg_namespace n where n.nspname = any($5::text[] || array['public'])
    union select n.oid from pg_namespace n, aclexplode(n.nspacl) x
      where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.oid not in (select nsp from closed)
        and x.grantee in (select oid from suspect where kind not in ('app', 'former'))
    except select nsp from closed
  ), private as (
    select oid as nsp from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
    except select nsp from closed except select nsp from open
  ), above as (
    select m.roleid as oid from pg_auth_members m join suspect s on s.oid = m.member where s.kind = 'app' and m.roleid not in (select oid from suspect)
    union select m.roleid from above a join pg_auth_members m on m.member = a.oid where m.roleid not in (select oid from suspect)
  ), place as (
    select nsp, 'closed' as place from closed union all select nsp, 'open' from open union all select nsp, 'private' from private
  ), object as (
    select n.oid, n.oid as nsp, p.place, 'schema' as kind, quote_ident(n.nspname) as name, '' as bare, null::name as attribute, n.nspowner as owner,
        coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
      from place p join pg_namespace n on n.oid = p.nsp
    union all select c.oid, p.nsp, p.place, case c.relkind when 'S' then 'sequence' else 'table' end, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
        c.relname, null, c.relowner, c.relacl
      from place p join pg_namespace n on n.oid = p.nsp join pg_class c on c.relnamespace = n.oid where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all select c.oid, p.nsp, p.place, 'column', quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.' || quote_ident(a.attname), c.relname, a.attname, null, a.attacl
      from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace join place p on p.nsp = n.oid where a.attacl is not null
    union all select f.oid, p.nsp, p.place, 'routine', quote_ident(n.nspname) || '.' || quote_ident(f.proname) || '()', f.proname, null, f.proowner, f.proacl
      from place p join pg_namespace n on n.oid = p.nsp join pg_proc f on f.pronamespace = n.oid
  )`;

// What a function does by its owner's rights: of roles that own SECURITY DEFINER functions, whose rights they have, and what those may do in
// which schemas: `first` and `last` are the same where it is one schema.
const powers = (version: number) => `, heir as (
    select distinct proowner as owner, proowner as oid from pg_proc where prosecdef
    union select h.owner, m.roleid from heir h join pg_auth_members m on m.member = h.oid ${version >= 160_000 ? "and m.inherit_option" : "join pg_roles r on r.oid = m.member and r.rolinherit"}
  ), held as (
    select owner as oid, nsp from object where place = 'closed' and owner in (select oid from heir)
    union select x.grantee, o.nsp from object o, aclexplode(o.acl) x where o.place = 'closed' and x.grantee in (select oid from heir)
  ), power as (
    select h.owner, bool_or(h.owner = h.oid and (r.rolsuper or r.rolbypassrls or r.rolcreaterole) or ${predefined("r.rolname")}) as everywhere, min(d.nsp) as first, max(d.nsp) as last
    from heir h join pg_roles r on r.oid = h.oid left join held d on d.oid = h.oid group by 1
  )`;

/** What all questions begin with. */
export const baseOf = (version: number): string => common + powers(version);

/** Its parameters, $1 to $7. */
export function valuesOf(watched: Watched): unknown[] {
  const { schemas, roles, logins, sharedRole, appRole, sharedSchemas, registryTable } = watched;
  return [schemas, roles, sharedRole, appRole ?? null, sharedSchemas, logins, registryTable ?? null];
}
