// The database room: whose a role is. Roles outlive their schemas, and belong to the whole cluster: a name alone proves nothing.

import { identifier, literal } from "./quote.js";
import { tenantLogins, tenantRole } from "./roles.js";

/** What the server answers where a role of a former tenant is in the way and can't be dropped. */
export const roleInTheWay = "TNR00";

const ownDatabase = "(select d.oid from pg_database d where d.datname = current_database())";

/** The comment on a tenant's role: which schema it is for, by numbers that are never used again. `nsp` is SQL for the schema's oid. */
const markText = (nsp: string) => `format('tenantctl: the role of schema %s in database %s', ${nsp}, ${ownDatabase})`;

/** What the comment on a tenant's login says. The role that it logs in for carries the schema. */
export interface LoginMark {
  /** When it was made: of two logins of one tenant, the later one is in use. */
  made: string;
  /** LOGIN was taken from it since its tenant is not active, and not by somebody for another reason. */
  off: boolean;
}

export const loginMarkText = ({ made, off }: LoginMark): string =>
  `tenantctl: a login, made ${made}${off ? ", off" : ""}`;

/** Undefined where the comment is none of ours: a login of a release that wrote none. */
export function loginMarkOf(comment: string | null): LoginMark | undefined {
  const [, made, off] = /^tenantctl: a login, made (\S+?)(, off)?$/.exec(comment ?? "") ?? [];
  return made === undefined ? undefined : { made, off: off !== undefined };
}

/** SQL that tells whether a role's name is one of a tenant's role, in whichever database. */
export const isTenantsText = (role: string): string => `${role} ~ '^tenant_.*_[0-9a-f]{16}$'`;

/** SQL that tells whether a role's name is one of a tenant's login, in whichever database. */
export const isLoginText = (role: string): string => `${role} ~ '^login2?_.*_[0-9a-f]{16}$'`;

/** SQL that tells whether a role, given by its oid, is a tenant's login or role, in whichever database. */
export const isOfTenantText = (oid: string): string => `exists (
  select from pg_roles s join pg_auth_members m on m.member = s.oid join pg_roles g on g.oid = m.roleid
  where s.oid = ${oid} and (${isLoginText("s.rolname")} and ${isTenantsText("g.rolname")} or ${isTenantsText("s.rolname")} and g.rolname ~ '^tenants_.*_[0-9a-f]{16}$'))`;

/**
 * SQL that tells whether a role `g` with rights in a schema `n` is a tenant's and of no other schema of this database: it was this one's before the schema
 * or the database was renamed, or before the database was copied.
 */
const isFormer = `${isTenantsText("g.rolname")} and not exists (
  select from pg_namespace s where s.oid <> n.oid and shobj_description(g.oid, 'pg_authid') = ${markText("s.oid")})`;

/** SQL that tells whether a schema `n`, whose role is `own`, gives rights to a role that was its own before. Cheap where there is none. */
export const hasFormerRoleText = (own: string): string => `exists (
  select from aclexplode(n.nspacl) x where x.grantee not in (0, n.nspowner) and x.grantee is distinct from ${own}
    and (select ${isFormer} from pg_roles g where g.oid = x.grantee))`;

// A member with its rights may end a role's sessions and drop what it owns; a superuser may anyway.
const becomeText = (name: string, membershipOptions: boolean) => `
      if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant %I to %I${membershipOptions ? " with inherit true" : ""}', ${name}, current_user);
      end if;`;

const ownedHere = (oid: string) =>
  `select o.classid, o.objid, o.objsubid from pg_shdepend o where o.refclassid = 'pg_authid'::regclass and o.refobjid = ${oid} and o.deptype = 'o' and o.dbid = ${ownDatabase}`;

/** What keeps a role from being dropped, in words; null where nothing does. `oid` is SQL. */
export const keptByText = (oid: string): string => `(select string_agg(what, ', ') from (
    (select 'it owns ' || coalesce(pg_describe_object(classid, objid, objsubid), 'something') as what from (${ownedHere(oid)}) o limit 3)
    union all select 'it has something in the database ' || quote_ident(d.datname) from pg_database d
      where d.datname <> current_database() and exists (select from pg_shdepend o where o.refclassid = 'pg_authid'::regclass and o.refobjid = ${oid} and o.dbid = d.oid)
  ) kept)`;

/**
 * plpgsql that takes everything from these roles: LOGIN, sessions, rights here, memberships, and then drops them. One that owns something, has rights
 * in other databases, or is not ours to drop, stays without what we may take; with `refuse` that is an error.
 */
function retireText(names: string, membershipOptions: boolean, refuse = false): string {
  const stays = refuse
    ? `raise exception using errcode = '${roleInTheWay}',
          message = format('the role %s is left from a former tenant, and can''t be dropped: %s', one.rolname, coalesce(${keptByText("one.oid")}, 'another role made it')),
          hint = format('in each database: reassign or drop what it owns (drop owned by %I), then: drop role %1$I', one.rolname);`
    : leaveText(membershipOptions);
  return `
    for one in select oid, rolname, rolcanlogin from pg_roles where rolname = any(${names}) order by 2 loop
      begin
        if one.rolcanlogin then execute format('alter role %I nologin', one.rolname); end if;
      exception when insufficient_privilege then null;
      end;
      begin
        ${becomeText("one.rolname", membershipOptions)}
        perform pg_terminate_backend(pid, 2000) from pg_stat_activity where usesysid = one.oid and pid <> pg_backend_pid();
        if not exists (${ownedHere("one.oid")}) then
          execute format('drop owned by %I', one.rolname);
          begin
            execute format('drop role %I', one.rolname);
          exception when dependent_objects_still_exist then null;
          end;
        end if;
      exception when insufficient_privilege then null;
      end;
      if exists (select from pg_roles where oid = one.oid) then
        ${stays}
      end if;
    end loop;`;
}

/** plpgsql that takes a role's memberships, and ours in it. */
function leaveText(membershipOptions: boolean): string {
  const by = membershipOptions ? " granted by %I" : "";
  return `for its in select g.rolname as name, b.rolname as grantor from pg_auth_members m join pg_roles g on g.oid = m.roleid join pg_roles b on b.oid = m.grantor where m.member = one.oid loop
          begin
            execute format('revoke %I from %I${by}', its.name, one.rolname${membershipOptions ? ", its.grantor" : ""});
          exception when insufficient_privilege then null;
          end;
        end loop;`;
}

const namesText = (names: readonly string[]) => `array[${names.map(literal).join(", ")}]::name[]`;

/** The statement that drops these roles with their rights in this database; those that can't be dropped stay, without LOGIN and memberships. */
export function dropRolesText(names: readonly string[], membershipOptions: boolean): string {
  return `do ${literal(`declare one record; its record; begin ${retireText(namesText(names), membershipOptions)} end`)}`;
}

/**
 * The statement that makes a tenant's role. One that is there is taken for the tenant's where its comment names the schema, or the schema gives it rights:
 * that is what earlier releases left. Any other is of a former tenant of that name: it is dropped, with its logins, and made anew.
 */
export function ownRoleText(
  schema: string,
  { database, membershipOptions }: { database: string; membershipOptions: boolean },
): string {
  const role = tenantRole(database, schema);
  return `do ${literal(`declare
    nsp oid := (select oid from pg_namespace where nspname = ${literal(schema)});
    mark text := ${markText("nsp")};
    rol oid := (select oid from pg_roles where rolname = ${literal(role)});
    one record; its record;
  begin
    if rol is null or shobj_description(rol, 'pg_authid') is distinct from mark and not exists (
      select from pg_namespace n, aclexplode(n.nspacl) x where n.oid = nsp and x.grantee = rol)
    then
      ${retireText(namesText(tenantLogins(database, schema)), membershipOptions)}
      ${retireText(namesText([role]), membershipOptions, true)}
      create role ${identifier(role)} nologin;
      rol := (select oid from pg_roles where rolname = ${literal(role)});
    end if;
    if shobj_description(rol, 'pg_authid') is distinct from mark then
      execute format('comment on role %I is %L', ${literal(role)}, mark);
    end if;
  end`)}`;
}

/**
 * The statement that takes a schema's rights from roles that were its own before it was renamed. One whose comment names the schema was this tenant's
 * alone, and is dropped with its logins.
 * @param revokes statements that take away a role's rights in the schema, with the role as `%1$I` for `format`.
 */
export function formerRolesText(
  schema: string,
  { database, membershipOptions }: { database: string; membershipOptions: boolean },
  revokes: readonly string[],
): string {
  return `do ${literal(`declare former record; one record; its record;
  begin
    for former in select distinct g.oid, g.rolname as name, shobj_description(g.oid, 'pg_authid') is not distinct from ${markText("n.oid")} as ours
      from pg_namespace n, aclexplode(n.nspacl) x join pg_roles g on g.oid = x.grantee
      where n.nspname = ${literal(schema)} and g.rolname <> ${literal(tenantRole(database, schema))} and ${isFormer}
    loop
      ${revokes.map((text) => `execute format(${literal(text)}, former.name);`).join("\n      ")}
      if former.ours then
        ${retireText(`array(select u.rolname from pg_auth_members m join pg_roles u on u.oid = m.member where m.roleid = former.oid and ${isLoginText("u.rolname")})`, membershipOptions)}
        ${retireText("array[former.name]", membershipOptions)}
      end if;
    end loop;
  end`)}`;
}
