// The walls of DESIGN: who imports whom, and who alone may touch the environment, the console and the process.
import { spawnSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";
import { whenFileEnds } from "./support/ending.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Violation {
  from: string;
  rule: string;
}

/** What dependency-cruiser reports about the `src` in a folder, with the rules of this repository. */
function importViolations(folder: string): Violation[] {
  const program = join(root, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
  const args = [program, "src", "--config", ".dependency-cruiser.cjs", "--output-type", "json"];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8", maxBuffer: 2 ** 26 });
  if (stdout === "") throw new Error(stderr);
  const report: { summary: { violations: { from: string; rule: { name: string } }[] } } = JSON.parse(stdout);
  return report.summary.violations.map(({ from, rule }) => ({ from, rule: rule.name }));
}

/** Where a file below `src` in a folder says a name like this; comments and strings don't count. */
async function mentions(folder: string, pattern: RegExp, except: RegExp): Promise<string[]> {
  const files = await readdir(join(folder, "src"), { recursive: true });
  const found: string[] = [];
  for (const file of files.filter((name) => name.endsWith(".ts") && !except.test(name))) {
    const source = await parse(join(folder, "src", file));
    const visit = (node: ts.Node) => {
      if (ts.isPropertyAccessExpression(node) && pattern.test(node.getText(source)))
        found.push(`${file}:${source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1}`);
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

async function parse(file: string): Promise<ts.SourceFile> {
  return ts.createSourceFile(file, await readFile(file, "utf8"), ts.ScriptTarget.Latest);
}

const environment = /^process\.env$/;
const output = /^(process\.(exit|exitCode|stdout|stderr)|console\.\w+)$/;

describe("in src/", () => {
  test("imports go down only", () => {
    expect(importViolations(root)).toEqual([]);
  });

  test("only config/ reads the environment", async () => {
    expect(await mentions(root, environment, /^config\//)).toEqual([]);
  });

  test("only cli/ exits and prints", async () => {
    expect(await mentions(root, output, /^cli\//)).toEqual([]);
  });

  test("the public face only re-exports", async () => {
    const source = await parse(join(root, "src/index.ts"));
    const others = source.statements.filter((node) => !ts.isExportDeclaration(node) || !node.moduleSpecifier);
    expect(others.map((statement) => statement.getText(source))).toEqual([]);
  });
});

describe("a copy that breaks the rules is told so:", () => {
  const planted = [
    { file: "errors.ts", imports: "./config/planted.js", rule: "errors.ts imports nothing" },
    { file: "config/planted.ts", imports: "../cli/planted.js", rule: "config/ imports errors.ts" },
    { file: "database/planted.ts", imports: "../registry/planted.js", rule: "database/ imports errors.ts, config/" },
    { file: "registry/planted.ts", imports: "../migrations/planted.js", rule: /^registry\/ imports/ },
    { file: "migrations/planted.ts", imports: "../fleet/planted.js", rule: /^migrations\/ imports errors/ },
    { file: "fleet/planted.ts", imports: "../cli/planted.js", rule: /^fleet\/ imports/ },
    { file: "runtime/planted.ts", imports: "../migrations/planted.js", rule: /^runtime\/ imports/ },
    { file: "cli/planted.ts", imports: "../database/planted.js", rule: /^cli\/ imports/ },
    { file: "cli/inner.ts", imports: "../fleet/planted.js", rule: /^cli\/ imports/ },
    { file: "database/values.ts", imports: "../config/planted.js", rule: "database/ imports only types of config/" },
    { file: "fleet/cosmiconfig.ts", imports: "cosmiconfig", rule: "only config/ imports cosmiconfig" },
    { file: "registry/pg.ts", imports: "pg", rule: "only database/ imports pg, @electric-sql/pglite" },
    { file: "fleet/umzug.ts", imports: "umzug", rule: "only migrations/ imports umzug" },
    { file: "fleet/chalk.ts", imports: "chalk", rule: /^only cli\/ imports commander/ },
    { file: "fleet/dev.ts", imports: "vitest", rule: "only declared dependencies" },
    { file: "fleet/nowhere.ts", imports: "./nowhere-at-all.js", rule: "every import resolves" },
    { file: "utils/planted.ts", imports: "../errors.js", rule: "every file of src/ belongs to a room" },
    { file: "config/a.ts", imports: "./b.js", rule: "no circular imports" },
    { file: "config/b.ts", imports: "./a.js" },
  ];
  let copy: string;
  let violations: Violation[];

  beforeAll(async () => {
    copy = await mkdtemp(join(tmpdir(), "tenantctl-architecture-"));
    whenFileEnds(() => rm(copy, { recursive: true, force: true }));
    for (const part of ["src", "package.json", "tsconfig.json", ".dependency-cruiser.cjs"])
      await cp(join(root, part), join(copy, part), { recursive: true });
    await symlink(join(root, "node_modules"), join(copy, "node_modules"));
    for (const { file, imports } of planted) {
      await mkdir(dirname(join(copy, "src", file)), { recursive: true });
      await writeFile(
        join(copy, "src", file),
        `import * as it from "${imports}";\nconsole.log(it, process.env.HOME);\n`,
      );
    }
    violations = importViolations(copy);
  });

  test.each(planted.filter(({ rule }) => rule !== undefined))("$imports in $file", ({ file, rule }) => {
    const rules = violations.filter(({ from }) => from === `src/${file}`).map((violation) => violation.rule);
    expect(rules).toContainEqual(rule instanceof RegExp ? expect.stringMatching(rule) : rule);
  });

  test("process.env in a room that isn't config", async () => {
    const found = await mentions(copy, environment, /^config\//);
    expect(found).toContain("fleet/planted.ts:2");
    expect(found).not.toContain("config/planted.ts:2");
  });

  test("console in a room that isn't cli", async () => {
    const found = await mentions(copy, output, /^cli\//);
    expect(found).toContain("fleet/planted.ts:2");
    expect(found).not.toContain("cli/planted.ts:2");
  });
});
