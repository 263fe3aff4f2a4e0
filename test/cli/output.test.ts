import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { z } from "zod";
import { startProgram } from "../support/cli.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { fleetOf, names, polls } from "./polls.ts";
import * as shapes from "./shapes.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
const escapes = /\u001b/;

let database: TestDatabase;
let project: TestProject;

beforeAll(async () => {
  database = await createDatabase();
  project = await createProject({
    database,
    migrations: polls,
    shared: { "20260101000000_plans.sql": "create table plans (id int);" },
    tenants: fleetOf(3),
  });
});

async function document<T>(shape: z.ZodType<T>, args: string[], code = 0): Promise<T> {
  const result = await project.tenantctl([...args, "--json"]);
  expect(result.code, result.stdout + result.stderr).toBe(code);
  expect(result.stdout).not.toMatch(escapes);
  return shape.parse(result.json());
}

describe("--json prints one document of the documented shape", () => {
  test("for migrate, also where a tenant fails", async () => {
    await database.query("create schema t02; create table t02.polls ()");
    const found = await document(shapes.migrate, ["migrate"], 1);
    expect(found).toMatchObject({
      ok: false,
      stopped: null,
      summary: { tenants: 3, migrated: 2, failed: 1 },
      shared: { applied: ["20260101000000_plans"] },
      tenants: [
        { name: "t01", outcome: "migrated", applied: names },
        { name: "t02", outcome: "failed", error: { code: "UNMANAGED" } },
        { name: "t03" },
      ],
    });
    await database.query("drop schema t02 cascade");
    expect(await document(shapes.migrate, ["migrate"])).toMatchObject({ ok: true, tenants: [{ name: "t02" }] });
    expect(await document(shapes.migrate, ["migrate"])).toMatchObject({ summary: { current: 3 }, tenants: [] });
  });

  test("for rollback, status, repair, create-schemas, runs and doctor", async () => {
    const rolled = await document(shapes.rollback, ["rollback", "t01", "--steps", "1"]);
    expect(rolled.tenants).toMatchObject([{ name: "t01", outcome: "reverted", reverted: [names[2]] }]);
    const status = await document(shapes.status, ["status", "--check"], 4);
    expect(status.tenants).toEqual([
      { name: "t01", schema: "t01", state: "pending", version: names[1], applied: 2, pending: [names[2]] },
    ]);
    expect((await document(shapes.status, ["status", "--list"])).tenants).toHaveLength(3);
    await document(shapes.migrate, ["repair"]);
    await document(shapes.migrate, ["create-schemas"]);
    expect((await document(shapes.runs, ["runs"])).runs.map(({ command }) => command)).toContain("rollback");
    expect(await document(shapes.doctor, ["doctor"])).toEqual({ ok: true, findings: [] });
  });

  test("for list, create-tenant, add-tenant and remove-tenant", async () => {
    const tenant = { name: "thor", schema: "thor", hosts: ["thor.local"], labels: { plan: "free" }, state: "active" };
    const options = ["--host", "thor.local", "--label", "plan=free"];
    expect(await document(shapes.change, ["create-tenant", "thor", ...options])).toEqual({ tenant, applied: names });
    expect((await document(shapes.list, ["list", "thor"])).tenants).toEqual([tenant]);
    expect(await document(shapes.change, ["remove-tenant", "thor"])).toEqual({ tenant, applied: [] });
    expect(await document(shapes.change, ["add-tenant", "thor", ...options])).toEqual({ tenant, applied: [] });
    await document(shapes.change, ["remove-tenant", "thor", "--drop-schema", "--yes"]);
  });

  test("for every error, wherever it comes from", async () => {
    const errors: [string[], string, number][] = [
      [["migrate", "nobody"], "TENANT_UNKNOWN", 2],
      [["migrate", "--nonsense"], "USAGE", 2],
      [["nonsense"], "USAGE", 2],
      [["create-tenant", "t01"], "TENANT_EXISTS", 2],
      [["remove-tenant", "t01", "--drop-schema"], "UNCONFIRMED", 2],
      [["status", "--database", "postgres://nobody:s3cret@127.0.0.1:1/x"], "DATABASE_UNREACHABLE", 3],
      [["list", "-c", "nowhere.json"], "CONFIG_NOT_FOUND", 2],
    ];
    for (const [args, code, exit] of errors) {
      expect(await document(shapes.error, args, exit)).toMatchObject({ error: { code, hint: expect.any(String) } });
    }
  });

  test("for a create-tenant whose migration fails", async () => {
    await project.write("migrations/tenant/20260104000000_bad.sql", "-- migrate:up\n\nselect nonsense;\n");
    const { error } = await document(shapes.error, ["create-tenant", "loki"], 1);
    expect(error).toMatchObject({
      code: "SQL",
      sqlState: "42703",
      migration: "20260104000000_bad",
      line: 3,
      column: 8,
    });
  });
});

describe("--quiet", () => {
  test("says failures, whose and where, and nothing else", async () => {
    const result = await project.tenantctl(["migrate", "t01", "--quiet"]);
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(/^error: t01: .*nonsense.*20260104000000_bad\.sql:3:8, SQLSTATE 42703\)\n$/);
  });

  test("is silent on success, on both streams", { timeout: 90_000 }, async () => {
    await project.write(
      "migrations/tenant/20260104000000_bad.sql",
      "-- migrate:up\nselect 1;\n-- migrate:down\nselect 1;",
    );
    const commands = [
      ["migrate"],
      ["rollback", "--steps", "1"],
      ["status"],
      ["list"],
      ["repair"],
      ["create-schemas"],
      ["create-tenant", "freya"],
      ["remove-tenant", "freya"],
      ["add-tenant", "freya"],
      ["runs"],
      ["doctor"],
    ];
    for (const args of commands) {
      expect(await project.tenantctl([...args, "--quiet"]), args.join(" ")).toMatchObject({
        code: 0,
        stdout: "",
        stderr: "",
      });
    }
  });

  test("leaves the document to --json", async () => {
    const result = await project.tenantctl(["status", "--quiet", "--json"]);
    expect(shapes.status.safeParse(result.json()).error).toBeUndefined();
    expect(result.stderr).toBe("");
  });
});

describe.skipIf(!existsSync("/dev/full"))("a disk that is full", () => {
  const binary = fileURLToPath(new URL("../../bin/tenantctl.js", import.meta.url));
  const shell = (line: string) =>
    startProgram("sh", ["-c", `"$1" "$2" ${line}`, "sh", process.execPath, binary], { cwd: project.folder }).ended;

  test("under stdout is told in a line and a hint", async () => {
    const result = await shell("list > /dev/full");
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^error: can't write to stdout: ENOSPC\nhint: .*\n$/);
  });

  test("under stderr does not break off a run", async () => {
    const result = await shell("rollback --steps 1 2> /dev/full");
    expect(result).toMatchObject({ code: 0, stdout: expect.stringMatching(/^4 tenants: 4 reverted/) });
    expect(await project.tenantctl(["migrate"])).toMatchObject({ code: 0 });
  });
});

test("a shared migration that fails stops the run before any tenant, in text and in JSON", async () => {
  await project.write("migrations/shared/20260102000000_bad.sql", "-- migrate:up\nselect 1/0;\n");
  await project.write("migrations/tenant/20260105000000_more.sql", "select 1;");
  const text = await project.tenantctl(["migrate"]);
  expect(text.code).toBe(1);
  expect(text.stderr).toMatch(/error: .*shared.*division by zero.*20260102000000_bad\.sql/);
  const found = await document(shapes.migrate, ["migrate"], 1);
  expect(found).toMatchObject({ ok: false, stopped: "shared", shared: { applied: [], error: { sqlState: "22012" } } });
  expect(found.summary).toMatchObject({ skipped: 4, migrated: 0 });
});
