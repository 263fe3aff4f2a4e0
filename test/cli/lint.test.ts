import { describe, expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { polls } from "./polls.ts";
import { expectRefusal } from "./traces.ts";

const bad = {
  "20260104000000_tags.sql":
    "-- migrate:up\ncreate extension citext;\ncreate table thor.tags (tag citext);\n-- migrate:down\ndrop table tags;\n",
  "20260105000000_more.sql": "create table more (id int);\n",
  "20260106000000_code.ts": "export const up = () => {};\n",
};

// nothing says where a database is
function projectWith(migrations: Record<string, string>): Promise<TestProject> {
  return createProject({ migrations, tenants: { thor: {} }, shared: { "1_plans.sql": "create extension citext;\n" } });
}

describe("lint", () => {
  test("says that it found nothing, and prints nothing with --quiet", async () => {
    const project = await projectWith(polls);
    const [said, quiet] = await Promise.all([project.tenantctl(["lint"]), project.tenantctl(["lint", "--quiet"])]);
    expect(said).toMatchObject({ code: 0, stdout: "4 files: nothing found\n", stderr: "" });
    expect(quiet).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });

  test("finds, with file, line and column, and exits with 4; modules are not passed over in silence", async () => {
    const project = await projectWith({ ...polls, ...bad });
    const [text, json, quiet] = await Promise.all([
      project.tenantctl(["lint"]),
      project.tenantctl(["lint", "--json", "--quiet"]),
      project.tenantctl(["lint", "--quiet"]),
    ]);
    expect(text).toMatchObject({ code: 4, stderr: "" });
    expect(text.stdout).toMatch(
      /^error: thor\.tags is one tenant's.* \(migrations\/tenant\/20260104000000_tags\.sql:3:14, hard-coded-schema\)\nhint: /m,
    );
    expect(text.stdout).toMatch(/^warning: .*20260105000000_more\.sql:1:1, no-down\)$/m);
    expect(text.stdout).toMatch(/\n6 files: 2 errors, 1 warning; 1 module not looked at\n$/);
    expect(json.code).toBe(4);
    const file = project.path("migrations/tenant/20260104000000_tags.sql");
    const words = { message: expect.stringMatching(/./), hint: expect.stringMatching(/./) };
    expect(json.json()).toEqual({
      ok: false,
      findings: [
        { severity: "error", rule: "extension", file, line: 2, column: 1, ...words },
        { severity: "error", rule: "hard-coded-schema", file, line: 3, column: 14, ...words },
        { severity: "warning", rule: "no-down", file: expect.any(String), line: 1, column: 1, ...words },
      ],
      files: 6,
      modules: 1,
    });
    expect(quiet).toMatchObject({ code: 4, stdout: "" });
    expect(quiet.stderr.match(/^(error|warning)/gm)).toEqual(["error", "error"]);
  });

  test("takes names, globs and paths, and knows no others", async () => {
    const project = await projectWith({ ...polls, ...bad });
    const files = async (...words: string[]) => {
      const result = await project.tenantctl(["lint", "--json", ...words]);
      return result.json<{ files: number; findings: { rule: string }[] }>();
    };
    const [named, globbed, unknown] = await Promise.all([
      files("20260105000000_more", "migrations/tenant/20260101000000_polls.sql"),
      files("2026010[1-3]*", "1_*"),
      project.tenantctl(["lint", "20260105000000_mroe"]),
    ]);
    expect(named).toMatchObject({ files: 2, findings: [{ rule: "no-down" }] });
    expect(globbed).toMatchObject({ files: 4, findings: [] });
    expectRefusal(unknown, { error: /no migration is called/, hint: /did you mean 20260105000000_more\?/ });
  });

  test("annotates in GitHub Actions, and writes no summary of a run that was none", async () => {
    const project = await projectWith(bad);
    const summary = project.path("summary.md");
    const result = await project.tenantctl(["lint", "--reporter", "github"], { env: { GITHUB_STEP_SUMMARY: summary } });
    expect(result.code).toBe(4);
    expect(result.stderr).toMatch(
      /^::error file=migrations\/tenant\/20260104000000_tags\.sql,line=3,col=14,title=hard-coded-schema::thor\.tags is .*%0A/m,
    );
    expect(result.stderr).toMatch(/^::warning file=\S+,line=1,col=1,title=no-down::/m);
    await expect(project.read("summary.md")).rejects.toThrow(/ENOENT/);
  });

  test.each(["lint", "migrate"])("%s gives GitHub no other command, whatever the files are called", async (command) => {
    const place = "mig | rations,line=1::\n::stop-commands::x\r\n<b>";
    const database = command === "lint" ? {} : { database: await createDatabase() };
    const project = await createProject({
      ...database,
      config: { migrations: { tenant: place } },
      tenants: { thor: {} },
    });
    await project.write(`${place}/1_a.sql`, "create table thor.a (id int);\nselect 1/0;\n");
    const summary = project.path("summary.md");
    const result = await project.tenantctl([command, "--reporter", "github"], {
      env: { GITHUB_STEP_SUMMARY: summary },
    });
    const lines = `${result.stdout}\n${result.stderr}`.split(/[\r\n]+/);
    const commands = lines.filter((line) => line.startsWith("::"));
    expect(commands).toContainEqual(
      expect.stringMatching(
        /^::error file=mig \| rations%2Cline=1%3A%3A%0A%3A%3Astop-commands%3A%3Ax%0D%0A<b>\/1_a\.sql,line=\d/,
      ),
    );
    expect(
      commands.filter((line) => !/^::(error|warning)( file=[^,:]+,line=\d+,col=\d+,title=[^,:]+)?::/.test(line)),
    ).toEqual([]);
    if (command === "lint") return;
    const rows = (await project.read("summary.md")).split("\n").filter((line) => line.startsWith("| thor"));
    expect(rows).toEqual([expect.stringMatching(/^\| thor \| mig &#124; rations.*&#60;b&#62;[^|]*\|[^|]*\|$/)]);
  });

  test("is refused without migrations, and with a bad config", async () => {
    const project = await createProject({});
    expectRefusal(await project.tenantctl(["lint"]), { error: /no migrations in the folder/, hint: /new-migration/ });
    await project.write("tenants.config.json", '{ "tenants": 3 }');
    expect(await project.tenantctl(["lint"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: .*tenants/),
    });
  });
});
