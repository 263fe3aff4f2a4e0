// The runtime room: who the tenants are just now: the registry as it was read last, read again in the background and when a name or host is new.

import { AsyncResource } from "node:async_hooks";
import type { Tenant } from "../registry/index.js";
import { Hosts, type HostsOptions, hostOf } from "./hosts.js";
import { checkedTenants, type TenantSource } from "./registry.js";

export interface DirectoryOptions extends HostsOptions {
  /** How often the registry is read again, in milliseconds: a tenant that was removed is served no longer than that. Default: 5000. */
  refreshMs?: number;
  /** How often at most an unknown name or host makes it be read at once, in milliseconds. Default: 1000. */
  missMs?: number;
  /** Hears of a registry that can't be read or is wrong; the last good one stays. Default: a warning of the process. */
  onError?: (error: Error) => void;
}

export interface Directory {
  /** From what was read last. */
  byName(name: string): Tenant | undefined;
  byHost(host: string): Tenant | undefined;
  /** Reads the registry again before it says that there is none. */
  findByName(name: string): Promise<Tenant | undefined>;
  findByHost(host: string): Promise<Tenant | undefined>;
  close(): void;
}

interface Known {
  names: ReadonlyMap<string, Tenant>;
  hosts: Hosts;
}

/**
 * Reads the registry, and goes on reading it until it is closed.
 *
 * @throws whatever the registry throws at its first reading; ProblemsError CONFIG_INVALID for names and hosts that collide.
 */
export async function openDirectory(
  source: TenantSource,
  sharedSchemas: readonly string[],
  options: DirectoryOptions,
): Promise<Directory> {
  const { refreshMs = 5_000, missMs = 1_000, onError = warn } = options;
  const read = async (): Promise<Known> => {
    const all = checkedTenants(await source.tenants(), sharedSchemas);
    const tenants = all.filter(({ state }) => state === "active");
    return { names: new Map(tenants.map((tenant) => [tenant.name, tenant])), hosts: new Hosts(tenants, options) };
  };
  let known = await read();
  let reading: Promise<void> | undefined;
  let readAt = performance.now();
  let told: string | undefined;
  let closed = false;

  // One at a time, whoever asks; in nobody's name, since all wait for it.
  const nobody = new AsyncResource("tenantctl.directory");
  const refresh = () => (reading ??= nobody.runInAsyncScope(readAgain));
  async function readAgain(): Promise<void> {
    readAt = performance.now();
    try {
      known = await read();
      told = undefined;
    } catch (error) {
      const problem = error instanceof Error ? error : new Error(String(error));
      if (problem.message !== told) onError(problem); // once, not every few seconds
      told = problem.message;
    } finally {
      reading = undefined;
    }
  }

  let timer: NodeJS.Timeout | undefined;
  function schedule(): void {
    timer = setTimeout(() => void refresh().finally(() => closed || schedule()), refreshMs);
    timer.unref();
  }
  nobody.runInAsyncScope(schedule);

  async function find(look: () => Tenant | undefined): Promise<Tenant | undefined> {
    const found = look();
    if (found !== undefined || closed) return found;
    if (reading === undefined && performance.now() - readAt < missMs) return undefined;
    await refresh();
    return look();
  }

  return {
    byName: (name) => known.names.get(name),
    byHost: (host) => known.hosts.find(host),
    findByName: (name) => find(() => known.names.get(name)),
    async findByHost(host) {
      const found = known.hosts.find(host);
      if (found !== undefined || hostOf(host) === undefined) return found; // no registry has what is no host
      return await find(() => known.hosts.find(host));
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function warn(error: Error): void {
  process.emitWarning(`the registry can't be read, the last one is used: ${error.message}`, "TenantctlWarning");
}
