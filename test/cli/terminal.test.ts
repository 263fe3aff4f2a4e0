import { beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { fleetOf, polls } from "./polls.ts";
import { onTerminal, terminalAvailable, terminalNote } from "./terminal.ts";
import { tenantSchemas, untouched } from "./traces.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
const colours = /\u001b\[\d+m/;

describe.skipIf(!terminalAvailable)(`on a terminal${terminalNote}`, () => {
  let database: TestDatabase;
  let project: TestProject;
  beforeAll(async () => {
    database = await createDatabase();
    project = await createProject({ database, migrations: polls, tenants: fleetOf(4) });
  });

  test("migrate draws a live line, and leaves its summary", async () => {
    const { code, output } = await onTerminal(["migrate", "--except", "t04"], { cwd: project.folder });
    expect(code).toBe(0);
    expect(output).toMatch(/3 tenants: 3 migrated, 0 current/);
    expect(output).toMatch(colours);
    expect(output).not.toMatch(/^t01 {2}migrated/m);
  });

  test("--no-color and NO_COLOR take the colour away", async () => {
    const { folder: cwd } = project;
    expect((await onTerminal(["status"], { cwd })).output).toMatch(colours);
    expect((await onTerminal(["status", "--no-color"], { cwd })).output).not.toMatch(colours);
    expect((await onTerminal(["status"], { cwd, env: { NO_COLOR: "1" } })).output).not.toMatch(colours);
    expect((await onTerminal(["migrate", "nobody", "--no-color"], { cwd })).output).not.toMatch(colours);
  });

  test("--json is a document and nothing else on stdout", async () => {
    const { output } = await onTerminal(["status", "--json"], { cwd: project.folder });
    expect(JSON.parse(output)).toHaveProperty("summary");
  });

  test("a terminal that says it has no columns gets plain lines", async () => {
    const result = await onTerminal(["migrate", "t04"], { cwd: project.folder, columns: 0 });
    expect(result).toMatchObject({ code: 0, output: expect.stringMatching(/^t04 {2}migrated {2}3 migrations/m) });
  });

  const remove = ["remove-tenant", "t01", "--drop-schema"];

  test("remove-tenant --drop-schema asks for the name, and stops at another one", async () => {
    const wrong = await untouched(database, project, () =>
      onTerminal(remove, { cwd: project.folder, typing: { after: /Type the tenant's name/, text: "yes\r" } }),
    );
    expect(wrong.code).toBe(2);
    expect(wrong.output).toMatch(/schema "t01" and everything in it/);
    expect(wrong.output).toMatch(/not the tenant's name/);
  });

  test("Ctrl-C at the question leaves everything as it is", async () => {
    const left = await untouched(database, project, () =>
      onTerminal(remove, { cwd: project.folder, typing: { after: /Type the tenant's name/, text: "\u0003" } }),
    );
    expect([2, 130]).toContain(left.code);
    expect(left.output).not.toMatch(/where there is no terminal/);
  });

  test("the typed name drops the schema", async () => {
    const typing = { after: /Type the tenant's name/, text: "t01\r" };
    const { code, output } = await onTerminal(remove, { cwd: project.folder, typing });
    expect({ code, output }).toMatchObject({ code: 0, output: expect.stringContaining('dropped its schema "t01"') });
    expect(await tenantSchemas(database)).toEqual(["t02", "t03", "t04"]);
  });
});
