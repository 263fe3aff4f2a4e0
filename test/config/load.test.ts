// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables, as a config has them

import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { configJsonSchema, configSchema, problemsOf } from "../../src/config/schema.js";
import { hasConfigShape } from "../../src/config/shape.js";
import { ProblemsError, TenantctlError } from "../../src/errors.js";
import { folder } from "./folder.js";

async function load(cwd: string, options: Parameters<typeof loadConfig>[0] = {}) {
  return await loadConfig({ cwd, env: {}, ...options });
}

async function refusal(loading: Promise<unknown> | (() => unknown)): Promise<TenantctlError> {
  try {
    await (typeof loading === "function" ? loading() : loading);
  } catch (error) {
    if (error instanceof TenantctlError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

async function problems(cwd: string): Promise<readonly string[]> {
  const error = await refusal(load(cwd));
  expect(error.code).toBe("CONFIG_INVALID");
  return error instanceof ProblemsError ? error.problems : [error.message];
}

describe("the config file", () => {
  it.each([
    ["tenants.config.json", '{"tenants":{"thor":{"hosts":["a.b"]}}}'],
    ["tenants.config.jsonc", '{ /* all */ "tenants": { "thor": { "hosts": ["a.b"], }, }, } // of them'],
    ["tenants.config.json", '\ufeff{ // with a BOM\r\n"tenants":{"thor":{"hosts":["a.b"]}}}'],
    ["tenants.config.yaml", "tenants:\n  thor:\n    hosts: [a.b]\n"],
    ["tenants.config.yml", "tenants: {thor: {hosts: [a.b]}}"],
    ["tenants.config.ts", 'type Hosts = string[];\nexport default { tenants: { thor: { hosts: ["a.b"] as Hosts } } };'],
    ["tenants.config.js", 'module.exports = { tenants: { thor: { hosts: ["a.b"] } } };'],
    ["tenants.config.js", 'export default { tenants: { thor: { hosts: ["a.b"] } } };'],
    ["tenants.config.mjs", 'export default { tenants: { thor: { hosts: ["a.b"] } } };'],
    ["package.json", '{"name":"app","tenantctl":{"tenants":{"thor":{"hosts":["a.b"]}}}}'],
  ])("is found from a folder below: %s", async (name, text) => {
    const root = folder({ [name]: text });
    mkdirSync(path.join(root, "deep/er"), { recursive: true });
    const config = await load(path.join(root, "deep/er"));
    expect(config.file).toBe(path.join(root, name));
    expect(config.root).toBe(root);
    expect([...config.tenants]).toEqual([["thor", { hosts: ["a.b"] }]]);
    expect(config.migrations).toEqual({
      tenant: path.join(root, "migrations/tenant"),
      shared: undefined,
      mayChange: [],
      mayLookUp: [],
    });
    expect(config).toMatchObject({ sharedSchemas: [], appRole: undefined, transaction: "tenant" });
  });

  it("is the nearest one", async () => {
    const root = folder({
      "tenants.config.json": { tenants: { far: {} } },
      "app/tenants.config.json": { tenants: { near: {} } },
    });
    expect([...(await load(path.join(root, "app"))).tenants.keys()]).toEqual(["near"]);
  });

  it("is not a package.json without our key, whatever else is wrong with it", async () => {
    const root = folder({ "tenants.config.json": {}, "app/package.json": "{ broken" });
    expect((await load(path.join(root, "app"))).root).toBe(root);
  });

  it("can be named, relative to the working directory", async () => {
    const root = folder({ "conf/fleet.yaml": "tenants: {thor: {}}" });
    expect((await load(root, { config: "conf/fleet.yaml" })).root).toBe(path.join(root, "conf"));
  });

  it("is missed with a hint", async () => {
    expect(await refusal(load(folder()))).toMatchObject({
      code: "CONFIG_NOT_FOUND",
      hint: expect.stringContaining("tenantctl init"),
    });
    const root = folder();
    const named = await refusal(load(root, { config: "no.json" }));
    expect(named).toMatchObject({ code: "CONFIG_NOT_FOUND", message: `no config file ${root}/no.json` });
    for (const config of ["a\0.json", "é".repeat(5_000)])
      expect(await refusal(load(root, { config }))).toMatchObject({ code: "CONFIG_NOT_FOUND" });
  });

  it("keeps the file's order of tenants, numbers among them", async () => {
    const names = ["b", "10", "a", "2"];
    const entries = names.map((name) => `"${name}": {}`).join(", ");
    const yaml = names.map((name) => `  ${name}:\n`).join("");
    for (const [file, text] of [
      ["x.json", `{"tenants":{${entries}}}`],
      ["x.jsonc", `{"tenants":{${entries},}}`],
      ["x.yaml", `tenants:\n${yaml}`],
    ] as const) {
      expect([...(await load(folder({ [file]: text }), { config: file })).tenants.keys()]).toEqual(names);
    }
  });

  it("has tenants whose names objects know", async () => {
    const root = folder({
      "tenants.config.json": '{"tenants":{"constructor":{},"toString":{"schema":"x"},"__proto__":{"schema":"y"}}}',
    });
    expect([...(await load(root)).tenants]).toEqual([
      ["constructor", {}],
      ["toString", { schema: "x" }],
      ["__proto__", { schema: "y" }],
    ]);
  });

  it("may say where in the database the tenants are; tenants called table and query are tenants all the same", async () => {
    const of = async (tenants: unknown, env = {}) => {
      const { tenants: listed, registry } = await load(folder({ "tenants.config.json": { tenants } }), { env });
      return { listed: [...listed.keys()], registry };
    };
    expect(await of({ table: "${SCHEMA}.tenants", columns: { name: "slug" } }, { SCHEMA: "app" })).toEqual({
      listed: [],
      registry: { table: "app.tenants", columns: { name: "slug" } },
    });
    expect(await of({ query: "select name from customers" })).toMatchObject({
      registry: { query: "select name from customers" },
    });
    expect(await of({ table: { hosts: ["a.b"] }, query: null, columns: {} })).toEqual({
      listed: ["table", "query", "columns"],
      registry: undefined,
    });
  });

  it("reads YAML names as they are written, and merges", async () => {
    const root = folder({
      "tenants.config.yaml": "tenants:\n  1.0: &base {labels: {plan: free}}\n  yes: {<<: *base, schema: x}\n",
    });
    expect([...(await load(root)).tenants]).toEqual([
      ["1.0", { labels: { plan: "free" } }],
      ["yes", { labels: { plan: "free" }, schema: "x" }],
    ]);
  });
});

describe("what is wrong with a config", () => {
  it("is told all at once, with path and place", async () => {
    const root = folder({
      "tenants.config.json": `{
  "databse": "x",
  "transaction": "all",
  "tenants": {
    "acme.eu": { "hosts": ["a.b", 3] },
    "thor": { "host": ["a.b"], "labels": { "plan": null } }
  }
}`,
    });
    expect([...(await problems(root))].sort()).toEqual([
      "tenants.config.json:2:14: databse: unknown key, did you mean database?",
      'tenants.config.json:3:18: transaction: must be "tenant" or "migration"',
      'tenants.config.json:5:35: tenants["acme.eu"].hosts[1]: must be text, not a number',
      "tenants.config.json:6:23: tenants.thor.host: unknown key, did you mean hosts?",
      "tenants.config.json:6:52: tenants.thor.labels.plan: must be text, not null",
    ]);
  });

  it.each([
    [{ table: "t", colums: {} }, ["tenants.colums: unknown key, did you mean columns?"]],
    [{ table: "t", thor: {} }, ["tenants.thor: unknown key"]],
    [
      { table: "t", query: "q", columns: 1 },
      ["tenants.columns: must be a map, not a number", "tenants.query: unknown key"],
    ],
    [
      { table: "t", columns: { host: "h", name: 1 } },
      ["tenants.columns.name: must be text, not a number", "tenants.columns.host: unknown key, did you mean hosts?"],
    ],
    [{ query: "q", columns: {} }, ["tenants.columns: unknown key"]],
    [{ table: 1 }, ["tenants.table: must be a map, not a number"]],
    [{ thor: { state: "gone" } }, ['tenants.thor.state: must be "active" or "suspended" or "archived"']],
    ["t", ["tenants: must be a map, not text"]],
  ])("of %j", async (tenants, expected) => {
    const found = await problems(folder({ "tenants.config.yaml": JSON.stringify({ tenants }) }));
    expect(found.map((problem) => problem.replace(/^[^ ]+ /, "")).sort()).toEqual([...expected].sort());
  });

  it.each([
    ["tenants.config.json", '{\n  "tenants" {}\n}', "tenants.config.json:2:13: colon expected"],
    [
      "tenants.config.jsonc",
      '{\n  // a\n  "tenants": {"a": {}, "a": {}}\n}',
      'tenants.config.jsonc:3:24: "a" is there twice',
    ],
    ["tenants.config.json", '{"tenants":{"a": {}, "a": {}}}', 'tenants.config.json:1:22: "a" is there twice'],
    ["tenants.config.yaml", "tenants:\n  a: {}\n  a: {}\n", 'tenants.config.yaml:3:3: "a" is there twice'],
    ["tenants.config.yaml", "tenants:\n  a: {\n", "tenants.config.yaml:3:1: Flow map in block collection"],
    [
      "tenants.config.yaml",
      "tenants:\n  a: {hosts: x}\n",
      "tenants.config.yaml:2:14: tenants.a.hosts: must be a list, not text",
    ],
    ["tenants.config.json", "[]", "tenants.config.json:1:1: must be a map, not a list"],
    ["tenants.config.json", "", "tenants.config.json is empty"],
    ["tenants.config.ts", 'throw new Error("no vault");', "tenants.config.ts can't be loaded: no vault"],
    ["tenants.config.mjs", "export const tenants = {};", "tenants.config.mjs has no default export"],
    [
      "package.json",
      '{\n  "tenantctl": { "tenants": [] }\n}',
      "package.json:2:29: tenantctl.tenants: must be a map, not a list",
    ],
    [
      "tenants.config.json",
      '{\n  "isolationAllows": ["insert shared.plans",\n    "everything"]\n}',
      'tenants.config.json:3:5: isolationAllows[1]: must be a privilege and an object, as in "insert shared.plans"',
    ],
  ])("in %s: %j", async (name, text, expected) => {
    const [problem = ""] = await problems(folder({ [name]: text }));
    expect(problem).toContain(expected);
  });

  it("is what the quick look refuses, and nothing else", () => {
    const text = fc.constantFrom("a", "select b", "tenant", "migration", "archived");
    const anything = fc.oneof(text, fc.constantFrom(null, 1, true, undefined), fc.array(text, { maxLength: 2 }));
    const key = fc.constantFrom(
      "schema",
      "hosts",
      "labels",
      "tenant",
      "shared",
      "database",
      "tenants",
      "table",
      "query",
      "columns",
      "constructor",
      "x",
    );
    const some = (keys: string[], value: fc.Arbitrary<unknown>) =>
      fc.dictionary(fc.oneof(fc.constantFrom(...keys), key), value, { maxKeys: 3 });
    const labels = fc.dictionary(key, fc.oneof({ weight: 5, arbitrary: text }, anything), { maxKeys: 2 });
    const tenant = some(["schema", "hosts", "labels", "state"], fc.oneof(text, fc.array(text), labels, anything));
    const tenants = fc.dictionary(key, fc.oneof(tenant, fc.constant(null)), { maxKeys: 2 });
    const config = some(
      ["tenants", "migrations", "sharedSchemas", "transaction", "appRole", "isolationAllows"],
      fc.oneof(tenants, anything, some(["tenant"], text), some(["table", "columns", "query"], fc.oneof(text, labels))),
    );
    fc.assert(
      fc.property(fc.oneof(config, anything), (value) => {
        const accepted = configSchema.safeParse(value).success;
        expect(hasConfigShape(value)).toBe(accepted);
        expect(problemsOf(value).length === 0).toBe(accepted);
      }),
      { numRuns: 2_000 },
    );
  });

  it("is what editors say: the JSON Schema in the repository comes from the same schema", () => {
    const committed: unknown = JSON.parse(
      readFileSync(new URL("../../tenants.config.schema.json", import.meta.url), "utf8"),
    );
    expect(committed).toEqual(configJsonSchema());
  });
});

describe("variables", () => {
  it("expand from the environment, and from the .env beside the config beneath it", async () => {
    const root = folder({
      "tenants.config.json": {
        migrations: { tenant: "${BASE}/tenant", shared: "${NONE:-shared}" },
        sharedSchemas: ["${SHARED}"],
        appRole: "${ROLE:-app}",
        database: "${DATABASE_URL}",
      },
      ".env": "BASE=sql\nSHARED=from_file\nDATABASE_URL=postgres://u@h/db\nPGPASSWORD='a b'\n",
    });
    const env = { SHARED: "from_env", ROLE: "" };
    const config = await load(root, { env });
    expect(config.migrations).toEqual({
      tenant: `${root}/sql/tenant`,
      shared: `${root}/shared`,
      mayChange: [],
      mayLookUp: [],
    });
    expect(config).toMatchObject({ sharedSchemas: ["from_env"], appRole: "app" });
    expect(config.database()).toMatchObject({ host: "h", password: "a b", source: "tenants.config.json" });
    expect(env).toEqual({ SHARED: "from_env", ROLE: "" });
  });

  it("that are unset are all told", async () => {
    const root = folder({
      "tenants.config.json": '{\n"appRole": "${ROLE}",\n"migrations": {"tenant": "${A}/${B:-x}"} }',
    });
    const error = await refusal(load(root));
    expect(error).toMatchObject({ hint: expect.stringContaining(".env") });
    expect(error).toBeInstanceOf(ProblemsError);
    expect(error instanceof ProblemsError && error.problems).toEqual([
      "tenants.config.json:3:26: migrations.tenant: ${A} is not set",
      "tenants.config.json:2:12: appRole: ${ROLE} is not set",
    ]);
  });

  it("in database count only where it is asked for, and not beside --database", async () => {
    const root = folder({ "tenants.config.json": { database: "${SECRET}", directDatabase: "${DIRECT}" } });
    const config = await load(root);
    expect(await refusal(() => config.database())).toMatchObject({
      code: "CONFIG_INVALID",
      message: "tenants.config.json: database: ${SECRET} is not set",
      hint: expect.stringContaining("--database"),
    });
    expect(await refusal(() => config.directDatabase())).toMatchObject({
      message: expect.stringContaining("${DIRECT}"),
    });
    expect((await load(root, { database: "postgres://h/a" })).database()).toMatchObject({ source: "--database" });
    const env = { TENANTCTL_DATABASE_URL: "postgres://h/a" };
    expect((await load(root, { env })).database()).toMatchObject({ source: "TENANTCTL_DATABASE_URL" });
  });

  it("that are set to nothing are no database", async () => {
    const root = folder({ "tenants.config.json": { database: "${SECRET}" } });
    const config = await load(root, { env: { SECRET: "", DATABASE_URL: "postgres://h/wrong" } });
    expect(await refusal(() => config.database())).toMatchObject({
      message: "tenants.config.json: database: ${SECRET} is empty",
    });
  });
});

describe("the database", () => {
  const everywhere = {
    TENANTCTL_DATABASE_URL: "postgres://h/2",
    DATABASE_URL: "postgres://h/4",
    PGDATABASE: "5",
    PGHOST: "h",
  };

  it("is the first of --database, TENANTCTL_DATABASE_URL, the config, DATABASE_URL, PGHOST and its like", async () => {
    const with3 = folder({ "tenants.config.json": { database: "postgres://h/3" } });
    const without = folder({ "tenants.config.json": {} });
    const { TENANTCTL_DATABASE_URL: _2, ...no2 } = everywhere;
    const { DATABASE_URL: _4, ...no4 } = no2;
    const order = [
      await load(with3, { env: everywhere, database: "postgres://h/1" }),
      await load(with3, { env: everywhere }),
      await load(with3, { env: no2 }),
      await load(without, { env: no2 }),
      await load(without, { env: no4 }),
    ];
    expect(
      order
        .map((config) => config.database())
        .map((found) => found.kind === "server" && [found.database, found.source]),
    ).toEqual([
      ["1", "--database"],
      ["2", "TENANTCTL_DATABASE_URL"],
      ["3", "tenants.config.json"],
      ["4", "DATABASE_URL"],
      ["5", "PGHOST and its like"],
    ]);
  });

  it("is never a silent one", async () => {
    const config = await load(folder({ "tenants.config.json": {} }));
    const error = await refusal(() => config.database());
    expect(error.code).toBe("CONFIG_INVALID");
    for (const way of ["--database", "TENANTCTL_DATABASE_URL", '"database"', "DATABASE_URL", "PGHOST"])
      expect(error.hint).toContain(way);
  });

  it("is embedded where that is said: from the config's folder, or from the working directory", async () => {
    const root = folder({ "tenants.config.json": { database: "pglite:.tenantctl/db" }, "app/x": "" });
    const cwd = path.join(root, "app");
    expect((await load(cwd)).database()).toMatchObject({
      kind: "embedded",
      directory: `${root}/.tenantctl/db`,
      display: "pglite:.tenantctl/db",
    });
    expect((await load(cwd, { database: "pglite:db" })).database()).toMatchObject({ directory: `${root}/app/db` });
  });

  it("past the pooler is the config's own: another database has none", async () => {
    const root = folder({
      "tenants.config.json": { database: "postgres://pool/a", directDatabase: "postgres://direct/a" },
    });
    expect((await load(root)).directDatabase()).toMatchObject({ host: "direct" });
    expect((await load(root, { database: "postgres://staging/a" })).directDatabase()).toBeUndefined();
    expect((await load(folder({ "tenants.config.json": {} }), { env: everywhere })).directDatabase()).toBeUndefined();
  });
});

describe("loading", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("of plain JSON loads neither zod, nor jsonc-parser, nor yaml, nor jiti, and warns of nothing", () => {
    const root = folder({ "tenants.config.json": { tenants: { thor: {} } }, ".env": "A=1" });
    const hooks = `
      import { writeSync } from "node:fs";
      export async function resolve(name, context, next) {
        const found = await next(name, context);
        writeSync(1, found.url + "\\n");
        return found;
      }`;
    const before = `
      import { createRequire, register } from "node:module";
      register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));
      process.on("exit", () => console.log(Object.keys(createRequire("/").cache).join("\\n")));`;
    const { stdout, stderr } = list(root, "--import", `data:text/javascript,${encodeURIComponent(before)}`);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/node_modules\/cosmiconfig\//);
    expect(stdout).not.toMatch(/node_modules\/(zod|jsonc-parser|yaml|js-yaml|jiti|proper-lockfile|typescript)\//);
  });

  it("of a TypeScript config leaves nothing in the temporary folder, where others could have put theirs", () => {
    const root = folder({ "tenants.config.ts": "export default { tenants: { thor: {} as object } };" });
    const temporary = folder();
    vi.stubEnv("TMPDIR", temporary);
    expect(list(root).stdout).toMatch(/thor/);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("beside a broken package.json says which file is broken", () => {
    const root = folder({ "tenants.config.json": {}, "package.json": "{" });
    expect(list(root).stderr).toMatch(/^error: .*package\.json/);
  });
});

/** Runs `tenantctl list` in a folder, as built, with options for node. */
function list(cwd: string, ...options: string[]) {
  const bin = fileURLToPath(new URL("../../bin/tenantctl.js", import.meta.url));
  const { PATH, TMPDIR } = process.env;
  const env = { PATH, TMPDIR };
  return spawnSync(process.execPath, [...options, bin, "list"], { cwd, env, encoding: "utf8" });
}
