// The fleet room: what the config says that tenants may do with shared tables, and how that differs from what they may.

import path from "node:path";
import type { Config } from "../config/load.js";
import { MEND_HINT } from "../config/source.js";
import type { Client } from "../database/database.js";
import { ProblemsError } from "../errors.js";
import { ledgerTable } from "../migrations/ledger.js";
import { parseRelation } from "../registry/relation.js";
import { placeOf } from "../registry/table.js";

/** Rights of all tenants on one shared table or sequence, or with `*` on all of a schema. */
export interface Access {
  schema: string;
  name: string;
  /** In lower case, each once, sorted. */
  privileges: string[];
}

/**
 * What the config's `sharedAccess` lists; undefined where there is none.
 * @throws ProblemsError CONFIG_INVALID for a schema that is not shared, or where it gives the registry or a ledger away.
 */
export function accessOf(config: Config): Access[] | undefined {
  if (config.sharedAccess === undefined) return undefined;
  const problems: string[] = [];
  const schemas = [...config.sharedSchemas, "public"];
  const isPrivate = privateTables(config);
  const found = Object.entries(config.sharedAccess).flatMap(([key, value]) => {
    const all = /^(.*\.)?\s*\*\s*$/.exec(key);
    const relation = parseRelation(all ? `${all[1] ?? ""}x` : key);
    const schema = relation?.schema ?? config.sharedSchemas[0] ?? "public";
    const name = all ? "*" : (relation?.name ?? key);
    if (!schemas.includes(schema)) problems.push(`sharedAccess: ${key} is not in one of "sharedSchemas"`);
    if (isPrivate(schema, name))
      problems.push(`sharedAccess: ${key} says who the other tenants are, and is never theirs`);
    const privileges = [
      ...new Set(
        value
          .toLowerCase()
          .split(",")
          .map((word) => word.trim()),
      ),
    ].sort();
    return { schema, name, privileges };
  });
  if (problems.length > 0)
    throw new ProblemsError("CONFIG_INVALID", `${path.basename(config.file)} is not valid`, problems, {
      hint: MEND_HINT,
    });
  return found;
}

/** Tells which tables no tenant may see: ledgers, and the registry where it is a table. */
export function privateTables(config: Config): (schema: string, name: string) => boolean {
  const { registry } = config;
  const place = registry !== undefined && "table" in registry ? placeOf(config, registry) : undefined;
  return (schema, name) => name === ledgerTable || (schema === place?.schema && name === place.name);
}

/** The rights that `sharedAccess` lists beyond reading, as verify-isolation tells them: `insert shared.events`. */
export function wantedRights(config: Config): string[] {
  return (accessOf(config) ?? []).flatMap(({ schema, name, privileges }) =>
    privileges.filter((privilege) => privilege !== "select").map((privilege) => `${privilege} ${schema}.${name}`),
  );
}

/** What is to be changed, or said. */
export interface AccessChanges {
  /** Rights that tenants are to have, and lack. */
  grants: Change[];
  /** Rights that they have, and that the config does not list. Empty where it has no `sharedAccess`: what earlier releases granted stays. */
  extra: Change[];
  /** Registry and ledgers that they may use. */
  exposed: Change[];
  /** Rights on what will be created, that earlier releases gave: by whom, in which schema. */
  promised: { schema: string; maker: string; ours: boolean }[];
  /** What the config lists, and is not there. */
  absent: string[];
}

export interface Change {
  schema: string;
  name: string;
  isSequence: boolean;
  privileges: string[];
  /** Those that stay, or are to be there in the end. */
  wanted: string[];
}

interface Found {
  schema: string;
  name: string;
  isSequence: boolean;
  has: string[];
  byColumn: boolean;
}

/** Compares what the role that all tenants share may do with what it is to. */
export async function compareAccess(client: Client, config: Config, role: string): Promise<AccessChanges> {
  const access = accessOf(config);
  const isPrivate = privateTables(config);
  const schemas = [...config.sharedSchemas, "public"];
  const found = await readAccess(client, schemas, role, access !== undefined);
  const promised = await readPromised(client, schemas, role);
  const exposed = found
    .filter(({ schema, name, has, byColumn }) => isPrivate(schema, name) && (has.length > 0 || byColumn))
    .map(({ has, byColumn: _, ...one }) => ({ ...one, privileges: has, wanted: [] }));
  if (access === undefined) return { grants: [], extra: [], exposed, promised, absent: [] };
  const grants: Change[] = [];
  const extra: Change[] = [];
  for (const { has, byColumn, ...one } of found) {
    if (isPrivate(one.schema, one.name)) continue;
    const wanted = wantedOn(access, one);
    const lacking = wanted.filter((privilege) => !has.includes(privilege));
    const beyond = has.filter((privilege) => !wanted.includes(privilege));
    if (lacking.length > 0) grants.push({ ...one, privileges: lacking, wanted });
    if (beyond.length > 0 || byColumn) extra.push({ ...one, privileges: beyond, wanted });
  }
  const absent = access
    .filter(({ schema, name }) => name !== "*" && !found.some((one) => one.schema === schema && one.name === name))
    .map(({ schema, name }) => `${schema}.${name}`);
  return { grants, extra, exposed, promised, absent };
}

// `*` is for tables; sequences of a schema get "usage" of it, and nothing else.
function wantedOn(access: readonly Access[], { schema, name, isSequence }: Omit<Found, "has" | "byColumn">): string[] {
  const own = access.find((one) => one.schema === schema && one.name === name);
  if (own !== undefined) return own.privileges;
  const all = access.find((one) => one.schema === schema && one.name === "*");
  return (all?.privileges ?? []).filter((privilege) => (privilege === "usage") === isSequence);
}

async function readAccess(client: Client, schemas: readonly string[], role: string, all: boolean): Promise<Found[]> {
  const { rows } = await client.query<Found>(
    `select * from (
       select n.nspname as schema, c.relname as name, c.relkind = 'S' as "isSequence",
         array(select lower(x.privilege_type) from aclexplode(c.relacl) x where x.grantee = r.oid order by 1) as has,
         exists (select from pg_attribute a, aclexplode(a.attacl) x where a.attrelid = c.oid and a.attacl is not null and x.grantee = r.oid) as "byColumn"
       from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_roles r on r.rolname = $2
       where n.nspname = any($1) and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
     ) found where $3 or has <> '{}' or "byColumn"`,
    [schemas, role, all],
  );
  return rows;
}

async function readPromised(
  client: Client,
  schemas: readonly string[],
  role: string,
): Promise<AccessChanges["promised"]> {
  const { rows } = await client.query<AccessChanges["promised"][number]>(
    `select distinct n.nspname as schema, a.defaclrole::regrole::text as maker, pg_has_role(a.defaclrole, 'usage') as ours
     from pg_default_acl a join pg_namespace n on n.oid = a.defaclnamespace, aclexplode(a.defaclacl) x join pg_roles r on r.oid = x.grantee
     where n.nspname = any($1) and r.rolname = $2 order by 1, 2`,
    [schemas, role],
  );
  return rows;
}
