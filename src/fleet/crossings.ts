// The fleet room: what leads from one schema into another one without a right there: views, rules, keys, triggers, defaults, parents, servers.

import { ofExtension } from "./suspects.js";

// A view reads with its owner's rights, a materialized one has read already, a rule does what it says; and each leads to what the next one leads to.
// A view over what its tenant may read anyway leads nowhere new.
const views = (version: number): string => {
  const invoker =
    version >= 150_000 ? "format('alter view %s set (security_invoker = true)', v.oid::regclass)" : "null";
  return `, edge as (
    select distinct w.ev_class as v, d.refobjid as c
    from pg_rewrite w join pg_class v on v.oid = w.ev_class
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> w.ev_class
    where not (v.relkind = 'v' and coalesce(v.reloptions::text ~ 'security_invoker=(true|on|1|yes)', false))
  ), reach as (
    select e.v, e.c from edge e join pg_class v on v.oid = e.v join pg_class c on c.oid = e.c and c.relnamespace <> v.relnamespace join place p on p.nsp = c.relnamespace
      where not ${ofExtension("pg_class", "e.v")}
    union select e.v, r.c from reach r join edge e on e.c = r.v
  ), reader as (
    select t.role as name, t.rol as oid, r.v, r.c, t.nsp, true as own from reach r join pg_class v on v.oid = r.v join t on t.nsp = v.relnamespace
    union all select s.name, s.oid, r.v, r.c, s.nsp, false from reach r join pg_class v on v.oid = r.v, aclexplode(v.relacl) x join suspect s on s.oid = x.grantee
      where v.relnamespace not in (select nsp from closed) and s.oid <> v.relowner
  ) select distinct x.name as role, quote_ident(vn.nspname) || '.' || quote_ident(v.relname) as object,
    case when v.relkind in ('v', 'm') then 'SELECT on ' else 'ALL on ' end || quote_ident(cn.nspname) || '.' || quote_ident(c.relname) as privilege,
    case when v.relkind = 'm' then 'materialized view' when v.relkind = 'v' then 'view' else 'rule' end as how, case v.relkind
      when 'm' then format('drop materialized view %s', v.oid::regclass)
      when 'v' then coalesce(${invoker}, format('drop view %s', v.oid::regclass))
      else format('drop rule %I on %s', (select min(w.rulename) from pg_rewrite w join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
        where w.ev_class = v.oid and d.refobjid = c.oid), v.oid::regclass) end as hint
  from reader x join pg_class v on v.oid = x.v join pg_class c on c.oid = x.c and c.relnamespace is distinct from x.nsp
    join pg_namespace vn on vn.oid = v.relnamespace join pg_namespace cn on cn.oid = c.relnamespace join place p on p.nsp = c.relnamespace
  where p.place = 'closed' and not (x.own and c.relnamespace = v.relnamespace)
    or x.own and p.place <> 'closed' and not ${ofExtension("pg_class", "c.oid")} and (v.relkind in ('v', 'm') or p.place = 'private')
      and x.oid is not null and not has_any_column_privilege(x.oid, c.oid, 'select')`;
};

// Passwords, samples of everybody's rows and large objects, as catalogs keep them: what is the server's own is not among the dependencies.
const overCatalogs = `select distinct coalesce(t.role, s.name) as role, quote_ident(vn.nspname) || '.' || quote_ident(v.relname) as object, 'SELECT on ' || c.oid::regclass as privilege,
    'view' as how, format('drop %sview %s', case v.relkind when 'm' then 'materialized ' else '' end, v.oid::regclass) as hint
  from pg_class v join place p on p.nsp = v.relnamespace join pg_namespace vn on vn.oid = v.relnamespace join pg_rewrite w on w.ev_class = v.oid
    join (values ('pg_authid'::regclass), ('pg_statistic'), ('pg_largeobject'), ('pg_statistic_ext_data'), ('pg_user_mapping'), ('pg_subscription')) c(oid)
      on w.ev_action::text ~ (':relid ' || c.oid::oid || '\\M')
    left join t on t.nsp = v.relnamespace left join lateral aclexplode(case when t.nsp is null then v.relacl end) x on true
    left join suspect s on s.oid = x.grantee and s.oid <> v.relowner
  where v.relkind in ('v', 'm') and not (coalesce(v.reloptions::text ~ 'security_invoker=(true|on|1|yes)', false)) and not ${ofExtension("pg_class", "v.oid")}
    and coalesce(t.role, s.name) is not null`;

// A parent is read and written with its children. Partitions may lie in a schema of their own, while they are one tenant's.
const inheritance = `select coalesce(t.role, $3) as role, quote_ident(pn.nspname) || '.' || quote_ident(p.relname) as object,
    'SELECT on ' || quote_ident(cn.nspname) || '.' || quote_ident(c.relname) as privilege, 'inheritance' as how, case
      when c.relispartition then format('alter table %s detach partition %s', p.oid::regclass, c.oid::regclass)
      else format('alter table %s no inherit %s', c.oid::regclass, p.oid::regclass) end as hint
  from pg_inherits i join pg_class p on p.oid = i.inhparent join pg_class c on c.oid = i.inhrelid and c.relnamespace <> p.relnamespace
    join place k on k.nsp = c.relnamespace join pg_namespace pn on pn.oid = p.relnamespace join pg_namespace cn on cn.oid = c.relnamespace
    left join t on t.nsp = p.relnamespace
  where p.relkind in ('r', 'p', 'f') and (t.nsp is not null and k.place <> 'private' or p.relnamespace in (select nsp from open) and k.place = 'closed'
    or t.nsp is not null and exists (select from pg_inherits j join pg_class q on q.oid = j.inhparent where j.inhrelid = c.oid and q.relnamespace <> p.relnamespace))`;

// Whatever of a tenant's, or of what is shared, needs something of a tenant's elsewhere: nothing ever should. Views and children are looked at above.
const dependencies = `, thing as (
    select 'pg_class'::regclass as class, oid, relnamespace as nsp, case relkind when 'S' then 'sequence' when 'i' then 'index' when 'I' then 'index' else 'column' end as kind, oid as relation from pg_class
    union all select 'pg_proc'::regclass, oid, pronamespace, 'function', 0 from pg_proc
    union all select 'pg_type'::regclass, oid, typnamespace, 'type', 0 from pg_type
    union all select 'pg_operator'::regclass, oid, oprnamespace, 'operator', 0 from pg_operator
    union all select 'pg_opclass'::regclass, oid, opcnamespace, 'operator class', 0 from pg_opclass
    union all select 'pg_collation'::regclass, oid, collnamespace, 'collation', 0 from pg_collation
    union all select 'pg_ts_config'::regclass, oid, cfgnamespace, 'text search configuration', 0 from pg_ts_config
    union all select 'pg_ts_dict'::regclass, oid, dictnamespace, 'text search dictionary', 0 from pg_ts_dict
    union all select 'pg_statistic_ext'::regclass, oid, stxnamespace, 'statistics', stxrelid from pg_statistic_ext
    union all select 'pg_constraint'::regclass, oid, connamespace, case contype when 'f' then 'foreign key' else 'check' end, conrelid from pg_constraint
    union all select 'pg_trigger'::regclass, g.oid, c.relnamespace, 'trigger', c.oid from pg_trigger g join pg_class c on c.oid = g.tgrelid where not g.tgisinternal
    union all select 'pg_policy'::regclass, y.oid, c.relnamespace, 'policy', c.oid from pg_policy y join pg_class c on c.oid = y.polrelid
    union all select 'pg_attrdef'::regclass, a.oid, c.relnamespace, 'default', c.oid from pg_attrdef a join pg_class c on c.oid = a.adrelid
  ), needs as (
    select distinct d.classid, d.objid, x.nsp, x.kind, x.relation, d.refclassid, coalesce(i.indrelid, d.refobjid) as refobjid, case when x.kind = 'column' then d.objsubid else 0 end as sub
    from pg_depend d join thing x on x.class = d.classid and x.oid = d.objid join thing r on r.class = d.refclassid and r.oid = d.refobjid
      left join pg_index i on d.refclassid = 'pg_class'::regclass and i.indexrelid = d.refobjid
    where r.nsp <> x.nsp and r.nsp in (select nsp from t) and x.nsp in (select nsp from t union all select nsp from open) and d.refclassid <> 'pg_constraint'::regclass
      and not exists (select from pg_inherits h where d.classid = 'pg_class'::regclass and h.inhrelid = d.objid and h.inhparent = d.refobjid)
  ) select coalesce(t.role, $3) as role, coalesce(quote_ident(cn.nspname) || '.' || quote_ident(c.relname), k.contypid::regtype::text, (pg_identify_object(n.classid, n.objid, 0)).identity) as object,
    case when n.kind = 'foreign key' then 'REFERENCES' when n.refclassid = 'pg_proc'::regclass then 'EXECUTE on' when n.refclassid = 'pg_class'::regclass and rc.relkind <> 'S' then 'SELECT on' else 'USAGE of' end
      || ' ' || case when n.refclassid = 'pg_proc'::regclass then n.refobjid::regproc || '()' else (pg_identify_object(n.refclassid, n.refobjid, 0)).identity end as privilege,
    case when a.attgenerated <> '' then 'generated column' else n.kind end as how, case case when a.attgenerated <> '' then 'default' else n.kind end
      when 'foreign key' then format('alter table %s drop constraint %I', c.oid::regclass, k.conname)
      when 'check' then case when c.oid is null then format('alter domain %s drop constraint %I', k.contypid::regtype, k.conname) else format('alter table %s drop constraint %I', c.oid::regclass, k.conname) end
      when 'trigger' then format('drop trigger %I on %s', g.tgname, c.oid::regclass)
      when 'policy' then format('drop policy %I on %s', y.polname, c.oid::regclass)
      when 'default' then format('alter table %s alter column %I drop %s', c.oid::regclass, a.attname, case when a.attgenerated <> '' then 'expression' else 'default' end)
      when 'sequence' then format('alter sequence %s owned by none', c.oid::regclass)
      when 'index' then format('drop index %s', c.oid::regclass)
      else 'make it anew with what is its own, by a migration: ' || pg_describe_object(n.classid, n.objid, n.sub) || ' needs ' || pg_describe_object(n.refclassid, n.refobjid, 0) end as hint
  from needs n left join pg_class c on c.oid = n.relation left join pg_namespace cn on cn.oid = c.relnamespace left join t on t.nsp = n.nsp
    left join pg_class rc on n.refclassid = 'pg_class'::regclass and rc.oid = n.refobjid
    left join pg_constraint k on n.classid = 'pg_constraint'::regclass and k.oid = n.objid
    left join pg_trigger g on n.classid = 'pg_trigger'::regclass and g.oid = n.objid
    left join pg_policy y on n.classid = 'pg_policy'::regclass and y.oid = n.objid
    left join pg_attrdef f on n.classid = 'pg_attrdef'::regclass and f.oid = n.objid left join pg_attribute a on a.attrelid = coalesce(f.adrelid, n.relation) and a.attnum = coalesce(f.adnum, nullif(n.sub, 0))
  union all select t.role, quote_ident(rn.nspname) || '.' || quote_ident(r.relname), case when 'c' in (k.confdeltype, k.confupdtype) then 'DELETE' else 'UPDATE' end || ' on ' || quote_ident(cn.nspname) || '.' || quote_ident(c.relname),
    'foreign key', format('alter table %s drop constraint %I', c.oid::regclass, k.conname)
  from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class r on r.oid = k.confrelid join pg_namespace cn on cn.oid = c.relnamespace join pg_namespace rn on rn.oid = r.relnamespace
    join t on t.nsp = r.relnamespace
  where k.contype = 'f' and k.conparentid = 0 and c.relnamespace <> r.relnamespace and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
    and c.relnamespace in (select nsp from closed union all select nsp from open)`;

// A foreign table is read by the password that is kept for whoever reads it, for everybody, or for the owner of a view over it.
const foreignTables = `select distinct coalesce(t.role, s.name) as role, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as object, 'SELECT on foreign server ' || quote_ident(f.srvname) as privilege,
    'foreign table' as how, format('drop user mapping for %s server %I', case m.umuser when 0 then 'public' else quote_ident(m.usename) end, f.srvname) as hint
  from pg_foreign_table e join pg_class c on c.oid = e.ftrelid join pg_namespace n on n.oid = c.relnamespace join place p on p.nsp = n.oid
    join pg_foreign_server f on f.oid = e.ftserver join pg_user_mappings m on m.srvid = f.oid
    left join t on t.nsp = n.oid left join lateral aclexplode(c.relacl) x on t.nsp is null left join suspect s on s.oid = x.grantee and s.kind not in ('app', 'former')
  where (t.nsp is not null or s.oid is not null) and (m.umuser = 0 or exists (
    select from suspect z where z.oid = m.umuser and z.kind <> 'app' and (t.nsp is null or z.nsp = t.nsp)) or exists (
    select from pg_rewrite w join pg_class v on v.oid = w.ev_class join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
    where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and v.relowner = m.umuser and v.relnamespace in (select nsp from t union all select nsp from open)))`;

/** Each with what `baseOf` begins. */
export const crossings = (version: number): string[] => [
  views(version),
  overCatalogs,
  inheritance,
  dependencies,
  foreignTables,
];
