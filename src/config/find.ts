// Config room: which file is the config.

import { accessSync, constants, existsSync, lstatSync, realpathSync, type Stats, statSync } from "node:fs";
import path from "node:path";
import type { Options, PublicExplorer } from "cosmiconfig";
import { TenantctlError } from "../errors.js";
import type { Environment } from "./expand.js";
import { homeFolder } from "./home.js";
import { loadModule, MEND_HINT, parseJson, parseYaml, type Source } from "./source.js";
import { refuseForeign } from "./trust.js";

const PLACES = [
  ...["json", "jsonc", "yaml", "yml", "ts", "js", "mjs"].map((ending) => `tenants.config.${ending}`),
  "package.json",
];
const PACKAGE_KEY = "tenantctl";
const INIT_HINT = "tenantctl init writes one";

type Load = (file: string, text: string) => Promise<Source>;

/** Where to look, and what may be obeyed there. */
export interface Search {
  cwd: string;
  /** The file, when it is known: it is then not looked for, and it is trusted, whoever owns it. */
  config: string | undefined;
  /** Defaults to `process.env`. */
  env?: Environment;
  /** False: a TypeScript or JavaScript config is refused, not run. */
  modules?: boolean | undefined;
}

/**
 * Finds the config from the folder upwards, and reads it. The repository's root and the home folder are the last ones that are looked in.
 *
 * @throws TenantctlError CONFIG_NOT_FOUND, CONFIG_INVALID, CONFIG_UNTRUSTED.
 */
export async function findConfig(search: Search): Promise<Source> {
  const { cwd, config, env = process.env } = search;
  const file = config === undefined ? undefined : existing(cwd, config);
  const explorer = await createExplorer(search);
  if (file !== undefined) {
    const source = await explorer.load(file);
    if (source !== undefined) return source;
    throw new TenantctlError("CONFIG_NOT_FOUND", `no "${PACKAGE_KEY}" in ${file}`, { hint: INIT_HINT });
  }
  for (let folder = cwd; ; folder = path.dirname(folder)) {
    const source = await explorer.search(folder);
    if (source !== undefined) return source;
    for (const place of PLACES) refuseUnreadable(cwd, path.join(folder, place));
    if (isLast(folder, env)) {
      const where = folder === cwd ? cwd : `${cwd} and the folders above it, up to ${folder}`;
      throw new TenantctlError("CONFIG_NOT_FOUND", `no tenants.config.* (${where})`, {
        hint: `${INIT_HINT}; one elsewhere is named by --config`,
      });
    }
  }
}

/** A config above a repository, or above the home folder, is another project's. */
function isLast(folder: string, env: Environment): boolean {
  if (folder === path.dirname(folder) || existsSync(path.join(folder, ".git"))) return true;
  const home = homeFolder(env);
  return folder === home || (existsSync(home) && folder === realpathSync(home));
}

/**
 * Reads the text of a config file, as `findConfig` would; for files that change while we run.
 *
 * @throws ProblemsError CONFIG_INVALID.
 */
export async function parseConfigText(file: string, label: string, text: string): Promise<Source> {
  const names = { file, label };
  if (/^\.ya?ml$/.test(path.extname(file))) return await parseYaml(names, text);
  return await parseJson(names, text, isPackageJson(file) ? [PACKAGE_KEY] : []);
}

async function createExplorer({ cwd, config, env = process.env, modules = true }: Search) {
  const { cosmiconfig } = await import("cosmiconfig");
  const label = (file: string) => path.relative(cwd, file);
  const judge = (file: string) => {
    if (config === undefined) refuseForeign(file, env);
  };
  const text: Load = (file, content) => {
    judge(file);
    return parseConfigText(file, label(file), content);
  };
  const module: Load = (file) => {
    judge(file);
    if (modules) return loadModule({ file, label: label(file) });
    throw new TenantctlError("CONFIG_INVALID", `${label(file)} is a program, and is not run to complete a word`);
  };
  const packageJson = async (file: string, content: string) => {
    // the package.json of every folder above comes by, and only one with our key has to be right
    const source = content.includes(`"${PACKAGE_KEY}"`) ? await text(file, content) : undefined;
    return { [PACKAGE_KEY]: source?.value === undefined ? undefined : source };
  };
  // what cosmiconfig sees is a Source: of the value itself it would merge a `$import`, which no edit could write back
  for (const file of ownPrograms()) {
    refuseForeign(file, env);
    if (!modules) throw new TenantctlError("CONFIG_INVALID", `${file} is a program, and is not run to complete a word`);
  }
  const explorer = startCosmiconfig(cosmiconfig, {
    searchPlaces: PLACES,
    searchStrategy: "none",
    ignoreEmptySearchPlaces: false,
    cache: false,
    loaders: {
      ".json": (file, content) => (isPackageJson(file) ? packageJson(file, content) : text(file, content)),
      ...Object.fromEntries([".jsonc", ".yaml", ".yml"].map((ending) => [ending, text])),
      ...Object.fromEntries([".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"].map((ending) => [ending, module])),
    },
  });
  const sourceOf = (result: { config?: Source; filepath: string; isEmpty?: boolean } | null): Source | undefined => {
    if (result?.isEmpty !== true) return result?.config;
    throw new TenantctlError("CONFIG_INVALID", `${label(result.filepath)} is empty`, { hint: INIT_HINT });
  };
  return {
    search: async (folder: string) => sourceOf(await explorer.search(folder)),
    load: async (file: string) => sourceOf(await explorer.load(file)),
  };
}

/** cosmiconfig looks in the working directory for settings of its own, and runs these, whatever it was asked for. */
function ownPrograms(): string[] {
  const files = ["js", "ts", "cjs", "mjs"].map((ending) => path.resolve(".config", `config.${ending}`));
  return files.filter((file) => existsSync(file));
}

/** It reads the working directory's package.json, too, and throws a bare error when that is broken. */
function startCosmiconfig(
  cosmiconfig: typeof import("cosmiconfig").cosmiconfig,
  options: Partial<Options>,
): PublicExplorer {
  try {
    return cosmiconfig(PACKAGE_KEY, options);
  } catch (error) {
    const words = (error instanceof Error ? error.message : String(error)).split("\n").slice(0, 2).join(" ");
    throw new TenantctlError("CONFIG_INVALID", `the config can't be looked for: ${words}`, {
      hint: MEND_HINT,
      cause: error,
    });
  }
}

/** The absolute path of the file that was asked for. */
function existing(cwd: string, config: string): string {
  const file = path.resolve(cwd, config);
  const stats = statsOf(file);
  if (stats === undefined) {
    throw new TenantctlError("CONFIG_NOT_FOUND", `no config file ${file}`, {
      hint: "is the path right? tenantctl init writes a new one",
    });
  }
  if (!stats.isFile() || !/\.(jsonc?|ya?ml|[mc]?[jt]s)$/.test(file)) {
    throw new TenantctlError("CONFIG_INVALID", `${file} is no config file`, {
      hint: "one that ends in .json, .jsonc, .yaml, .yml, .ts, .js or .mjs",
    });
  }
  refuseUnreadable(cwd, file);
  return file;
}

/** What is there and can't be read, the search passes by: another config further up would be taken for it. */
function refuseUnreadable(cwd: string, file: string): void {
  try {
    const stats = lstatSync(file, { throwIfNoEntry: false });
    if (stats !== undefined && !stats.isDirectory() && !isPackageJson(file)) accessSync(file, constants.R_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new TenantctlError("CONFIG_INVALID", `${path.relative(cwd, file)} can't be read: ${code}`, {
      hint: "may this user read it, and where it leads to?",
      cause: error,
    });
  }
}

function statsOf(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch (error) {
    // a path that can be none, or one that leads where we may not look
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new TenantctlError("CONFIG_NOT_FOUND", `the config file can't be looked at: ${reason}`, {
      hint: "-c <file> names one that can be read",
      cause: error,
    });
  }
}

function isPackageJson(file: string): boolean {
  return path.basename(file) === "package.json";
}
