import { describe, expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { psql } from "./programs.ts";
import { onTerminal, terminalAvailable, terminalNote } from "./terminal.ts";
import { expectRefusal } from "./traces.ts";

async function thor(): Promise<TestProject> {
  const database = await createDatabase();
  await database.query('create schema "th or"');
  await database.query('create table "th or".polls (id int)');
  return await createProject({ database, tenants: { thor: { schema: "th or" } } });
}

describe.skipIf(psql.missing)(`psql in a tenant's context${psql.note}`, () => {
  test("lands in its schema, takes arguments after --, and its exit code is ours", async () => {
    const project = await thor();
    const query = (...words: string[]) => project.tenantctl(["shell", "thor", "--", "-XAt", ...words]);
    expect(await query("-c", "select current_schema(), count(*) from polls")).toMatchObject({
      code: 0,
      stdout: "th or|0\n",
      stderr: "",
    });
    expect(await query("-c", "select * from nope")).toMatchObject({ code: 1 });
    expect(await query("-v", "ON_ERROR_STOP=1", "-f", "missing.sql")).toMatchObject({ code: 1 });
    const typed = await project.tenantctl(["shell", "thor"], { input: "\\echo :PROMPT1\nselect 1 as one;\n" });
    expect(typed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^thor %\/%R%x%#[\s\S]*one/) });
  });

  test("its password is not among its arguments", async () => {
    const project = await thor();
    const script = "\\! tr '\\0' ' ' </proc/$PPID/cmdline";
    const { stdout } = await project.tenantctl(["shell", "thor", "--", "-X", "-c", script]);
    expect(stdout).toMatch(/psql --set=PROMPT1=thor/);
    expect(stdout).not.toMatch(/open-sesame|postgres:/);
  });

  test.skipIf(!terminalAvailable)(
    `on a terminal, Ctrl-C is psql's, and the prompt shows the tenant${terminalNote}`,
    async () => {
      const project = await thor();
      const { code, output } = await onTerminal(["shell", "thor", "--", "-X"], {
        cwd: project.folder,
        typing: { after: /thor .*=# /, text: "select 'half\x03\\echo still here\n\\q\n" },
        env: { PAGER: "cat" },
      });
      expect(output).toMatch(/still here/);
      expect(code).toBe(0);
    },
  );
});

test("without psql the error says what to install", async () => {
  const project = await thor();
  const result = await project.tenantctl(["shell", "thor"], { env: { PATH: project.folder } });
  expectRefusal(result, { code: 127, error: /program not found: psql/, hint: /postgresql-client/ });
});

test("an unknown tenant and a second word are refused", async () => {
  const project = await thor();
  expectRefusal(await project.tenantctl(["shell", "thr"]), { error: /no tenant is called "thr"/, hint: /thor/ });
  expectRefusal(await project.tenantctl(["shell", "thor", "-c"]), { error: /argument missing/, hint: /--help/ });
  expectRefusal(await project.tenantctl(["shell", "thor", "select 1"]), { error: /"select 1"/, hint: /after --/ });
  expectRefusal(await project.tenantctl(["shell"]), { error: /missing required argument/, hint: /--help/ });
});
