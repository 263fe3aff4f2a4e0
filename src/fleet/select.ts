// The fleet room: which tenants an operation is for.

import { createHash } from "node:crypto";
import { TenantctlError } from "../errors.js";
import type { Tenant, TenantState } from "../registry/registry.js";
import { unknownTenant } from "../registry/tenants.js";

export interface Selection {
  /** Names or globs; none means all. */
  tenants?: readonly string[];
  /** Names or globs to leave out. */
  except?: readonly string[];
  /** Labels that a tenant must have, as key=value. */
  labels?: readonly string[];
  /** States that a tenant may be in, or "all". Without it: all but archived ones, and those too that are named. */
  states?: readonly (TenantState | "all")[];
  /** `i/n`: the i-th of n parts of the fleet, by a hash of the name. */
  shard?: string;
}

/**
 * Selects tenants, in the registry's order.
 * @throws TenantctlError TENANT_UNKNOWN for a name that no tenant has, to take or to leave out, or a glob that no name matches; USAGE for a malformed glob, label or shard.
 */
export async function selectTenants(all: readonly Tenant[], selection: Selection): Promise<Tenant[]> {
  const inState = stateTest(selection);
  const named = await matcher(selection.tenants ?? [], all, all.filter(inState));
  const excepted = await matcher(selection.except ?? [], all, undefined);
  const labels = (selection.labels ?? []).map(parseLabel);
  const inShard = selection.shard === undefined ? () => true : shardTest(selection.shard);
  return all.filter(
    (tenant) =>
      inState(tenant) &&
      (selection.tenants?.length ? named(tenant.name) : true) &&
      !excepted(tenant.name) &&
      labels.every(([key, value]) => Object.hasOwn(tenant.labels, key) && tenant.labels[key] === value) &&
      inShard(tenant.name),
  );
}

// What is archived is out of the way, until it is named or asked for.
function stateTest({ tenants = [], states }: Selection): (tenant: Tenant) => boolean {
  const named = new Set(tenants);
  if (states === undefined) return ({ state, name }) => state !== "archived" || named.has(name);
  return ({ state }) => states.includes("all") || states.includes(state);
}

async function matcher(
  patterns: readonly string[],
  all: readonly Tenant[],
  mustMatch: readonly Tenant[] | undefined,
): Promise<(name: string) => boolean> {
  if (patterns.length === 0) return () => false;
  const names = new Set(all.map((tenant) => tenant.name));
  const exact = new Set<string>();
  const globs: ((name: string) => boolean)[] = [];
  for (const pattern of patterns) {
    if (names.has(pattern)) exact.add(pattern);
    else if (/[*?[\]{}!()]/.test(pattern)) globs.push(await globOf(pattern, mustMatch));
    else throw unknownTenant(pattern, names);
  }
  return (name) => exact.has(name) || globs.some((matches) => matches(name));
}

async function globOf(pattern: string, mustMatch: readonly Tenant[] | undefined): Promise<(name: string) => boolean> {
  const { default: picomatch } = await import("picomatch");
  const matches = compiled(() => picomatch(pattern, { dot: true, nonegate: false }));
  if (mustMatch && !mustMatch.some(({ name }) => matches(name))) {
    throw new TenantctlError("TENANT_UNKNOWN", `no tenant's name matches ${JSON.stringify(pattern)}`, {
      hint: "tenantctl list shows the names",
    });
  }
  return (name) => matches(name);
}

// It refuses what is too long, with an error that is none of ours.
function compiled<T>(compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TenantctlError("USAGE", `no glob: ${reason}`, { hint: "for example 'acme-*'", cause: error });
  }
}

/** `key=value` as a pair. @throws TenantctlError USAGE. */
export function parseLabel(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at < 1)
    throw new TenantctlError("USAGE", `a label is key=value, not ${JSON.stringify(text)}`, {
      hint: "for example --label plan=free",
    });
  return [text.slice(0, at), text.slice(at + 1)];
}

function shardTest(shard: string): (name: string) => boolean {
  const match = /^(\d{1,6})\/(\d{1,6})$/.exec(shard);
  const [index, count] = [Number(match?.[1]), Number(match?.[2])];
  if (!match || index < 1 || index > count) {
    throw new TenantctlError("USAGE", `a shard is i/n with i from 1 to n, not ${JSON.stringify(shard)}`, {
      hint: "for example --shard 1/4 … --shard 4/4",
    });
  }
  return (name) => createHash("sha256").update(name).digest().readUInt32BE(0) % count === index - 1;
}
