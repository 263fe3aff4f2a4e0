// Registry room: the registry that is the config file itself.

import path from "node:path";
import { findConfig } from "../config/find.js";
import { type Config, checkShape, type TenantEntry, tenantsOf } from "../config/load.js";
import { registryIn } from "../config/shape.js";
import { MEND_HINT } from "../config/source.js";
import { ProblemsError, TenantctlError } from "../errors.js";
import { edited } from "./change.js";
import type { Registry } from "./contract.js";
import { isEditable, listingOf, withEntry, withoutTenant, withTenant } from "./edit.js";
import { entryLine } from "./entry.js";
import { checkWritable, editFile, readText } from "./file.js";
import { shown } from "./names.js";
import { rowsOf } from "./rows.js";
import { settingsProblems } from "./settings.js";
import {
  admit,
  entryOf,
  readTenants,
  reservedBy,
  someHasSchema,
  type Tenant,
  tenantOf,
  unknownTenant,
} from "./tenants.js";

/** The registry of a config that lists the tenants itself. */
export function openFileRegistry(config: Config): Registry {
  const { file } = config;
  const reserved = reservedBy(config.sharedSchemas);
  const name = path.basename(file);
  let entries: ReadonlyMap<string, TenantEntry> = config.tenants;

  const checked = (found: typeof entries) => {
    const { problems, ...owners } = readTenants(found, reserved);
    problems.unshift(...settingsProblems(config));
    if (problems.length > 0)
      throw new ProblemsError("CONFIG_INVALID", `${name} is not valid`, problems, { hint: MEND_HINT });
    return owners;
  };
  const checkEditable = (byHand = "edit it by hand") => {
    if (!isEditable(file)) {
      throw new TenantctlError("CONFIG_NOT_EDITABLE", `${name} is a program and can't be edited: ${byHand}`, {
        hint: "tenants.config.json, .jsonc and .yaml can be",
      });
    }
  };
  const admitTo = (found: typeof entries, tenant: Tenant) => admit(tenant, checked(found), reserved);

  return {
    inDatabase: false,
    tenants: async () => [...checked(entries).tenants.values()],
    list: async () => ({ rows: rowsOf(entries), version: undefined }),
    async add(tenant) {
      checkEditable(lineToAdd(tenant));
      const after = await editFile(file, async (text) => {
        const before = await listingOf(file, text);
        const admitted = admitTo(before.tenants, tenant);
        return await withTenant(file, before, admitted.name, entryOf(admitted));
      });
      entries = after.tenants;
    },
    async remove(name) {
      checkEditable(lineToTakeOut(name));
      const after = await editFile(file, async (text) => {
        const before = await listingOf(file, text);
        const entry = before.tenants.get(name);
        if (entry === undefined) throw unknownTenant(name, before.tenants.keys());
        return { ...(await withoutTenant(file, before, name)), removed: tenantOf(name, entry) };
      });
      entries = after.tenants;
      return after.removed;
    },
    async edit(name, edit) {
      const plan = (found: typeof entries) => {
        const entry = found.get(name);
        if (entry === undefined) throw unknownTenant(name, found.keys());
        const after = edited(name, entry, edit);
        const others = new Map(found);
        others.delete(name);
        if (after.changed.length > 0) admitTo(others, after.tenant);
        return after;
      };
      const first = plan(entries);
      if (!isEditable(file) && first.changed.length === 0) return first;
      checkEditable(`let it say ${entryLine(name, first.entry)}`);
      const after = await editFile(file, async (text) => {
        const before = await listingOf(file, text);
        const { entry, ...done } = plan(before.tenants);
        if (done.changed.length === 0) return { ...before, ...done };
        return { ...(await withEntry(file, before, name, entry)), ...done };
      });
      entries = after.tenants;
      return { tenant: after.tenant, changed: after.changed };
    },
    async checkAdd(tenant) {
      admitTo(entries, tenant);
      checkEditable(lineToAdd(tenant));
      const { tenants } = await listingOf(file, await readText(await checkWritable(file)));
      admitTo(tenants, tenant);
    },
    hasSchema: async (schema) => someHasSchema((await listingOf(file, await readText(file))).tenants, schema),
    checkEditable: (removing) => checkEditable(removing === undefined ? undefined : lineToTakeOut(removing)),
    async merge() {
      throw new TenantctlError(
        "CONFIG_NOT_EDITABLE",
        `${name} lists the tenants itself: there is no table to write to`,
        {
          hint: 'tenantctl init --registry table shows how a table is made; the config names it: "tenants": { "table": "public.tenants" }',
        },
      );
    },
  };
}

function lineToTakeOut(name: string): string {
  return `take ${shown(name)} out of its tenants`;
}

function lineToAdd(tenant: Tenant): string {
  return `add to its tenants ${entryLine(tenant.name, entryOf(tenant))}`;
}

/**
 * The tenants that a file lists which is, or could be, a config.
 *
 * @throws TenantctlError CONFIG_NOT_FOUND; ProblemsError CONFIG_INVALID with everything that is wrong with it.
 */
export async function listedIn(file: string, cwd: string): Promise<Tenant[]> {
  const source = await findConfig({ cwd, config: file });
  const config = await checkShape(source);
  if (registryIn(config.tenants) !== undefined) {
    throw new TenantctlError(
      "CONFIG_INVALID",
      `${source.label} lists no tenants: it says where in the database they are`,
      {
        hint: "tenantctl export -c <that file> writes one that lists them",
      },
    );
  }
  const { tenants, problems } = readTenants(tenantsOf(source, config), reservedBy(config.sharedSchemas ?? []));
  if (problems.length > 0)
    throw new ProblemsError("CONFIG_INVALID", `${source.label} is not valid`, problems, { hint: MEND_HINT });
  return [...tenants.values()];
}
