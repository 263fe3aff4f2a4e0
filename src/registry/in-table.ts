// Registry room: the registry that is a table in the database: ours, or one that the application has anyway.

import { isIPv6 } from "node:net";
import type { Config } from "../config/load.js";
import type { RegistryColumn, RegistryTable, TenantEntry } from "../config/shape.js";
import type { Client, Database } from "../database/database.js";
import { isConnectionLost, sqlState } from "../database/errors.js";
import { identifier } from "../database/quote.js";
import { lockKey, withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { edited } from "./change.js";
import type { Merged, Registry } from "./contract.js";
import { readListing } from "./listing.js";
import { shown } from "./names.js";
import { entriesOf, type Row, refuse, tenantsOfRows } from "./rows.js";
import { type Kind, keys, lookUp, type Place, placeOf, type Table } from "./table.js";
import {
  admit,
  entryOf,
  problemsIn,
  readTenants,
  someHasSchema,
  type Tenant,
  tenantOf,
  unknownTenant,
} from "./tenants.js";

/** The registry of a config that names a table. */
export function openTableRegistry(
  config: Config,
  settings: RegistryTable,
  database: () => Promise<Database>,
): Registry {
  const place = () => placeOf(config, settings);
  const read = async <T>(look: (client: Client, table: Table) => Promise<T>) => {
    const at = place();
    const within = async (client: Client) => look(client, await lookUp(client, at));
    return await withTransaction(await database(), within, { readOnly: true });
  };
  // One change at a time, from the look at who is there to the commit: no index knows whether two arrays have a host in common.
  const change = async <T>(within: Client | undefined, make: (client: Client, table: Table) => Promise<T>) => {
    const at = place();
    const locked = (client: Client) =>
      asRefusal(at, async () => {
        await client.query(`select pg_advisory_xact_lock(${lockKey(["", "registry", at.schema, at.name].join("\0"))})`);
        return await make(client, await lookUp(client, at));
      });
    return within === undefined ? await withTransaction(await database(), locked) : await locked(within);
  };
  // A tenant that is there already is none that it could collide with.
  const admitTo = async (client: Client, table: Table, tenant: Tenant, itself?: string) => {
    const found = await readNear(client, table, tenant);
    if (itself !== undefined) found.delete(itself);
    const { problems: _, ...near } = readTenants(found, table.reserved);
    const admitted = admit(tenant, near, table.reserved);
    table.checkHolds(admitted);
    return admitted;
  };

  return {
    inDatabase: true,
    tenants: async () =>
      await read(async (client, table) => {
        const { rows } = await client.query<Row>(`${table.select} order by ${table.column("name")}::text collate "C"`);
        return [...tenantsOfRows(rows, table.reserved, table.label).tenants.values()];
      }),
    list: async (known) => await read(async (client, table) => await readListing(client, table.select, known)),
    async add(tenant, within) {
      await change(within, async (client, table) => insert(client, table, [await admitTo(client, table, tenant)]));
    },
    remove: async (name, within) =>
      await change(within, async (client, table) => {
        const { rows } = await client.query<Row>(
          `delete from ${table.quoted} as t where ${table.column("name")}::text = $1 returning ${table.answers}`,
          [name],
        );
        for (const [found, entry] of entriesOf(rows, table.label)) return tenantOf(found, entry);
        throw unknownTenant(name, []);
      }),
    edit: async (name, edit) =>
      await change(undefined, async (client, table) => {
        const { rows } = await client.query<Row>(
          `${table.select} where ${table.column("name")}::text = $1 for update`,
          [name],
        );
        const entry = entriesOf(rows, table.label).get(name);
        if (entry === undefined) throw unknownTenant(name, []);
        const { tenant, changed } = edited(name, entry, edit);
        if (changed.length > 0) {
          await admitTo(client, table, tenant, name);
          await update(client, table, tenant, changed);
        }
        return { tenant, changed };
      }),
    async checkAdd(tenant) {
      await read(async (client, table) => void (await admitTo(client, table, tenant)));
    },
    hasSchema: async (schema, within) =>
      await change(within, async (client, table) =>
        someHasSchema(await readNear(client, table, { name: schema, schema, hosts: [] }), schema),
      ),
    checkEditable() {},
    merge: async (tenants, { dryRun }) =>
      await change(undefined, async (client, table) => {
        const plan = planMerge(entriesOf((await client.query<Row>(table.select)).rows, table.label), tenants, table);
        if (dryRun) return plan;
        const wanted = new Map(tenants.map((tenant) => [tenant.name, tenant]));
        const those = (names: readonly string[]) => names.flatMap((name) => wanted.get(name) ?? []);
        for (const tenant of those(plan.changed)) await update(client, table, tenant);
        await insert(client, table, those(plan.added));
        return plan;
      }),
  };
}

/** The tenants that this one could collide with, found by the server; whether they do, the rules say. */
async function readNear(
  client: Client,
  table: Table,
  tenant: Pick<Tenant, "name" | "schema" | "hosts">,
): Promise<Map<string, TenantEntry>> {
  const name = `${table.column("name")}::text`;
  const conditions = [`${name} = $1`];
  if (table.kinds.has("schema")) {
    const schema = `${table.column("schema")}::text`;
    conditions.push(`${schema} = $2`, `(${schema} is null and ${name} = $2)`);
  } else conditions.push(`${name} = $2`);
  const hosts = table.kinds.has("hosts") ? tenant.hosts.map(partOf) : [];
  const values: unknown[] = [tenant.name, tenant.schema];
  if (hosts.length > 0) {
    values.push(hosts);
    conditions.push(
      `exists (select from unnest($3::text[]) as host where strpos(lower(to_jsonb(${table.column("hosts")})::text), host) > 0)`,
    );
  }
  const { rows } = await client.query<Row>(`${table.select} where ${conditions.join(" or ")}`, values);
  return entriesOf(rows, table.label);
}

/** What a row has in it that has this host: an IPv6 address can be written in many ways. */
function partOf(host: string): string {
  return isIPv6(host) ? ":" : JSON.stringify(host.toLowerCase());
}

// Each row is a list of parameters without types, so that each takes its column's, and what is too long is refused.
const rowsPerStatement = 500;

async function insert(client: Client, table: Table, tenants: readonly Tenant[]): Promise<void> {
  const columns = keys.filter((key) => table.kinds.has(key));
  const names = columns.map((key) => identifier(table.columns[key])).join(", ");
  for (let at = 0; at < tenants.length; at += rowsPerStatement) {
    const batch = tenants.slice(at, at + rowsPerStatement);
    const lines = batch.map(
      (_, row) => `(${columns.map((_, column) => `$${row * columns.length + column + 1}`).join(", ")})`,
    );
    await client.query(
      `insert into ${table.quoted} (${names}) values ${lines.join(", ")}`,
      batch.flatMap((tenant) => columns.map((key) => written(tenant, key, table.kinds.get(key)))),
    );
  }
}

const changeable = ["hosts", "labels", "state"] as const;

async function update(
  client: Client,
  table: Table,
  tenant: Tenant,
  keys: readonly RegistryColumn[] = changeable,
): Promise<void> {
  const columns = keys.filter((key) => table.kinds.has(key));
  const settings = columns.map((key, column) => `${identifier(table.columns[key])} = $${column + 2}`).join(", ");
  await client.query(`update ${table.quoted} as t set ${settings} where ${table.column("name")}::text = $1`, [
    tenant.name,
    ...columns.map((key) => written(tenant, key, table.kinds.get(key))),
  ]);
}

function written(tenant: Tenant, key: RegistryColumn, kind: Kind | undefined): unknown {
  if (key === "labels") return JSON.stringify(tenant.labels);
  if (key !== "hosts" || kind === "list") return tenant[key];
  return kind === "json" ? JSON.stringify(tenant.hosts) : (tenant.hosts[0] ?? null);
}

function planMerge(before: ReadonlyMap<string, TenantEntry>, tenants: readonly Tenant[], table: Table): Merged {
  const plan: Merged = { added: [], changed: [], unchanged: [] };
  const after = new Map(before);
  const problems: string[] = [];
  for (const tenant of tenants) {
    const found = before.get(tenant.name);
    const had = found === undefined ? undefined : tenantOf(tenant.name, found);
    if (had === undefined) plan.added.push(tenant.name);
    else plan[isSame(had, tenant) ? "unchanged" : "changed"].push(tenant.name);
    // its data would stay behind in the old one
    if (had !== undefined && had.schema !== tenant.schema)
      problems.push(
        `${tenant.name}: its schema is ${shown(had.schema)}, and can't become ${shown(tenant.schema)} by an import`,
      );
    problems.push(...problemsIn(() => table.checkHolds(tenant)).map((problem) => `${tenant.name}: ${problem}`));
    after.set(tenant.name, entryOf(tenant));
  }
  problems.push(...readTenants(after, table.reserved, []).problems);
  refuse(problems, table.label);
  return plan;
}

function isSame(one: Tenant, other: Tenant): boolean {
  const words = ({ schema, hosts, labels, state }: Tenant) =>
    JSON.stringify([schema, hosts, Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)), state]);
  return words(one) === words(other);
}

/** Says what the server refuses in our words. */
async function asRefusal<T>({ label }: Place, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    const state = sqlState(error);
    if (state === undefined || isConnectionLost(error)) throw error;
    const message = error instanceof Error ? error.message : String(error);
    if (["55P03", "40P01", "40001"].includes(state)) {
      throw new TenantctlError("LOCKED", `somebody else is changing ${label}`, {
        hint: "wait for the other command to end, and try again",
        cause: error,
      });
    }
    throw new TenantctlError("REGISTRY_WRITE", `${label} does not take it: ${message} (SQLSTATE ${state})`, {
      hint: hints[state] ?? "nothing was written",
      cause: error,
    });
  }
}

const hints: Readonly<Record<string, string>> = {
  "23505": "tenantctl list shows the names, schemas and hosts that are taken",
  "23502": "columns that tenantctl does not know need a default",
  "42501": "the role that we connect as lacks a right: grant it select, insert, update and delete on the table",
};
