// Registry room: what a tenant that is listed is to become: its state, its hosts, its labels, and never its schema.

import type { TenantEntry, TenantState } from "../config/shape.js";
import { TenantctlError } from "../errors.js";
import { foldHost, shown } from "./names.js";
import { type Tenant, tenantOf } from "./tenants.js";

/** What is to change of a tenant; what is not named stays. Its schema can't: its data would stay behind in the old one. */
export interface TenantEdit {
  state?: TenantState | undefined;
  /** Labels that it gets, or whose value becomes this one. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Keys of labels that it loses. */
  removeLabels?: readonly string[] | undefined;
  /** Hosts that lead to it besides. */
  hosts?: readonly string[] | undefined;
  /** Hosts that no longer do. */
  removeHosts?: readonly string[] | undefined;
}

/** What became of a tenant that was edited. */
export interface TenantEdited {
  tenant: Tenant;
  /** What is not as it was; empty: there was nothing to change. */
  changed: ("hosts" | "labels" | "state")[];
}

/** @throws TenantctlError USAGE for an edit that says nothing, or gives and takes the same. */
export function checkEdit({ state, labels = {}, removeLabels = [], hosts = [], removeHosts = [] }: TenantEdit): void {
  const refuse = (message: string, hint: string): never => {
    throw new TenantctlError("USAGE", message, { hint });
  };
  const keys = Object.keys(labels);
  if (state === undefined && [keys, removeLabels, hosts, removeHosts].every((list) => list.length === 0))
    refuse("nothing is said that is to change", "--state, --label, --remove-label, --host or --remove-host");
  const label = removeLabels.find((key) => keys.includes(key));
  if (label !== undefined) refuse(`the label ${shown(label)} is both given and taken`, "--label alone changes it");
  const given = new Set(hosts.map(foldHost));
  const host = removeHosts.find((one) => given.has(foldHost(one)));
  if (host !== undefined) refuse(`the host ${shown(host)} is both given and taken`, "choose one");
}

/** A tenant's entry after an edit, and what that changes. Keys that stay keep their order; of hosts that stay, so does the spelling. */
export function edited(name: string, entry: TenantEntry, edit: TenantEdit): TenantEdited & { entry: TenantEntry } {
  const [labels, hosts] = [labelsAfter(entry, edit), hostsAfter(entry, edit)];
  const state = edit.state ?? entry.state;
  const wanted: TenantEntry = {
    ...entry,
    ...(hosts.length === 0 ? {} : { hosts }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(state === undefined || state === "active" ? {} : { state }),
  };
  const before = tenantOf(name, entry);
  const tenant = tenantOf(name, { ...entry, hosts, labels, ...(state === undefined ? {} : { state }) });
  const changed = (["hosts", "labels", "state"] as const).filter((key) => words(before[key]) !== words(tenant[key]));
  const gone = changed.filter((key) => isDefault(tenant[key]));
  const kept = Object.entries(wanted).filter(([key]) => !gone.includes(key as (typeof gone)[number]));
  return { tenant, changed, entry: changed.length === 0 ? entry : Object.fromEntries(kept) };
}

function labelsAfter({ labels = {} }: TenantEntry, edit: TenantEdit): Record<string, string> {
  const gone = new Set(edit.removeLabels);
  return Object.fromEntries(Object.entries({ ...labels, ...edit.labels }).filter(([key]) => !gone.has(key)));
}

function hostsAfter({ hosts = [] }: TenantEntry, edit: TenantEdit): string[] {
  const had = new Set(hosts.map(foldHost));
  const gone = new Set(edit.removeHosts?.map(foldHost));
  const added = new Set(edit.hosts?.map(foldHost).filter((host) => !had.has(host)));
  return [...hosts.filter((host) => !gone.has(foldHost(host))), ...added];
}

const words = (value: Tenant["hosts" | "labels" | "state"]) => JSON.stringify(value);

/** What an entry leaves out. */
function isDefault(value: Tenant["hosts" | "labels" | "state"]): boolean {
  return value === "active" || (typeof value === "object" && Object.keys(value).length === 0);
}
