// What users get: the packed tarball, installed in an empty folder.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test, vi } from "vitest";
import { whenFileEnds } from "./support/ending.ts";

interface Packed {
  filename: string;
  size: number;
  unpackedSize: number;
  files: { path: string }[];
}

const root = fileURLToPath(new URL("..", import.meta.url));
vi.setConfig({ testTimeout: 120_000 }); // npm and tsc take their time on a busy machine

/** Prints the address of each module that is loaded. */
const loader = `
  import { writeSync } from "node:fs";
  export async function load(url, context, next) {
    writeSync(1, "loaded " + url + "\\n");
    return next(url, context);
  }
`;

let folder: string;
let packed: Packed;

function run(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: exit code ${status}\n${stdout}${stderr}`);
  return stdout;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenantctl-package-"));
  whenFileEnds(() => rm(folder, { recursive: true, force: true }));
  // without scripts: dist/ is built already, and other test files are using it
  const report = run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], root);
  [packed] = JSON.parse(report);
  await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, packed.filename)], folder);
}, 300_000);

test("it holds the built command and its papers, no sources and no tests", () => {
  const paths = packed.files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining([
      "bin/tenantctl.js",
      "dist/index.js",
      "dist/index.d.ts",
      "dist/cli/main.js",
      "tenants.config.schema.json",
      "README.md",
      "LICENSE",
      "CHANGELOG.md",
      "docs/isolation.md",
      "package.json",
    ]),
  );
  const strangers = paths.filter((path) => !/^(bin|dist|docs)\/|^[^/]+\.(md|json)$|^LICENSE$/.test(path));
  expect(strangers).toEqual([]);
  expect(paths.filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))).toEqual([]);
});

test("it is small", () => {
  expect(packed.size).toBeLessThan(520_000);
  expect(packed.unpackedSize).toBeLessThan(1_900_000);
});

test("npx runs the command", async () => {
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  expect(run("npx", ["tenantctl", "--version"], folder)).toBe(`${version}\n`);
  expect(run("npx", ["tenantctl", "--help"], folder)).toMatch(/create-tenant[\s\S]+migrate[\s\S]+rollback/);
});

test("an ES module imports the library", () => {
  const program = 'import { TenantctlError } from "tenantctl"; console.log(new TenantctlError("USAGE", "no").code);';
  expect(run(process.execPath, ["--input-type=module", "--eval", program], folder)).toBe("USAGE\n");
});

test("an ES module imports the runtime, which brings no command line, no Umzug and no embedded database", () => {
  const program = `
    import pg from "pg";
    import { createTenancy } from "tenantctl/runtime";
    console.log(typeof createTenancy);
    const tenancy = await createTenancy({ registry: { tenants: async () => [] }, pool: new pg.Pool() });
    console.log(tenancy.resolveHost("thor.polls.local"));
    await tenancy.close();
  `;
  const tracing = ["--experimental-loader", `data:text/javascript,${encodeURIComponent(loader)}`, "--no-warnings"];
  const output = run(process.execPath, [...tracing, "--input-type=module", "--eval", program], folder);
  expect(output).toContain("function\nundefined");
  expect(output).toMatch(/loaded .*\/pg\//);
  expect(output).not.toMatch(/loaded .*(commander|umzug|zod|pglite|chalk|\/cli\/|\/fleet\/|\/migrations\/)/);
});

const openOnNothing = `createTenancy({ registry: { tenants: async () => [{ name: "thor", hosts: ["thor.local"] }] }, pool: new pg.Pool() })`;

test("a CommonJS module requires the library and the runtime, without a warning, and knows the errors of both copies", () => {
  const program = `
    const pg = require("pg");
    const { TenantctlError, migrate } = require("tenantctl");
    const { createTenancy } = require("tenantctl/runtime");
    (async () => {
      const tenancy = await ${openOnNothing};
      const refused = await tenancy.query("select 1").catch((error) => error);
      const { TenantctlError: other } = await import("tenantctl/runtime");
      console.log(typeof migrate, tenancy.resolveHost("thor.local").schema, refused instanceof TenantctlError, refused instanceof other);
      console.log(other === TenantctlError, new Error("no") instanceof TenantctlError);
      await tenancy.close();
    })();
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--eval", program], { cwd: folder, encoding: "utf8" });
  expect([stdout, stderr]).toEqual(["function thor true true\nfalse false\n", ""]);
});

test("Jest, which takes CommonJS, runs a test of the runtime with a config in a file", async () => {
  const program = `
    const pg = require("pg");
    const { createTenancy, TenantctlError } = require("tenantctl/runtime");
    test("the current tenant", async () => {
      const tenancy = await createTenancy({ pool: new pg.Pool(), config: "tenants.config.yaml" });
      expect(await tenancy.withTenant("loki", () => tenancy.currentTenant().schema)).toBe("loki_1");
      await expect(tenancy.query("select 1")).rejects.toBeInstanceOf(TenantctlError);
      await tenancy.close();
    });
  `;
  const project = join(folder, "jest");
  await mkdir(project);
  await writeFile(join(project, "package.json"), '{ "type": "commonjs" }');
  await writeFile(join(project, "tenants.config.yaml"), "tenants:\n  loki: { schema: loki_1 }\n");
  await writeFile(join(project, "tenancy.test.js"), program);
  const jest = join(root, "node_modules/jest/bin/jest.js");
  const { status, stderr } = spawnSync(process.execPath, [jest, "--ci", "--rootDir", project], {
    cwd: project,
    encoding: "utf8",
  });
  expect(stderr).toContain("Tests:       1 passed, 1 total");
  expect(status).toBe(0);
});

test("its types hold in a CommonJS project of TypeScript", async () => {
  const program = `
    import pg = require("pg");
    import { TenantctlError, type ErrorCode } from "tenantctl";
    import { createTenancy, type Tenancy, type TenancyOptions } from "tenantctl/runtime";
    const options: TenancyOptions = { pool: new pg.Pool(), acquireTimeoutMs: 5_000 };
    export const open = (): Promise<Tenancy> => createTenancy(options);
    export const codeOf = (error: unknown): ErrorCode | undefined => (error instanceof TenantctlError ? error.code : undefined);
    export const rowsOf = async (tenancy: Tenancy): Promise<unknown[]> => {
      const client = tenancy.client();
      return (await client.query("select 1")).rows;
    };
    export class Mine extends TenantctlError {}
    // @ts-expect-error: no such option
    export const wrong = createTenancy({ poolmode: "session" });
  `;
  await expectTypes(program, "cts", { module: "node16", skipLibCheck: true });
});

/** In a strict project, whose types are those that we have here. */
async function expectTypes(program: string, ending: "ts" | "cts", options: object): Promise<void> {
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: "es2023",
    types: ["node"],
    typeRoots: [join(root, "node_modules/@types")],
    ...options,
  };
  await writeFile(join(folder, `program.${ending}`), program);
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: [`program.${ending}`] }));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  expect(run(process.execPath, [tsc, "--project", folder], folder)).toBe("");
}

test("its types hold in a strict TypeScript project", async () => {
  const program = `
    import { TenantctlError } from "tenantctl";
    const error: TenantctlError = new TenantctlError("USAGE", "no", { hint: "say more" });
    export const hint: string | undefined = error.hint;
    import { createTenancy, type Tenancy } from "tenantctl/runtime";
    export const open = (): Promise<Tenancy> => createTenancy({ database: "postgres://localhost/app", subdomainsOf: "polls.local" });
    export const count = async (tenancy: Tenancy): Promise<number | null> => (await tenancy.query("select 1")).rowCount;
    // @ts-expect-error: no such code
    export const wrong = new TenantctlError("NO_SUCH_CODE", "no");
  `;
  await expectTypes(program, "ts", { module: "nodenext" });
});

test("editors find the config's JSON Schema where init says it is", async () => {
  const file = join(folder, "node_modules/tenantctl/tenants.config.schema.json");
  expect(existsSync(file)).toBe(true);
  expect(JSON.parse(await readFile(file, "utf8"))).toHaveProperty("properties.tenants");
});
