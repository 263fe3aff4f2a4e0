// Config room: a config file's text, as a value and as places in the text.

import { existsSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { ProblemsError, TenantctlError } from "../errors.js";
import type { Reading } from "./jsonc.js";

/** What is left to say where the problems say it all. */
export const MEND_HINT = "nothing was touched; mend the file and try again";

/** A config file that was read, and not yet checked. */
export interface Source {
  /** Absolute. */
  file: string;
  /** The file as messages name it. */
  label: string;
  format: "json" | "yaml" | "module";
  /** Where the config sits in the file: `["tenantctl"]` in a package.json. */
  prefix: readonly string[];
  value: unknown;
  /** The tenants' names in the file's order, which objects lose when a name is a number. */
  tenantNames(): string[];
  /** `line:column` of a value in the config, counted from 1, where the file is text. */
  locate(path: readonly PropertyKey[]): Promise<string | undefined>;
}

type Names = Pick<Source, "file" | "label">;

/**
 * Reads JSON, with comments and trailing commas. The parser that keeps places is loaded only for those, and for problems.
 *
 * @throws ProblemsError CONFIG_INVALID with `file:line:column`; for a key that is there twice, too.
 */
export async function parseJson(names: Names, text: string, prefix: readonly string[] = []): Promise<Source> {
  const bare = withoutBom(text);
  const read = async () => {
    const { readJsonc } = await import("./jsonc.js");
    return accepted(
      names,
      bare,
      shallow(names, () => readJsonc(bare)),
    );
  };
  const plain = plainJson(bare);
  const whole = plain ?? (await read());
  const value = descend(whole.value, prefix);
  const numbered = /"(?:\d|\\u003\d)+"\s*:/i.test(bare) && hasNumberedTenant(value) ? await read() : undefined;
  return {
    ...names,
    format: "json",
    prefix,
    value,
    tenantNames: () => numbered?.keys([...prefix, "tenants"]) ?? keysOf(descend(value, ["tenants"])),
    locate: async (keys) => place(bare, (await read()).offset([...prefix, ...keys])),
  };
}

/**
 * Reads YAML.
 *
 * @throws ProblemsError CONFIG_INVALID with `file:line:column`; for a key that is there twice, too.
 */
export async function parseYaml(names: Names, text: string): Promise<Source> {
  const bare = withoutBom(text);
  const { readYaml } = await import("./yaml.js");
  const { value, keys, offset } = accepted(
    names,
    bare,
    shallow(names, () => readYaml(bare)),
  );
  return {
    ...names,
    format: "yaml",
    prefix: [],
    value,
    tenantNames: () => (hasNumberedTenant(value) ? keys(["tenants"]) : keysOf(descend(value, ["tenants"]))),
    locate: async (path) => place(bare, offset(path)),
  };
}

/**
 * Runs a TypeScript or JavaScript config and takes its default export.
 *
 * @throws TenantctlError CONFIG_INVALID when it throws, or exports nothing.
 */
export async function loadModule(names: Names): Promise<Source> {
  let value: unknown;
  try {
    value = await (path.extname(names.file) === ".mjs" ? importDefault(names.file) : jitiDefault(names.file));
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new TenantctlError("CONFIG_INVALID", `${names.label} can't be loaded: ${reason}`, {
      hint: MEND_HINT,
      cause: error,
    });
  }
  if (value === undefined) {
    throw new TenantctlError("CONFIG_INVALID", `${names.label} has no default export`, {
      hint: "export default { … }",
    });
  }
  return {
    ...names,
    format: "module",
    prefix: [],
    value,
    tenantNames: () => keysOf(descend(value, ["tenants"])),
    locate: async () => undefined,
  };
}

async function importDefault(file: string): Promise<unknown> {
  const module: { default?: unknown } = await import(pathToFileURL(file).href);
  return module.default;
}

async function jitiDefault(file: string): Promise<unknown> {
  const { createJiti } = await import("jiti");
  // What jiti made of a file it keeps beside it in node_modules; or else, unless told not to, in /tmp, where others may have put theirs.
  const fsCache = existsSync(path.join(path.dirname(file), "node_modules"));
  return await createJiti(file, { moduleCache: false, fsCache }).import(file, { default: true });
}

function accepted(names: Names, text: string, reading: Reading): Reading {
  if (reading.problems.length === 0) return reading;
  const lines = reading.problems.map(({ offset, message }) => `${names.label}:${place(text, offset)}: ${message}`);
  throw new ProblemsError("CONFIG_INVALID", "the config can't be read", lines, { hint: MEND_HINT });
}

/** Strict JSON without a key that is there twice; for everything else, the parser that can say where. */
function plainJson(text: string): { value: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return countColons(text) === countKeys(value) ? { value } : undefined;
  } catch {
    return undefined;
  }
}

/** @throws TenantctlError CONFIG_INVALID where values are nested so deep that reading them takes all of the stack. */
function shallow<T>(names: Names, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new TenantctlError("CONFIG_INVALID", `${names.label} is nested too deep to be a config`, {
      hint: MEND_HINT,
      cause: error,
    });
  }
}

/** Outside of its strings, valid JSON has one colon for each key as it was written. */
function countColons(text: string): number {
  let count = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (character === quote) inString = !inString;
    else if (inString && character === backslash) at++;
    else if (!inString && character === colon) count++;
  }
  return count;
}

const [quote, colon, backslash] = [0x22, 0x3a, 0x5c];

// A fleet's config is large, so nothing is made on the way.
function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) for (const item of value) count += countKeys(item);
  else for (const key of Object.keys(value)) count += 1 + countKeys((value as Record<string, unknown>)[key]);
  return count;
}

function hasNumberedTenant(config: unknown): boolean {
  return keysOf(descend(config, ["tenants"])).some((name) => /^\d+$/.test(name));
}

function descend(value: unknown, keys: readonly string[]): unknown {
  return keys.reduce((at: unknown, key) => (isMap(at) && Object.hasOwn(at, key) ? at[key] : undefined), value);
}

function keysOf(value: unknown): string[] {
  return isMap(value) ? Object.keys(value) : [];
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withoutBom(text: string): string {
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

function place(text: string, offset: number): string;
function place(text: string, offset: number | undefined): string | undefined;
function place(text: string, offset: number | undefined): string | undefined {
  if (offset === undefined) return undefined;
  const lines = text.slice(0, offset).split("\n");
  return `${lines.length}:${(lines.at(-1)?.length ?? 0) + 1}`;
}
