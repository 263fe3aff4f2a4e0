// The runtime room: which tenant a request's Host header leads to.

import { isIPv6 } from "node:net";
import { TenantctlError } from "../errors.js";
import type { Tenant } from "../registry/index.js";
import { foldHost, shown } from "../registry/names.js";

export interface HostsOptions {
  /** `polls.local`: each tenant is also served under its own name as a subdomain, `thor.polls.local`. */
  subdomainsOf?: string;
}

const maxSpellings = 10_000;

/** The hosts of all tenants. An exact host wins over a tenant's subdomain, and that over a wildcard. */
export class Hosts {
  readonly #exact = new Map<string, Tenant>();
  /** By what comes after `*.`. */
  readonly #wildcards = new Map<string, Tenant>();
  readonly #names = new Map<string, Tenant>();
  /** Hosts of tenants that are not served, and how many claim each: neither a subdomain nor a wildcard leads on from them. */
  readonly #blocked = new Map<string, number>();
  /** Names of tenants that are not served, and how many have each: no wildcard leads on from their subdomains. */
  readonly #blockedNames = new Map<string, number>();
  readonly #parent: string | undefined;
  /** Other spellings of known hosts, as headers had them: with a port, in upper case. */
  readonly #spellings = new Map<string, Tenant>();

  constructor(options: HostsOptions) {
    this.#parent = options.subdomainsOf === undefined ? undefined : parentOf(options.subdomainsOf);
  }

  /** Adds a tenant's hosts, which nobody else may have, and its subdomain. */
  add(tenant: Tenant): void {
    this.#spellings.clear();
    for (const host of tenant.hosts) {
      if (host.startsWith("*.")) this.#wildcards.set(host.slice(2), tenant);
      else this.#exact.set(host, tenant);
    }
    if (this.#parent !== undefined) this.#names.set(tenant.name.toLowerCase(), tenant);
  }

  /** Takes a tenant's hosts and its subdomain away. */
  remove({ hosts, name }: Tenant): void {
    this.#spellings.clear();
    for (const host of hosts) {
      if (host.startsWith("*.")) this.#wildcards.delete(host.slice(2));
      else this.#exact.delete(host);
    }
    if (this.#parent !== undefined) this.#names.delete(name.toLowerCase());
  }

  /** Lets nobody else be led to by the hosts of a tenant that is not served, nor by its subdomain; `by` -1 takes that back. */
  block(hosts: readonly string[], name: string | undefined, by: 1 | -1): void {
    this.#spellings.clear();
    for (const host of hosts) count(this.#blocked, host, by);
    if (name !== undefined) count(this.#blockedNames, name.toLowerCase(), by);
  }

  /** How many other spellings it knows at the moment. */
  get remembered(): number {
    return this.#spellings.size;
  }

  /** The tenant of a Host header's value, whatever that holds. */
  find(header: string): Tenant | undefined {
    return this.#exact.get(header) ?? this.#spellings.get(header) ?? this.#look(header);
  }

  #look(header: string): Tenant | undefined {
    const host = hostOf(header);
    if (host === undefined) return undefined;
    const tenant = this.#exact.get(host) ?? (this.#blocked.has(host) ? undefined : this.#byParent(host));
    if (tenant === undefined) return undefined;
    if (this.#spellings.size >= maxSpellings) this.#spellings.clear();
    this.#spellings.set(header, tenant);
    return tenant;
  }

  #byParent(host: string): Tenant | undefined {
    const dot = host.indexOf(".");
    if (dot <= 0) return undefined;
    const parent = host.slice(dot + 1);
    if (parent === this.#parent) {
      const name = host.slice(0, dot);
      const tenant = this.#names.get(name);
      if (tenant !== undefined || this.#blockedNames.has(name)) return tenant;
    }
    return this.#wildcards.get(parent);
  }
}

function count(of: Map<string, number>, key: string, by: 1 | -1): void {
  const now = (of.get(key) ?? 0) + by;
  if (now === 0) of.delete(key);
  else of.set(key, now);
}

/**
 * The host that a Host header names, as the registry keeps it: without port and last dot. Undefined for what can be none. Nothing
 * in it makes it throw.
 */
export function hostOf(header: string): string | undefined {
  if (typeof header !== "string" || header.length > 260) return undefined; // 253, a dot, a port
  const [, address, name] = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9_.-]+?)\.?)(?::\d{0,5})?$/.exec(header) ?? [];
  if (address !== undefined) return isIPv6(address) ? foldHost(address) : undefined;
  if (name === undefined || name.length > 253 || name.startsWith(".") || name.includes("..")) return undefined;
  return name.toLowerCase();
}

function parentOf(text: string): string {
  const parent = hostOf(text);
  if (parent === undefined || parent.startsWith("*"))
    throw new TenantctlError("USAGE", `subdomainsOf: ${shown(text)} is no host`, { hint: 'such as "polls.local"' });
  return parent;
}
