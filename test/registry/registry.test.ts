import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { parse as parseJsonc } from "jsonc-parser";
import { describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { loadConfig, type TenantEntry } from "../../src/config/load.js";
import { ProblemsError, TenantctlError } from "../../src/errors.js";
import { edited, type TenantEdit } from "../../src/registry/change.js";
import * as edit from "../../src/registry/edit.js";
import { openRegistry, type Registry, type Tenant } from "../../src/registry/registry.js";
import { folder } from "../config/folder.js";

async function registryOf(root: string, config?: string): Promise<Registry> {
  return openRegistry(await loadConfig({ cwd: root, env: {}, config }), () => Promise.reject(new Error("no database")));
}

function tenant(name: string, more: Partial<Tenant> = {}): Tenant {
  return { name, schema: name, hosts: [], labels: {}, state: "active", ...more };
}

async function refusal(action: Promise<unknown>): Promise<TenantctlError> {
  try {
    await action;
  } catch (error) {
    if (error instanceof TenantctlError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

async function withTenant(file: string, text: string, name: string, entry: TenantEntry): Promise<string> {
  return (await edit.withTenant(file, await edit.listingOf(file, text), name, entry)).text;
}

async function withoutTenant(file: string, text: string, name: string): Promise<string> {
  return (await edit.withoutTenant(file, await edit.listingOf(file, text), name)).text;
}

async function withEdit(file: string, text: string, change: TenantEdit, name = "x"): Promise<string> {
  const listing = await edit.listingOf(file, text);
  const { entry } = edited(name, listing.tenants.get(name) ?? {}, change);
  return (await edit.withEntry(file, listing, name, entry)).text;
}

const POLLS = `{
  // the fleet
  "database": "pglite:db",
  "tenants": {
    "thor":   { "hosts": ["thor.polls.local"] }, // the first
    /* a big one */
    "potter": { "schema": "hogwarts", "labels": { "plan": "free" } }
  }
}
`;

describe("the tenants", () => {
  it("have what the file leaves out", async () => {
    const root = folder({ "tenants.config.jsonc": POLLS.replace("thor.polls", "Thor.Polls") });
    expect(await (await registryOf(root)).tenants()).toEqual([
      { name: "thor", schema: "thor", hosts: ["thor.polls.local"], labels: {}, state: "active" },
      { name: "potter", schema: "hogwarts", hosts: [], labels: { plan: "free" }, state: "active" },
    ]);
  });

  it("are refused with everything that is wrong at once", async () => {
    const root = folder({
      "tenants.config.json": {
        sharedSchemas: ["common", "x".repeat(64)],
        tenants: {
          thor: { hosts: ["a.local", "A.LOCAL"] },
          "a b": {},
          loki: { schema: "thor", hosts: ["A.local", "b.local:80"] },
          odin: { schema: "pg_x" },
          freya: { schema: "common" },
          "x.y": { schema: "odin" },
        },
      },
    });
    const error = await refusal((await registryOf(root)).tenants());
    expect(error.code).toBe("CONFIG_INVALID");
    expect(error instanceof ProblemsError && error.problems).toEqual([
      `sharedSchemas[1]: schema name "${"x".repeat(64)}" has 64 bytes, 63 are allowed`,
      'tenants.thor.hosts[1]: host "a.local" is already that of tenant "thor"',
      'tenants["a b"]: tenant name "a b" must not contain " "',
      'tenants.loki.schema: schema "thor" is already that of tenant "thor"',
      'tenants.loki.hosts[0]: host "a.local" is already that of tenant "thor"',
      'tenants.loki.hosts[1]: host "b.local:80" has a port',
      'tenants.odin.schema: schema name "pg_x" starts with pg_, which PostgreSQL keeps for itself',
      'tenants.freya.schema: schema "common" is one of sharedSchemas',
    ]);
  });

  it("may be 50,000", async () => {
    const tenants = Object.fromEntries(
      Array.from({ length: 50_000 }, (_, index) => [`t${index}`, { hosts: [`t${index}.polls.local`] }]),
    );
    const root = folder({ "tenants.config.json": { tenants } });
    // comparing each with every other would take minutes, which the test has not
    expect(await (await registryOf(root)).tenants()).toHaveLength(50_000);
  });
});

describe("adding", () => {
  it("writes the entry below the last one, in its manner, and nothing else", async () => {
    const root = folder({ "tenants.config.jsonc": POLLS });
    const registry = await registryOf(root);
    await registry.add(tenant("loki", { hosts: ["Loki.polls.local"] }));
    await registry.add(tenant("odin"));
    expect(readFileSync(path.join(root, "tenants.config.jsonc"), "utf8")).toBe(
      POLLS.replace('"free" } }\n', '"free" } },\n    "loki": { "hosts": ["loki.polls.local"] },\n    "odin": {}\n'),
    );
    expect((await registry.tenants()).map(({ name }) => name)).toEqual(["thor", "potter", "loki", "odin"]);
    expect(await (await registryOf(root)).tenants()).toEqual(await registry.tenants());
  });

  it.each([
    [tenant("thor"), "TENANT_EXISTS"],
    [tenant("x", { schema: "hogwarts" }), "SCHEMA_EXISTS"],
    [tenant("hogwarts"), "SCHEMA_EXISTS"],
    [tenant("common"), "SCHEMA_EXISTS"],
    [tenant("x", { hosts: ["THOR.polls.local"] }), "HOST_TAKEN"],
    [tenant("x", { hosts: ["x.local", "X.local"] }), "HOST_TAKEN"],
    [tenant("x", { hosts: ["x.local:80"] }), "NAME_INVALID"],
    [tenant("x y"), "NAME_INVALID"],
    [tenant("x", { schema: "public" }), "NAME_INVALID"],
  ])("%j is refused: %s; asking first says the same", async (newcomer, code) => {
    const text = POLLS.replace('"tenants"', '"sharedSchemas": ["common"], "tenants"');
    const root = folder({ "tenants.config.jsonc": text });
    const registry = await registryOf(root);
    expect(await refusal(registry.checkAdd(newcomer))).toMatchObject({ code });
    expect(await refusal(registry.add(newcomer))).toMatchObject({ code });
    expect(readFileSync(path.join(root, "tenants.config.jsonc"), "utf8")).toBe(text);
  });

  it("looks at what the file holds by now", async () => {
    const root = folder({ "tenants.config.json": { tenants: {} } });
    const [one, two] = [await registryOf(root), await registryOf(root)];
    await one.add(tenant("thor", { hosts: ["a.local"] }));
    expect(await refusal(two.checkAdd(tenant("thor")))).toMatchObject({ code: "TENANT_EXISTS" });
    expect(await refusal(two.add(tenant("loki", { hosts: ["a.local"] })))).toMatchObject({ code: "HOST_TAKEN" });
    await two.add(tenant("loki"));
    expect((await two.tenants()).map(({ name }) => name)).toEqual(["thor", "loki"]);
  });

  it("to a program says which line to add", async () => {
    const root = folder({ "tenants.config.ts": "export default { tenants: {} };" });
    const registry = await registryOf(root);
    const added = tenant("thor", { schema: "x", hosts: ["a.local"] });
    for (const error of [await refusal(registry.add(added)), await refusal(registry.checkAdd(added))]) {
      expect(error.code).toBe("CONFIG_NOT_EDITABLE");
      expect(error.message).toContain('"thor": { "schema": "x", "hosts": ["a.local"] }');
    }
    expect(() => registry.checkEditable()).toThrow("tenants.config.ts is a program");
    expect(await refusal(registry.remove("thor"))).toMatchObject({ code: "CONFIG_NOT_EDITABLE" });
  });

  it("keeps the file's mode, follows a link to the file, and leaves nothing behind", async () => {
    const root = folder({ "real/fleet.json": { tenants: {} } });
    const real = path.join(root, "real/fleet.json");
    chmodSync(real, 0o664);
    symlinkSync("real/fleet.json", path.join(root, "tenants.config.json"));
    await (await registryOf(root)).add(tenant("thor"));
    expect(lstatSync(path.join(root, "tenants.config.json")).isSymbolicLink()).toBe(true);
    expect(JSON.parse(readFileSync(real, "utf8"))).toEqual({ tenants: { thor: {} } });
    expect(statSync(real).mode & 0o777).toBe(0o664);
    expect(readdirSync(path.join(root, "real"))).toEqual(["fleet.json"]);
  });

  it("says when the file has become invalid, or is gone", async () => {
    const root = folder({ "tenants.config.json": { tenants: {} } });
    const registry = await registryOf(root);
    writeFileSync(path.join(root, "tenants.config.json"), "{");
    expect(await refusal(registry.add(tenant("thor")))).toMatchObject({ code: "CONFIG_INVALID" });
    const gone = await registryOf(folder({ "tenants.config.json": {} }));
    expect(gone.checkEditable()).toBeUndefined();
  });

  it.skipIf(process.getuid?.() === 0)("to a file that can't be written is refused, at once and by asking", async () => {
    const root = folder({ "tenants.config.json": { tenants: {} } });
    const registry = await registryOf(root);
    chmodSync(root, 0o500);
    try {
      expect(await refusal(registry.checkAdd(tenant("thor")))).toMatchObject({ code: "REGISTRY_WRITE" });
      expect(await refusal(registry.add(tenant("thor")))).toMatchObject({ code: "REGISTRY_WRITE" });
    } finally {
      chmodSync(root, 0o700);
    }
  });

  it("from eight processes at once loses no entry", async () => {
    const root = folder({ "tenants.config.jsonc": POLLS });
    const built = new URL("../../dist/index.js", import.meta.url).href;
    const adder = fileURLToPath(new URL("adder.fixture.ts", import.meta.url));
    const jiti = fileURLToPath(new URL("../../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url));
    const names = Array.from({ length: 8 }, (_, one) => Array.from({ length: 5 }, (_, two) => `t${one}_${two}`));
    const adders = names.map((some) =>
      spawn(process.execPath, [jiti, adder, path.join(root, "tenants.config.jsonc"), built, ...some], {
        stdio: ["ignore", "inherit", "inherit"],
      }),
    );
    for (const [code] of await Promise.all(adders.map((adding) => once(adding, "exit")))) expect(code).toBe(0);
    const found = (await (await registryOf(root)).tenants()).map(({ name }) => name);
    expect(found.slice(0, 2)).toEqual(["thor", "potter"]);
    expect(found.slice(2).sort()).toEqual(names.flat().sort());
    expect(readdirSync(root)).toEqual(["tenants.config.jsonc"]);
  }, 60_000);

  it("goes on past the lock of a process that died", async () => {
    const root = folder({ "tenants.config.json": { tenants: {} } });
    const lock = path.join(root, "tenants.config.json.lock");
    mkdirSync(lock);
    const dead = new Date(Date.now() - 60_000);
    utimesSync(lock, dead, dead);
    await (await registryOf(root)).add(tenant("thor"));
    expect(readdirSync(root)).toEqual(["tenants.config.json"]);
  });
});

describe("removing", () => {
  it("takes out the entry, and nothing else", async () => {
    const root = folder({ "tenants.config.jsonc": POLLS });
    const registry = await registryOf(root);
    expect(await registry.remove("potter")).toEqual(tenant("potter", { schema: "hogwarts", labels: { plan: "free" } }));
    expect(readFileSync(path.join(root, "tenants.config.jsonc"), "utf8")).toBe(
      POLLS.replace("] }, // the first", "] } // the first").replace(/ {4}"potter".*\n/, ""),
    );
    expect(await registry.tenants()).toHaveLength(1);
  });

  it("of an unknown tenant suggests the nearest", async () => {
    const registry = await registryOf(folder({ "tenants.config.jsonc": POLLS }));
    expect(await refusal(registry.remove("poter"))).toMatchObject({
      code: "TENANT_UNKNOWN",
      hint: "did you mean potter?",
    });
  });

  it("mends a collision", async () => {
    const root = folder({ "tenants.config.json": { tenants: { a: {}, b: { schema: "a" } } } });
    const registry = await registryOf(root);
    expect(await refusal(registry.add(tenant("c")))).toMatchObject({ code: "CONFIG_INVALID" });
    await registry.remove("b");
    await registry.add(tenant("c"));
    expect((await registry.tenants()).map(({ name }) => name)).toEqual(["a", "c"]);
  });
});

describe("editing", () => {
  it("changes what is named, where it stands, and nothing else", async () => {
    const root = folder({ "tenants.config.jsonc": POLLS });
    const file = path.join(root, "tenants.config.jsonc");
    const registry = await registryOf(root);
    const changed = await registry.edit("potter", {
      state: "suspended",
      labels: { plan: "paid", eu: "1" },
      hosts: ["Potter.polls.local"],
    });
    const potter = { schema: "hogwarts", hosts: ["potter.polls.local"], labels: { plan: "paid", eu: "1" } };
    expect(changed).toEqual({
      tenant: tenant("potter", { ...potter, state: "suspended" }),
      changed: ["hosts", "labels", "state"],
    });
    expect(readFileSync(file, "utf8")).toBe(
      POLLS.replace('"free" } }', '"paid", "eu": "1" }, "hosts": ["potter.polls.local"], "state": "suspended" }'),
    );
    const back: TenantEdit = {
      state: "active",
      labels: { plan: "free" },
      removeLabels: ["eu"],
      removeHosts: ["POTTER.polls.local"],
    };
    expect((await registry.edit("potter", back)).changed).toEqual(["hosts", "labels", "state"]);
    expect(readFileSync(file, "utf8")).toBe(POLLS);
    const { mtimeMs } = statSync(file);
    expect(await registry.edit("potter", back)).toMatchObject({ changed: [] });
    expect(statSync(file).mtimeMs).toBe(mtimeMs);
    expect((await registry.tenants())[1]).toEqual(tenant("potter", { schema: "hogwarts", labels: { plan: "free" } }));
  });

  it.each([
    [{ hosts: ["THOR.polls.local"] }, "HOST_TAKEN", /already that of tenant "thor"/],
    [{ hosts: ["x.local:80"] }, "NAME_INVALID", /has a port/],
  ])("%j is refused: %s", async (change, code, message) => {
    const root = folder({ "tenants.config.jsonc": POLLS });
    const error = await refusal((await registryOf(root)).edit("potter", change));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(readFileSync(path.join(root, "tenants.config.jsonc"), "utf8")).toBe(POLLS);
  });

  it("of somebody unknown suggests the nearest, and of a program's says what to write", async () => {
    const unknown = (await registryOf(folder({ "tenants.config.jsonc": POLLS }))).edit("poter", { state: "archived" });
    expect(await refusal(unknown)).toMatchObject({ code: "TENANT_UNKNOWN", hint: "did you mean potter?" });
    const program = await registryOf(
      folder({ "tenants.config.ts": 'export default { tenants: { thor: { schema: "x" } } };' }),
    );
    const error = await refusal(program.edit("thor", { state: "suspended" }));
    expect(error.code).toBe("CONFIG_NOT_EDITABLE");
    expect(error.message).toContain('let it say "thor": { "schema": "x", "state": "suspended" }');
    expect(await program.edit("thor", { state: "active" })).toMatchObject({ changed: [] });
  });

  it("what is in the file by now, whatever was read before", async () => {
    const root = folder({ "tenants.config.json": { tenants: { thor: {}, loki: {} } } });
    const registries = await Promise.all(Array.from({ length: 12 }, () => registryOf(root)));
    await Promise.all(registries.map((one, index) => one.edit("thor", { labels: { [`l${index}`]: "1" } })));
    expect(Object.keys((await (await registryOf(root)).tenants())[0]?.labels ?? {})).toHaveLength(12);
    await registries[0]?.edit("loki", { hosts: ["a.local"] });
    expect(await refusal(registries[1]?.edit("thor", { hosts: ["a.local"] }) ?? Promise.resolve())).toMatchObject({
      code: "HOST_TAKEN",
    });
  });

  const suspended: TenantEdit = { state: "suspended" };
  const hosts: TenantEdit = { hosts: ["b.local"], removeHosts: ["a.local"] };
  it.each([
    [
      "a.json",
      '{"tenants": {\n  "x": {},\n  "y": null }}',
      suspended,
      '{"tenants": {\n  "x": { "state": "suspended" },\n  "y": null }}',
    ],
    ["a.json", '{"tenants": { "x": null }}', suspended, '{"tenants": { "x": { "state": "suspended" } }}'],
    [
      "a.json",
      '{"tenants": { "x": {"labels": {}} }}',
      { labels: { a: "b" } },
      '{"tenants": { "x": {"labels": { "a": "b" }} }}',
    ],
    [
      "a.jsonc",
      '{"tenants": {\n  "x": { // it\n    "hosts": [\n      "a.local", // a\n      "c.local" // c\n    ]\n  }\n}}',
      hosts,
      '{"tenants": {\n  "x": { // it\n    "hosts": [\n      // a\n      "c.local", // c\n      "b.local"\n    ]\n  }\n}}',
    ],
    ["a.json", '{"tenants": { "x": { "state": "suspended" } }}', { state: "active" }, '{"tenants": { "x": { } }}'],
    ["a.yaml", "tenants:\n  x: # it\n  y: {}\n", suspended, "tenants:\n  x: # it\n    state: suspended\n  y: {}\n"],
    [
      "a.yaml",
      "tenants:\n  x: { schema: b } # it\n",
      suspended,
      "tenants:\n  x: { schema: b, state: suspended } # it\n",
    ],
    ["a.yaml", "tenants:\n  x:\n    state: archived # it\n", suspended, "tenants:\n  x:\n    state: suspended # it\n"],
    ["a.yaml", "tenants:\n  x:\n    state: archived\n", { state: "active" }, "tenants:\n  x: {}\n"],
    [
      "a.yaml",
      "tenants:\n  x:\n    hosts:\n      - a.local # a\n      - c.local # c\n    # end\n",
      hosts,
      "tenants:\n  x:\n    hosts:\n      # a\n      - c.local # c\n      - b.local\n    # end\n",
    ],
    ["a.yaml", "tenants: {x: {hosts: [a.local, c.local]}}", hosts, "tenants: {x: {hosts: [c.local, b.local]}}"],
    [
      "a.yaml",
      "tenants: {x: {labels: {a: b}}}",
      { labels: { a: "c, d", "e,f": "g" } },
      'tenants: {x: {labels: {a: "c, d", "e,f": g}}}',
    ],
  ] as [string, string, TenantEdit, string][])("changes %s %j by %j", async (file, before, change, after) => {
    expect(await withEdit(file, before, change)).toBe(after);
  });
});

describe("an edit", () => {
  const entry = { hosts: ["x.local"] };
  const X = '"x": { "hosts": ["x.local"] }';

  it.each([
    ["a.json", '{"tenants":{}}', `{"tenants":{\n  ${X}\n}}`],
    ["a.json", '{\n  "tenants": {}\n}\n', `{\n  "tenants": {\n    ${X}\n  }\n}\n`],
    ["a.json", '{\n\t"tenants": {\n\t}\n}', `{\n\t"tenants": {\n\t\t${X}\n\t}\n}`],
    ["a.json", "{}", `{\n  "tenants": {\n    ${X}\n  }\n}`],
    [
      "a.json",
      '{\n    "appRole": "a" // b\n}',
      `{\n    "appRole": "a", // b\n    "tenants": {\n        ${X}\n    }\n}`,
    ],
    ["a.json", '{"tenants":null}', `{"tenants":{\n  ${X}\n}}`],
    ["a.json", '{"tenants": { "a": {} }}', `{"tenants": { "a": {}, ${X} }}`],
    [
      "a.json",
      '{\r\n  "tenants": {\r\n    "a": {}\r\n  }\r\n}',
      `{\r\n  "tenants": {\r\n    "a": {},\r\n    ${X}\r\n  }\r\n}`,
    ],
    ["a.json", '\ufeff{"tenants": {"a": {}}}', `\ufeff{"tenants": {"a": {}, ${X}}}`],
    [
      "a.json",
      '{"tenants": {\n  "a": {\n    "schema": "b"\n  }\n}}',
      '{"tenants": {\n  "a": {\n    "schema": "b"\n  },\n  "x": {\n    "hosts": [\n      "x.local"\n    ]\n  }\n}}',
    ],
    [
      "a.jsonc",
      '{"tenants": {\n  "a": {}, // one,\n  // two\n}}',
      `{"tenants": {\n  "a": {}, // one,\n  ${X},\n  // two\n}}`,
    ],
    ["a.jsonc", '{"tenants": { /* none, "a": {} */ }}', `{"tenants": { /* none, "a": {} */\n  ${X}\n}}`],
    [
      "package.json",
      '{\n  "tenants": {},\n  "tenantctl": {\n    "tenants": {}\n  }\n}',
      `{\n  "tenants": {},\n  "tenantctl": {\n    "tenants": {\n      ${X}\n    }\n  }\n}`,
    ],
    [
      "a.yaml",
      "tenants:\n  a:\n    schema: b # c\n\n# end\n",
      "tenants:\n  a:\n    schema: b # c\n  x:\n    hosts:\n      - x.local\n\n# end\n",
    ],
    [
      "a.yaml",
      "tenants:\n    a: { schema: b }\nappRole: r",
      "tenants:\n    a: { schema: b }\n    x: { hosts: [ x.local ] }\nappRole: r",
    ],
    ["a.yaml", "appRole: r # role\r\n", "appRole: r # role\r\ntenants:\r\n  x:\r\n    hosts:\r\n      - x.local\r\n"],
    [
      "a.yaml",
      "tenants: # none yet\nappRole: r\n",
      "tenants: # none yet\n  x:\n    hosts:\n      - x.local\nappRole: r\n",
    ],
    ["a.yaml", "tenants: {} # none yet\n", "tenants: # none yet\n  x:\n    hosts:\n      - x.local\n"],
    ["a.yaml", "tenants: {a: {}} # c\n", "tenants: {a: {}, x: { hosts: [ x.local ] }} # c\n"],
    ["a.yaml", "{tenants: {}}", "{tenants: {x: { hosts: [ x.local ] }}}"],
    [
      "a.yaml",
      "tenants:\n  a:\n  b: # c\n  # d\n",
      "tenants:\n  a:\n  b: # c\n  x:\n    hosts:\n      - x.local\n  # d\n",
    ],
  ])("adds to %s %j", async (file, before, after) => {
    expect(await withTenant(file, before, "x", entry)).toBe(after);
    expect(await withTenant(file, after, "yes", {})).toContain("yes");
  });

  it.each([
    ["a.json", '{"tenants": {"x": {}}}', '{"tenants": {}}'],
    ["a.json", '{"tenants": { "a": {}, "x": {} }}', '{"tenants": { "a": {} }}'],
    ["a.json", '{"tenants": { "x": {}, "a": {} }}', '{"tenants": { "a": {} }}'],
    ["a.json", '{"tenants": {\r\n  "a": {},\r\n  "x": {}\r\n}}', '{"tenants": {\r\n  "a": {}\r\n}}'],
    ["a.jsonc", '{"tenants": {\n  "a": {}, // a\n  "x": {}, // x\n}}', '{"tenants": {\n  "a": {}, // a\n  // x\n}}'],
    ["a.jsonc", '{"tenants": {\n  "a": {} // a, b\n  , "x": {} }}', '{"tenants": {\n  "a": {} // a, b\n  }}'],
    [
      "a.yaml",
      "tenants:\n  a: {}\n  # about x\n  x:\n    hosts:\n      - y # z\n# end\n",
      "tenants:\n  a: {}\n  # about x\n  # z\n# end\n",
    ],
    ["a.yaml", "tenants:\n  x:\n    schema: b\nappRole: r\n", "tenants: {}\nappRole: r\n"],
    ["a.yaml", "tenants: # all\n  x:", "tenants: {} # all"],
    ["a.yaml", "tenants: {a: {}, x: {}}", "tenants: {a: {}}"],
    ["a.yaml", "tenants: {x: {}, a: {}}", "tenants: {a: {}}"],
  ])("removes from %s %j", async (file, before, after) => {
    expect(await withoutTenant(file, before, "x")).toBe(after);
  });

  it("that could change something else is refused", async () => {
    const shared = "base: &b {x: {}}\ntenants: *b\n".replace("base", "migrations").replace("x: {}", "tenant: m");
    const anchored = "tenants:\n  x: &x {schema: y}\n  z: {<<: *x, schema: q}\n";
    expect(await refusal(withoutTenant("a.yaml", anchored, "x"))).toMatchObject({ code: "CONFIG_NOT_EDITABLE" });
    expect(await refusal(withTenant("a.yaml", shared, "y", {}))).toMatchObject({
      code: expect.stringMatching(/^CONFIG_/),
    });
  });

  it("keeps every comment and every other entry, whatever is added, changed and removed", async () => {
    const name = fc.constantFrom("a", "b", "10", "2", "yes", "null", "1.5", "東京", "x-y.z");
    const value = fc.record(
      {
        schema: fc.constantFrom("s: 1", "#x", "y"),
        hosts: fc.constant<string[]>(["h.local"]),
        labels: fc.constant({ "a b": "{c}" }),
      },
      { requiredKeys: [] },
    );
    const steps = fc.array(fc.record({ name, value, add: fc.boolean() }), { maxLength: 8 });
    const comments = ["# c0", "# c1", "# c2", "# c3", "# c4"];
    const slash = (text: string) => text.replace(/# (c\d)/g, "// $1");
    const texts = [
      [
        "f.jsonc",
        slash(
          '{ # c0\n  # c1\n  "appRole": "r", # c2\n  "tenants": {\n    # c3\n    "z": { "schema": "q" } # c4\n  }\n}\n',
        ),
      ],
      ["f.jsonc", slash('# c0\n{ "tenants": { # c1\n"z": {"schema": "q"}, # c2\n # c3\n}, # c4\n"appRole": "r"}')],
      ["f.jsonc", '/* # c0 */ {"tenants": {"z": {"schema": "q"} /* # c1 # c2 */}, "appRole": "r" /* # c3 # c4 */}'],
      ["f.yaml", "# c0\nappRole: r # c1\ntenants: # c2\n  # c3\n  z: { schema: q } # c4\n"],
      ["f.yaml", "tenants: # c0\n    z: # c1\n        schema: q # c2\n    # c3\nappRole: r # c4"],
      ["f.yaml", "tenants: {z: {schema: q}, # c0\n  # c1\n } # c2\n# c3\nappRole: r # c4\n"],
    ] as const;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...texts), steps, fc.boolean(), async ([file, start], all, crlf) => {
        let text: string = crlf ? start.replaceAll("\n", "\r\n") : start;
        const expected = new Map<string, unknown>([["z", { schema: "q" }]]);
        for (const step of all) {
          if (!step.add && !expected.has(step.name)) continue;
          if (step.add && expected.has(step.name)) {
            const { hosts, labels } = step.value;
            const change: TenantEdit = {
              hosts,
              labels,
              ...(hosts ? { removeHosts: ["h2.local"] } : { hosts: ["h2.local"], removeHosts: ["h.local"] }),
              ...(labels ? { state: "suspended" } : { removeLabels: ["a b"], state: "active" }),
            };
            text = await withEdit(file, text, change, step.name);
            expected.set(step.name, edited(step.name, expected.get(step.name) as TenantEntry, change).entry);
            continue;
          }
          text = step.add
            ? await withTenant(file, text, step.name, step.value)
            : await withoutTenant(file, text, step.name);
          if (step.add) expected.set(step.name, step.value);
          else expected.delete(step.name);
        }
        const read: unknown = file.endsWith("yaml")
          ? parseYaml(text, { stringKeys: true })
          : parseJsonc(text, [], { allowTrailingComma: true });
        expect(read).toEqual({ appRole: "r", tenants: Object.fromEntries(expected) });
        for (const comment of comments)
          expect(text).toContain(file.endsWith("c") && !start.includes("/*") ? slash(comment) : comment);
        if (crlf) expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
      }),
      { numRuns: 300 },
    );
  });
});
