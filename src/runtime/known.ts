// The runtime room: who the tenants are, from rows of which some may be wrong: those are left out, and never take what another one has.

import { setImmediate as turn } from "node:timers/promises";
import { pathInWords } from "../config/problems.js";
import type { Tenant } from "../registry/index.js";
import { shown } from "../registry/names.js";
import { type ReadRow, type Row, readRow } from "../registry/rows.js";
import type { Reserved } from "../registry/tenants.js";
import { Hosts, type HostsOptions } from "./hosts.js";

/** The tenants of one reading of the registry. */
export interface Known {
  /** Those that are right, whatever their state. */
  tenants: ReadonlyMap<string, Tenant>;
  /** The hosts of those that are not archived. */
  hosts: Hosts;
  /** What is wrong with the rows that were left out, one line each. */
  problems: readonly string[];
  /** What each row was read as, by what it held. */
  readRows: ReadonlyMap<string, ReadRow>;
  /** The row that has each name, schema and host: of those that are right. */
  holders: ReadonlyMap<string, string>;
}

export const nobodyKnown: Known = {
  tenants: new Map(),
  hosts: new Hosts({}),
  problems: [],
  readRows: new Map(),
  holders: new Map(),
};

// Nothing else runs during a piece.
const pieceMs = 3;

/** Gives way to whatever else waits, now and then. */
function createPauses(): () => Promise<void> | undefined {
  let count = 0;
  let began = performance.now();
  return () => {
    if (++count % 32 !== 0 || performance.now() - began < pieceMs) return undefined;
    return turn().then(() => {
      began = performance.now();
    });
  };
}

/**
 * Who the tenants are now. Of several rows that claim one name, schema or host, the one that had it in the last reading keeps it, and the
 * others are left out; where none had it, all are: a guess could give one tenant's requests to another.
 */
export async function readKnown(
  rows: readonly Row[],
  before: Known,
  reserved: Reserved,
  options: HostsOptions,
): Promise<Known> {
  const pause = createPauses();
  const problems: string[] = [];
  const readRows = new Map<string, ReadRow>();
  const claims = new Map<string, string | string[]>();
  const good: { text: string; tenant: Tenant }[] = [];
  for (const row of rows) {
    const wait = pause();
    if (wait !== undefined) await wait;
    const text = JSON.stringify([row.name, row.schema, row.hosts, row.labels, row.state]);
    const read = before.readRows.get(text) ?? readRow(row, reserved);
    readRows.set(text, read);
    problems.push(...read.problems);
    const { tenant } = read;
    if (tenant === undefined) continue;
    good.push({ text, tenant });
    for (const key of claimsOf(tenant, options)) {
      const others = claims.get(key);
      if (others === undefined) claims.set(key, tenant.name);
      else if (typeof others === "string") claims.set(key, [others, tenant.name]);
      else others.push(tenant.name);
    }
  }
  const tenants = new Map<string, Tenant>();
  const holders = new Map<string, string>();
  const hosts = new Hosts(options);
  for (const { text, tenant } of good) {
    const wait = pause();
    if (wait !== undefined) await wait;
    const keys = claimsOf(tenant, options);
    const clash = keys.find((key) => typeof claims.get(key) !== "string" && !keeps(before, key, text, tenant));
    if (clash !== undefined) {
      problems.push(`${pathInWords([tenant.name])}: ${clashText(clash, tenant, claims.get(clash))}`);
      continue;
    }
    tenants.set(tenant.name, tenant);
    for (const key of keys) holders.set(key, key.startsWith("name ") ? text : tenant.name);
    if (tenant.state !== "archived") hosts.add(tenant);
  }
  return { tenants, hosts, problems, readRows, holders };
}

// What one tenant alone may have.
function claimsOf({ name, schema, hosts }: Tenant, { subdomainsOf }: HostsOptions): string[] {
  const keys = [`name ${name}`, `schema ${schema}`];
  for (const host of hosts) keys.push(`host ${host}`);
  if (subdomainsOf !== undefined) keys.push(`subdomain ${name.toLowerCase()}`);
  return keys;
}

function keeps({ holders }: Known, key: string, text: string, { name }: Tenant): boolean {
  return holders.get(key) === (key.startsWith("name ") ? text : name);
}

function clashText(key: string, { name }: Tenant, claimants: string | readonly string[] | undefined): string {
  const [what = ""] = key.split(" ", 1);
  if (what === "name") return "the name is listed twice";
  const other = [claimants ?? []].flat().find((claimant) => claimant !== name);
  const thing = shown(key.slice(what.length + 1));
  return other === undefined
    ? `${what} ${thing} is listed twice`
    : `${what} ${thing} is already that of tenant ${shown(other)}`;
}
