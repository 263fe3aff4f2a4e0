// The runtime room: things of which each tenant has one of its own, made when they are first needed.

import type { Tenant } from "../registry/index.js";

export interface PerTenantOptions<T> {
  /** How many are kept; beyond that, the one that was not asked for longest goes. Default: 100. */
  max?: number;
  /** Called with one that goes: it may be in use still. */
  end?: (thing: T) => unknown;
}

/** `current` throws where there is no tenant. What `make` gave is kept for as long as the tenant's schema stays the same. */
export function perTenant<T>(
  current: () => Tenant,
  make: (tenant: Tenant) => T,
  { max = 100, end }: PerTenantOptions<T> = {},
): () => T {
  const things = new Map<string, T>();
  return () => {
    const tenant = current();
    const key = JSON.stringify([tenant.name, tenant.schema]);
    const known = things.get(key);
    const thing = things.has(key) ? (known as T) : make(tenant);
    things.delete(key);
    things.set(key, thing); // a Map keeps the order of insertion: the first is the one to go
    for (const [oldest, old] of things) {
      if (things.size <= max) break;
      things.delete(oldest);
      end?.(old);
    }
    return thing;
  };
}
