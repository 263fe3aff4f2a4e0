// The runtime room: who the tenants are just now: the registry as it was read last, read again in the background and when a name or host is new.

import { AsyncResource } from "node:async_hooks";
import { ProblemsError } from "../errors.js";
import type { Tenant, TenantState } from "../registry/index.js";
import type { Registry } from "../registry/registry.js";
import { reservedBy } from "../registry/tenants.js";
import { type HostsOptions, hostOf } from "./hosts.js";
import { Known } from "./known.js";

export interface DirectoryOptions extends HostsOptions {
  /**
   * How often the registry is read again, in milliseconds: a tenant that was removed is served no longer than that. Default: 5000. More
   * than 300000 (5 minutes) is taken as that: a schema name that was given up may be another tenant's after 10 minutes.
   */
  refreshMs?: number;
  /** How often at most an unknown name or host makes it be read at once, in milliseconds. Default: 1000. */
  missMs?: number;
  /**
   * Hears of a registry that can't be read: the last good one stays; and of rows that are wrong: those are left out, the others are
   * served. Once for each change of what is wrong. Default: a warning of the process.
   */
  onError?: (error: Error) => void;
}

/** Which tenants are listed. */
export interface TenantFilter {
  /** Default: active. */
  state?: TenantState | "all";
  /** Those that have all of these labels. */
  label?: Readonly<Record<string, string>>;
}

/** Tenants that are active or suspended; archived ones are as if they were not there. */
export interface Directory {
  /** From what was read last. */
  byName(name: string): Tenant | undefined;
  byHost(host: string): Tenant | undefined;
  /** Reads the registry again before it says that there is none. */
  findByName(name: string): Promise<Tenant | undefined>;
  findByHost(host: string): Promise<Tenant | undefined>;
  /** By their names. */
  list(filter?: TenantFilter): Tenant[];
  close(): void;
}

/** Where a directory's rows come from. */
export type Listed = Pick<Registry, "list">;

/** How long a reading may take that somebody waits for: a table may be locked, and a connection lost without a word. */
const longestReadMs = 30_000;

/** The longest refreshMs that is accepted. */
const longestRefreshMs = 300_000;

/**
 * Reads the registry, and goes on reading it until it is closed.
 *
 * @throws whatever the registry throws at its first reading. Rows that are wrong are left out.
 */
export async function openDirectory(
  source: Listed,
  sharedSchemas: readonly string[],
  options: DirectoryOptions,
): Promise<Directory> {
  const { missMs = 1_000 } = options;
  const refreshMs = Math.min(options.refreshMs ?? 5_000, longestRefreshMs);
  const known = new Known(reservedBy(sharedSchemas), options);
  let version: string | undefined;
  let told: string | undefined;
  let closed = false;

  // Once, not every few seconds.
  function tell(error: Error | undefined, what: string): void {
    const known = error === undefined || error.message === told;
    told = error?.message;
    if (known) return;
    try {
      (options.onError ?? warn(what))(error);
    } catch (thrown) {
      warn("onError threw: ")(asError(thrown)); // no reading may end with it: there would be no next one
    }
  }
  async function read(within = 0): Promise<void> {
    const listing = await inTime(source.list(version), within);
    if (listing === undefined) return;
    await known.update(listing.rows);
    version = listing.version;
  }
  const tellRows = () => tell(wrongRows(known.problems), "");
  let beganAt = performance.now();
  await read();
  tellRows();

  // One at a time, whoever asks; in nobody's name, since all wait for it. What was asked for while one goes on waits for the next one:
  // a tenant may have been listed after the reading began.
  const nobody = new AsyncResource("tenantctl.directory");
  let current: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;
  const refresh = () => (next ??= nobody.runInAsyncScope(() => current.then(begin)));
  function begin(): Promise<void> {
    next = undefined;
    beganAt = performance.now();
    current = read(longestReadMs).then(tellRows, (error: unknown) =>
      tell(asError(error), "the registry can't be read, the last one is used: "),
    );
    return current;
  }

  let timer: NodeJS.Timeout | undefined;
  function schedule(): void {
    timer = setTimeout(() => void refresh().finally(() => closed || schedule()), refreshMs);
    timer.unref();
  }
  nobody.runInAsyncScope(schedule);

  // Whoever asks for the same one as somebody who waits, waits with them.
  const waiting = new Map<string, Promise<void>>();
  async function find(key: string, look: () => Tenant | undefined): Promise<Tenant | undefined> {
    const found = look();
    if (found !== undefined || closed) return found;
    const asked = waiting.get(key);
    if (asked === undefined && next === undefined && performance.now() - beganAt < missMs) return undefined;
    const answered = asked ?? refresh().finally(() => waiting.delete(key));
    waiting.set(key, answered);
    await answered;
    return look();
  }

  const byName = (name: string) => {
    const tenant = known.tenants.get(name);
    return tenant?.state === "archived" ? undefined : tenant;
  };
  return {
    byName,
    byHost: (host) => known.hosts.find(host),
    findByName: (name) => find(`name ${name}`, () => byName(name)),
    async findByHost(host) {
      const found = known.hosts.find(host);
      if (found !== undefined || hostOf(host) === undefined) return found; // no registry has what is no host
      return await find(`host ${host}`, () => known.hosts.find(host));
    },
    list({ state = "active", label = {} } = {}) {
      const labels = Object.entries(label);
      const isMeant = (tenant: Tenant) =>
        (state === "all" || tenant.state === state) &&
        labels.every(([key, value]) => Object.hasOwn(tenant.labels, key) && tenant.labels[key] === value);
      return [...known.tenants.values()].filter(isMeant).sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

const problemsShown = 3;

/** What is wrong with the rows that were left out. */
function wrongRows(problems: readonly string[]): Error | undefined {
  if (problems.length === 0) return undefined;
  const more = problems.length - problemsShown;
  const first = problems.slice(0, problemsShown).join("; ") + (more > 0 ? `; and ${more} more` : "");
  const summary = "the registry has rows that are wrong; their tenants are not served";
  return new ProblemsError("REGISTRY_INVALID", problems.length === 1 ? summary : `${summary}: ${first}`, problems, {
    hint: "fix the rows; tenantctl list names all that is wrong",
  });
}

/** What comes later than in `ms` goes to nobody; 0 waits for ever. */
async function inTime<T>(promise: Promise<T>, ms: number): Promise<T> {
  if (ms === 0) return await promise;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms / 1000} s`)), ms).unref();
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function warn(what: string): (error: Error) => void {
  return (error) => process.emitWarning(what + error.message, "TenantctlWarning");
}
