// The fleet room: functions that do more than whoever calls them may: by their owner's rights, or by no rights at all.

import { ofExtension } from "./suspects.js";

// Who may call what is in a tenant's schema, or in one that all may use: a tenant's role, by itself or as everybody does.
const callable = `(t.nsp is not null and (s.kind in ('public', 'shared') or s.nsp = t.nsp)
    or t.nsp is null and p.pronamespace in (select nsp from open) and s.kind in ('public', 'shared', 'tenant'))`;

// Who may call what: apart, since the server would else go through all suspects for each routine.
const callers = (
  which: string,
) => `(select p.oid, p.pronamespace, p.proowner, p.proconfig, quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '()' as name, x.grantee
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
    where ${which} and n.oid in (select nsp from closed union all select nsp from open)
    offset 0) p join suspect s on s.oid = p.grantee left join t on t.nsp = p.pronamespace`;

const trigger = "p.prorettype in ('trigger'::regtype, 'event_trigger'::regtype)";

/** Whether the owner of `p` may do what a tenant in this schema may not; `w` is its row of `power`. */
const powerful = "(w.everywhere or w.first <> p.pronamespace or w.last <> p.pronamespace)";

// It does what its owner may do, for whoever may call it. An extension's, which all may call or nobody, are looked at where somebody was given more.
const definers = `select distinct coalesce(t.role, s.name) as role, p.name as object, 'EXECUTE' as privilege, 'SECURITY DEFINER' as how,
    format('alter routine %s security invoker', p.oid::regprocedure) as hint
  from ${callers(`p.prosecdef and not ${trigger} and not ${ofExtension("pg_proc", "p.oid")}`)} join power w on w.owner = p.proowner
  where ${callable} and ${powerful}`;

// What it takes on is asked of whoever logged in, and the application may become every tenant.
const roled = `select distinct coalesce(t.role, s.name) as role, p.name as object, 'EXECUTE' as privilege, 'function setting role' as how,
    format('alter routine %s reset role', p.oid::regprocedure) as hint
  from ${callers("exists (select from unnest(p.proconfig) c where c like 'role=%' and c <> 'role=none')")}
  where ${callable} and t.role is distinct from (select substr(c, 6) from unnest(p.proconfig) c where c like 'role=%')`;

// Of such a language only a superuser makes functions: they are bound by no rights, or do what the server's own user may. Those of
// extensions are their makers' to answer for.
const untrusted = `select distinct coalesce(t.role, s.name) as role, p.name as object, 'EXECUTE' as privilege, 'untrusted language' as how,
    format('revoke execute on routine %s from %s', p.oid::regprocedure, s.quoted) as hint
  from ${callers(`not l.lanpltrusted and p.prokind <> 'a' and not ${trigger}`)}
  where ${callable} and not ${ofExtension("pg_proc", "p.oid")}`;

// Nobody calls a trigger function: but with TEMPORARY a tenant's login makes a table of its own, and the function its trigger.
const temporary = `select s.name as role, 'database ' || quote_ident(d.datname) as object, 'TEMPORARY' as privilege,
    'SECURITY DEFINER trigger ' || f.name || case when f.more > 0 then ' and ' || f.more || ' more' else '' end as how, format('revoke temporary on database %I from %s', d.datname, s.quoted) as hint
  from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x join suspect s on s.oid = x.grantee and s.kind <> 'app', (
    select min(p.name) as name, count(distinct p.oid) - 1 as more
    from ${callers("p.prosecdef and p.prorettype = 'trigger'::regtype")} join power w on w.owner = p.proowner where ${callable} and ${powerful}
  ) f
  where d.datname = current_database() and x.privilege_type = 'TEMPORARY' and f.name is not null`;

// Whatever a name in a policy, default, view, cast and the like leads to is run without USAGE on its schema: up from such functions that no
// tenant could call otherwise, to what a tenant has or all may use.
const borrowed = `, hidden as (
    select p.oid, p.proowner, quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '()' as name
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join private v on v.nsp = n.oid join power w on w.owner = p.proowner
    where p.prosecdef and not ${trigger} and ${powerful} and not ${ofExtension("pg_proc", "p.oid")} and exists (
      select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x join suspect s on s.oid = x.grantee and s.kind not in ('app', 'former'))
  ), climb as (
    select oid as function, name, 'pg_proc'::regclass::oid as classid, oid as objid from hidden
    union select c.function, c.name, u.classid, u.objid from climb c cross join lateral (
      select d.classid, d.objid from pg_depend d where d.refclassid = c.classid and d.refobjid = c.objid and d.deptype in ('n', 'a')
      union all select 'pg_type'::regclass, k.contypid from pg_constraint k where c.classid = 'pg_constraint'::regclass and k.oid = c.objid and k.contypid <> 0
    ) u
  ), top as (
    select c.*, coalesce(r.ev_class, nullif(k.conrelid, 0), a.adrelid, g.tgrelid, y.polrelid, case when c.classid = 'pg_class'::regclass then c.objid end) as relation
    from climb c left join pg_rewrite r on c.classid = 'pg_rewrite'::regclass and r.oid = c.objid
      left join pg_constraint k on c.classid = 'pg_constraint'::regclass and k.oid = c.objid
      left join pg_attrdef a on c.classid = 'pg_attrdef'::regclass and a.oid = c.objid
      left join pg_trigger g on c.classid = 'pg_trigger'::regclass and g.oid = c.objid
      left join pg_policy y on c.classid = 'pg_policy'::regclass and y.oid = c.objid
    where c.objid <> c.function
  ) select distinct coalesce(t.role, $3) as role, coalesce(quote_ident(n.nspname) || '.' || quote_ident(c.relname), k.contypid::regtype::text, i.identity) as object, 'EXECUTE on ' || top.name as privilege,
    'SECURITY DEFINER behind a ' || case i.type when 'default value' then 'default' when 'table' then 'column' when 'table constraint' then 'check' when 'domain constraint' then 'check' else i.type end as how,
    format('alter routine %s security invoker', top.function::regprocedure) as hint
  from top left join pg_constraint k on top.classid = 'pg_constraint'::regclass and k.oid = top.objid cross join lateral pg_identify_object(top.classid, top.objid, 0) i left join pg_class c on c.oid = top.relation
    left join pg_namespace n on n.oid = c.relnamespace or c.oid is null and quote_ident(n.nspname) = i.schema left join t on t.nsp = n.oid
  where t.nsp is not null or n.oid in (select nsp from open) or top.classid = 'pg_cast'::regclass`;

// Whoever runs DDL runs it with rights of his own.
const eventTriggers = `select coalesce(t.role, s.name, 'PUBLIC') as role, 'event trigger ' || quote_ident(e.evtname) as object, 'EXECUTE on ' || p.oid::regproc || '()' as privilege,
    'event trigger' as how, format('drop event trigger %I', e.evtname) as hint
  from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid left join t on t.nsp = p.pronamespace left join suspect s on s.oid = p.proowner and s.kind <> 'public'
  where e.evtenabled <> 'D' and (t.nsp is not null or s.oid is not null)`;

/** Each with what `baseOf` begins. */
export const definerRights: readonly string[] = [definers, roled, untrusted, temporary, borrowed, eventTriggers];
