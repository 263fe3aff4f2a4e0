// Registry room: a tenant into the text of a config file, and out of it.

import path from "node:path";
import { parseConfigText } from "../config/find.js";
import { checkShape, tenantsOf } from "../config/load.js";
import type { TenantEntry } from "../config/shape.js";
import { TenantctlError } from "../errors.js";
import { entryLine } from "./entry.js";
import { shown } from "./names.js";

/** Can the file be edited at all? A program can't. */
export function isEditable(file: string): boolean {
  return /\.(jsonc?|ya?ml)$/.test(file);
}

/** A config file's text, and what it says. */
export interface Listing {
  text: string;
  tenants: ReadonlyMap<string, TenantEntry>;
  /** All but the tenants: no edit may change it. */
  rest: object;
}

/**
 * Reads the tenants that a text lists.
 *
 * @throws ProblemsError CONFIG_INVALID.
 */
export async function listingOf(file: string, text: string): Promise<Listing> {
  const source = await parseConfigText(file, path.basename(file), text);
  const config = await checkShape(source);
  return { text, tenants: tenantsOf(source, config), rest: { ...config, tenants: undefined } };
}

/**
 * The listing with one more tenant.
 *
 * @throws TenantctlError CONFIG_NOT_EDITABLE when the text is of a form in which that can't be done safely.
 */
export async function withTenant(file: string, before: Listing, name: string, entry: TenantEntry): Promise<Listing> {
  const { add, under } = await editorOf(file);
  const text = keepBom(before.text, (bare) => add(bare, under, name, entry));
  return await verified(
    file,
    text,
    { ...before, tenants: new Map([...before.tenants, [name, entry]]) },
    `add ${entryLine(name, entry)}`,
  );
}

/**
 * The listing without a tenant.
 *
 * @throws TenantctlError CONFIG_NOT_EDITABLE when the text is of a form in which that can't be done safely.
 */
export async function withoutTenant(file: string, before: Listing, name: string): Promise<Listing> {
  const { remove, under } = await editorOf(file);
  const text = keepBom(before.text, (bare) => remove(bare, under, name));
  const tenants = new Map(before.tenants);
  tenants.delete(name);
  return await verified(file, text, { ...before, tenants }, `take ${shown(name)} out`);
}

/**
 * The listing with another entry of a tenant that it has.
 *
 * @throws TenantctlError CONFIG_NOT_EDITABLE when the text is of a form in which that can't be done safely.
 */
export async function withEntry(file: string, before: Listing, name: string, entry: TenantEntry): Promise<Listing> {
  const editor = await editorOf(file);
  const steps = stepsTo(before.tenants.get(name) ?? {}, entry);
  const text = keepBom(before.text, (bare) =>
    steps.reduce((text, step) => step(editor, text, [...editor.under, name]), bare),
  );
  const tenants = new Map(before.tenants).set(name, entry);
  return await verified(file, text, { ...before, tenants }, `let it be ${entryLine(name, entry)}`);
}

type Step = (editor: Editor, text: string, at: readonly string[]) => string;

// Only what differs is written, so that what somebody wrote about the rest stays.
function stepsTo(before: TenantEntry, after: TenantEntry): Step[] {
  if (Object.keys(before).length === 0) return [({ fill }, text, at) => fill(text, at, after)];
  return (["hosts", "labels", "state"] as const).flatMap((key): Step[] => {
    const [from, to] = [before[key], after[key]];
    if (from === to) return [];
    if (to === undefined) return [({ remove }, text, at) => remove(text, at, key)];
    if (from === undefined) return [({ add }, text, at) => add(text, at, key, to)];
    if (typeof from === "string" || Object.keys(from).length === 0)
      return [({ set }, text, at) => set(text, [...at, key], to)];
    return key === "hosts" ? listSteps(key, before.hosts, after.hosts) : mapSteps(key, before.labels, after.labels);
  });
}

function listSteps(key: string, from: readonly string[] = [], to: readonly string[] = []): Step[] {
  const gone = from.flatMap((value, index) => (to.includes(value) ? [] : [index])).reverse();
  return [
    ...to
      .filter((value) => !from.includes(value))
      .map(
        (value): Step =>
          ({ push }, text, at) =>
            push(text, [...at, key], value),
      ),
    ...gone.map(
      (index): Step =>
        ({ pull }, text, at) =>
          pull(text, [...at, key], index),
    ),
  ];
}

type Labels = Readonly<Record<string, string>>;

function mapSteps(key: string, from: Labels = {}, to: Labels = {}): Step[] {
  const gone = Object.keys(from).filter((label) => !Object.hasOwn(to, label));
  const changed = Object.entries(to).filter(([label, value]) => !Object.hasOwn(from, label) || from[label] !== value);
  return [
    ...changed.map(
      ([label, value]): Step =>
        (editor, text, at) =>
          Object.hasOwn(from, label)
            ? editor.set(text, [...at, key, label], value)
            : editor.add(text, [...at, key], label, value),
    ),
    ...gone.map(
      (label): Step =>
        ({ remove }, text, at) =>
          remove(text, [...at, key], label),
    ),
  ];
}

/** Changes of a text, each at a path. */
interface Editor {
  /** The path of the tenants. */
  under: readonly string[];
  add(text: string, path: readonly string[], key: string, value: unknown): string;
  remove(text: string, path: readonly string[], key: string): string;
  set(text: string, path: readonly string[], value: unknown): string;
  push(text: string, path: readonly string[], value: string): string;
  pull(text: string, path: readonly string[], index: number): string;
  /** Writes a map where there is an empty one, or none. */
  fill(text: string, path: readonly string[], value: object): string;
}

/** Each parser is loaded only for a file of its format. */
async function editorOf(file: string): Promise<Editor> {
  if (/\.ya?ml$/.test(file)) {
    const yaml = await import("./yaml.js");
    const add = yaml.addToYaml;
    return {
      under: ["tenants"],
      add,
      remove: yaml.removeFromYaml,
      set: yaml.setInYaml,
      push: yaml.pushToYaml,
      pull: yaml.pullFromYaml,
      fill: (text, at, value) => Object.entries(value).reduce((text, [key, inner]) => add(text, at, key, inner), text),
    };
  }
  const json = await import("./json.js");
  return {
    under: path.basename(file) === "package.json" ? ["tenantctl", "tenants"] : ["tenants"],
    add: json.addToJson,
    remove: json.removeFromJson,
    set: json.setInJson,
    push: json.pushToJson,
    pull: json.pullFromJson,
    fill: json.setInJson,
  };
}

/** Layouts are many (anchors, merges, keys over several lines): what was written is read again before it counts. */
async function verified(file: string, text: string, expected: Listing, byHand: string): Promise<Listing> {
  const found = await listingOf(file, text).catch(() => undefined);
  const words = ({ tenants, rest }: Listing) => JSON.stringify([rest, [...tenants]]);
  if (found !== undefined && words(found) === words(expected)) return found;
  throw new TenantctlError("CONFIG_NOT_EDITABLE", `${path.basename(file)} has a layout that can't be edited safely`, {
    hint: `by hand, under tenants: ${byHand}`,
  });
}

function keepBom(text: string, edit: (bare: string) => string): string {
  return text.startsWith("\ufeff") ? `\ufeff${edit(text.slice(1))}` : edit(text);
}
