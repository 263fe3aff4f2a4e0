// Registry room: the registry that is what a query answers, over tables that the application has anyway. Read only.

import type { Config } from "../config/load.js";
import type { RegistryQuery } from "../config/shape.js";
import { MEND_HINT } from "../config/source.js";
import type { Client, Database } from "../database/database.js";
import { errorField, isConnectionLost, sqlState } from "../database/errors.js";
import { withTransaction } from "../database/transaction.js";
import { ProblemsError, TenantctlError } from "../errors.js";
import { edited } from "./change.js";
import type { Registry } from "./contract.js";
import { entryLine } from "./entry.js";
import { readListing } from "./listing.js";
import { shown } from "./names.js";
import { type Row, tenantsOfRows } from "./rows.js";
import { settingsProblems } from "./settings.js";
import { missing } from "./table.js";
import { entryOf, reservedBy, type Tenant, unknownTenant } from "./tenants.js";

const label = "the registry's query";

/** The registry of a config that has a query. */
export function openQueryRegistry(
  config: Config,
  { query }: RegistryQuery,
  database: () => Promise<Database>,
): Registry {
  const { sharedSchemas } = config;
  const refuse = (hint: string): never => {
    throw new TenantctlError("CONFIG_NOT_EDITABLE", "the tenants are what a query answers, and can't be edited", {
      hint,
    });
  };
  const refuseAdd = ({ name, schema, hosts, labels }: Tenant) =>
    refuse(
      `insert the row with which it answers ${entryLine(name, { schema, hosts, labels })}; then tenantctl migrate ${name}`,
    );

  async function read<T>(look: (client: Client) => Promise<T>): Promise<T> {
    const problems = settingsProblems(config);
    if (problems.length > 0)
      throw new ProblemsError("CONFIG_INVALID", "the config is not valid", problems, { hint: MEND_HINT });
    // unqualified names lead where shared migrations put their tables
    const searchPath = sharedSchemas.length > 0 ? sharedSchemas : ["public"];
    const refused = (error: unknown) => {
      throw refusal(error);
    };
    return await withTransaction(await database(), (client) => look(client).catch(refused), {
      readOnly: true,
      searchPath,
    });
  }

  async function tenants(): Promise<Tenant[]> {
    const rows = await read((client) => ask(client, query));
    return [...tenantsOfRows(rows, reservedBy(sharedSchemas), label).tenants.values()];
  }

  return {
    inDatabase: true,
    tenants,
    list: async (known) =>
      await read(async (client) => {
        const listing = await readListing(client, query.replace(/;\s*$/, ""), known);
        if (listing?.rows[0] !== undefined && !("name" in listing.rows[0])) throw nameless();
        return listing;
      }),
    add: async (tenant) => refuseAdd(tenant),
    checkAdd: async (tenant) => refuseAdd(tenant),
    hasSchema: async (schema) => (await tenants()).some((tenant) => tenant.schema === schema),
    remove: async (name) => refuse(`delete the row from which it answers ${shown(name)}`),
    async edit(name, edit) {
      const found = new Map((await tenants()).map((tenant) => [tenant.name, tenant]));
      const tenant = found.get(name);
      if (tenant === undefined) throw unknownTenant(name, found.keys());
      const { entry, ...after } = edited(name, entryOf(tenant), edit);
      if (after.changed.length === 0) return after;
      return refuse(`change the rows, so that it answers ${entryLine(name, entry)}`);
    },
    checkEditable(removing) {
      refuse(removing === undefined ? "change the rows" : `delete the row from which it answers ${shown(removing)}`);
    },
    merge: async () => refuse('name a table: "tenants": { "table": "public.tenants" }'),
  };
}

async function ask(client: Client, text: string): Promise<Row[]> {
  // the extended protocol takes one statement, so that none can follow that ends the transaction
  const config = { text, queryMode: "extended" } as { text: string };
  const { rows, fields } = await client.query<Row & object>(config);
  if (rows.length === 0 || fields.some((field) => field.name === "name")) return rows;
  throw nameless();
}

function nameless(): TenantctlError {
  return new TenantctlError("REGISTRY_INVALID", `${label} answers no column called name`, {
    hint: "select … as name; schema, hosts, labels and state may be there too",
  });
}

function refusal(error: unknown): unknown {
  const state = sqlState(error);
  if (state === undefined || isConnectionLost(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (state === "42P01" || state === "3F000") return missing(`${label} can't be answered: ${message}`, error);
  return new TenantctlError("REGISTRY_INVALID", `${label} can't be answered: ${message} (SQLSTATE ${state})`, {
    hint:
      errorField(error, "hint") ??
      'it is one statement that only reads, as in { "query": "select name, schema from …" }',
    cause: error,
  });
}
