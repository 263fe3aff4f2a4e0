// The runtime room: who the tenants are, from rows of which some may be wrong: those are left out, and never take what another one has.

import { setImmediate as turn } from "node:timers/promises";
import { pathInWords } from "../config/problems.js";
import type { Tenant } from "../registry/index.js";
import { foldHost, shown } from "../registry/names.js";
import { type Row, readRow } from "../registry/rows.js";
import type { Reserved } from "../registry/tenants.js";
import { Hosts, type HostsOptions } from "./hosts.js";

/** A row as it was read. */
interface Entry {
  /** All that it holds. */
  text: string;
  /** Undefined where it is none. */
  tenant: Tenant | undefined;
  problems: readonly string[];
  /** Its hosts, right or wrong, while they are blocked: it is not served. */
  hosts: readonly string[];
  blocked: boolean;
  /** The reading that had it last, and how often it had it. */
  reading: number;
  times: number;
  /** It is right, and nobody else has what it claims. */
  good: boolean;
}

// Nothing else runs during a piece of work.
const pieceMs = 3;

/**
 * The tenants of the last reading. The next one changes what differs: of several rows that claim one name, schema or host, the one that
 * had it keeps it, and the others are left out. Where none had it all are: a guess could give one tenant's requests to another.
 */
export class Known {
  /** Those that are right, whatever their state. */
  readonly tenants = new Map<string, Tenant>();
  /** The hosts of those that are not archived. */
  readonly hosts: Hosts;
  readonly #entries = new Map<string, Entry>();
  /** Who claims a name, schema, host or subdomain. */
  readonly #claims = new Map<string, Entry[]>();
  /** What is wrong with those that are left out. */
  readonly #wrong = new Map<Entry, readonly string[]>();
  #reading = 0;

  constructor(
    private readonly reserved: Reserved,
    private readonly options: HostsOptions,
  ) {
    this.hosts = new Hosts(options);
  }

  /** What is wrong with the rows that are left out, one line each. */
  get problems(): string[] {
    return [...this.#wrong.values()].flat();
  }

  /** Takes what a reading found. Until it ends, what was known before holds. */
  async update(rows: readonly Row[]): Promise<void> {
    const pause = createPauses();
    this.#reading++;
    const fresh = new Map<string, Entry>();
    const recounted = new Set<Entry>();
    let number = 0;
    for (const row of rows) {
      number++;
      const wait = pause();
      if (wait !== undefined) await wait;
      let text: string;
      let failure: string | undefined;
      try {
        text = textOf(row);
      } catch (error) {
        failure = `row ${number} can't be read: ${(error as Error).message}`;
        text = failure;
      }
      const known = this.#entries.get(text) ?? fresh.get(text);
      if (known === undefined)
        fresh.set(text, failure === undefined ? this.#read(text, row) : this.#none(text, failure));
      else {
        if (known.times !== 1 || known.reading === this.#reading) recounted.add(known);
        known.times = known.reading === this.#reading ? known.times + 1 : 1;
        known.reading = this.#reading;
      }
    }
    const gone: Entry[] = [];
    for (const entry of this.#entries.values()) {
      const wait = pause();
      if (wait !== undefined) await wait;
      if (entry.reading !== this.#reading) gone.push(entry);
    }
    await this.#apply(gone, [...fresh.values()], recounted, pause);
  }

  #read(text: string, row: Row): Entry {
    const read = readRow(row ?? {}, this.reserved);
    const hosts = read.tenant?.hosts ?? hostsOf(row);
    return { text, ...read, hosts, blocked: false, reading: this.#reading, times: 1, good: false };
  }

  #none(text: string, problem: string): Entry {
    const problems = [problem];
    return {
      text,
      tenant: undefined,
      problems,
      hosts: [],
      blocked: false,
      reading: this.#reading,
      times: 1,
      good: false,
    };
  }

  // What new rows claim is entered first, so that it is seen who collides; then each tenant changes in one piece.
  async #apply(
    gone: readonly Entry[],
    fresh: readonly Entry[],
    unsure: Set<Entry>,
    pause: () => Promise<void> | undefined,
  ): Promise<void> {
    /** What tenants had whose rows changed, by whose it was. */
    const held = new Map<string, string>();
    const successors = new Map<string, Entry[]>();
    for (const entry of fresh) {
      const wait = pause();
      if (wait !== undefined) await wait;
      this.#enter(entry, unsure);
      const name = entry.tenant?.name;
      if (name !== undefined) successors.set(name, [...(successors.get(name) ?? []), entry]);
    }
    for (const entry of gone) {
      const wait = pause();
      if (wait !== undefined) await wait;
      this.#withdraw(entry, unsure, held);
      for (const next of successors.get(entry.tenant?.name ?? "") ?? []) this.#judge(next, held);
    }
    for (const entry of unsure) {
      const wait = pause();
      if (wait !== undefined) await wait;
      this.#judge(entry, held);
    }
  }

  #block(entry: Entry, blocked: boolean): void {
    if (entry.blocked === blocked) return;
    entry.blocked = blocked;
    this.hosts.block(entry.hosts, entry.tenant?.name, blocked ? 1 : -1);
  }

  #withdraw(entry: Entry, unsure: Set<Entry>, held: Map<string, string>): void {
    const { text, tenant, good } = entry;
    this.#entries.delete(text);
    this.#wrong.delete(entry);
    unsure.delete(entry);
    this.#block(entry, false);
    if (tenant === undefined) return;
    if (good) {
      this.tenants.delete(tenant.name);
      this.hosts.remove(tenant);
    }
    for (const key of claimsOf(tenant, this.options)) {
      if (good) held.set(key, tenant.name);
      const others = this.#claims.get(key)?.filter((other) => other !== entry) ?? [];
      if (others.length === 0) this.#claims.delete(key);
      else this.#claims.set(key, others);
      for (const other of others) unsure.add(other);
    }
  }

  #enter(entry: Entry, unsure: Set<Entry>): void {
    const { text, tenant, problems } = entry;
    this.#entries.set(text, entry);
    if (tenant === undefined) {
      this.#wrong.set(entry, problems);
      this.#block(entry, true);
      return;
    }
    unsure.add(entry);
    for (const key of claimsOf(tenant, this.options)) {
      const all = this.#claims.get(key);
      if (all === undefined) this.#claims.set(key, [entry]);
      else {
        all.push(entry);
        for (const other of all) unsure.add(other);
      }
    }
  }

  /** Nobody takes what an entry has that is good. One that changed has a right to what its tenant had, but for a name that is there twice. */
  #judge(entry: Entry, held: ReadonlyMap<string, string>): void {
    const { tenant, good, times } = entry;
    if (tenant === undefined || good) return;
    const clash =
      times > 1
        ? nameKey(tenant)
        : claimsOf(tenant, this.options).find(
            (key) =>
              (this.#claims.get(key)?.length ?? 0) > 1 && (key === nameKey(tenant) || held.get(key) !== tenant.name),
          );
    if (clash === undefined) {
      entry.good = true;
      this.#wrong.delete(entry);
      this.tenants.set(tenant.name, tenant);
      this.#block(entry, tenant.state === "archived");
      if (tenant.state !== "archived") this.hosts.add(tenant);
      return;
    }
    this.#block(entry, true);
    const others = this.#claims.get(clash)?.flatMap((other) => (other === entry ? [] : (other.tenant?.name ?? [])));
    this.#wrong.set(entry, [`${pathInWords([tenant.name])}: ${clashText(clash, others?.[0])}`]);
  }
}

/** All that a row holds, whatever that is. */
function textOf(row: Row | null): string {
  const plain = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
  return JSON.stringify([row?.name, row?.schema, row?.hosts, row?.labels, row?.state], plain);
}

/** The hosts of a row that is none. */
function hostsOf(row: Row | null): string[] {
  const hosts: unknown[] = [row?.hosts ?? []].flat();
  return hosts.filter((host) => typeof host === "string").map(foldHost);
}

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

const nameKey = ({ name }: Tenant) => `name ${name}`;

// What one tenant alone may have. A host that a row has twice is its own.
function claimsOf(tenant: Tenant, { subdomainsOf }: HostsOptions): string[] {
  const keys = [nameKey(tenant), `schema ${tenant.schema}`];
  for (const host of tenant.hosts.length > 1 ? new Set(tenant.hosts) : tenant.hosts) keys.push(`host ${host}`);
  if (subdomainsOf !== undefined) keys.push(`subdomain ${tenant.name.toLowerCase()}`);
  return keys;
}

function clashText(key: string, other: string | undefined): string {
  const [what = ""] = key.split(" ", 1);
  if (what === "name" || other === undefined) return "the name is listed twice";
  return `${what} ${shown(key.slice(what.length + 1))} is already that of tenant ${shown(other)}`;
}
