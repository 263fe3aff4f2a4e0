// Command tests: a tenant's programs, shell and login reach that tenant and nobody else.
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import { tenantLogin, tenantRole } from "../../src/database/roles.js";
import { createLogin, migrate } from "../../src/fleet/index.js";
import { as, isolatedFleet } from "../fleet/isolated.ts";
import { createDatabase, servers } from "../support/database.ts";
import { psql } from "./programs.ts";
import { onTerminal, terminalAvailable, terminalNote } from "./terminal.ts";

const driver = createRequire(import.meta.url).resolve("pg");
const program = `const pg = require(${JSON.stringify(driver)});
const ask = async (text) => {
  const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  await client.query(text).then(({ rows }) => console.log(rows[0].owner), (error) => console.log(error.code));
  await client.end();
};
ask("select owner from notes").then(() => ask("select owner from loki.notes"));`;

test("exec, shell and verify-isolation", async () => {
  const database = await createDatabase();
  const { fleet, project, role } = await isolatedFleet(database, ["thor", "loki"]);
  await migrate(fleet, {});
  expect(await project.tenantctl(["exec", "thor", "--", "node", "-e", program])).toMatchObject({
    code: 0,
    stdout: "thor\n42501\n",
  });
  expect((await project.tenantctl(["exec", "thor", "--as-owner", "--", "node", "-e", program])).stdout).toBe(
    "thor\nloki\n",
  );
  const fine = await project.tenantctl(["verify-isolation", "--json"]);
  expect(fine.code).toBe(0);
  expect(fine.json()).toMatchObject({
    ok: true,
    tenants: 2,
    leaks: [],
    lacks: [],
    attempts: { tenants: 2, unexpected: [] },
  });
  await database.query(`grant usage on schema loki to ${role("thor")}; grant select on loki.notes to ${role("thor")}`);
  const found = await project.tenantctl(["verify-isolation"]);
  expect(found.code).toBe(4);
  expect(found.stdout).toMatch(
    /tenant_\S+_thor_\S+ +has +SELECT +loki\.notes +grant +revoke select on table loki\.notes from tenant_\S+\n/,
  );
  expect(found.stdout).toMatch(/^thor: select from "loki"\."notes" limit 1: done$/m);
  const quiet = await project.tenantctl(["verify-isolation", "--quiet"]);
  expect(quiet).toMatchObject({ code: 4, stdout: "", stderr: found.stdout });
  expect(await project.tenantctl(["verify-isolation", "nobody"])).toMatchObject({ code: 2, stdout: "" });
  const undone = await project.tenantctl(["isolate", "--undo"]);
  expect(undone).toMatchObject({ code: 2, stdout: "" });
  expect(undone.stderr).toMatch(/^error: .*\nhint: take "isolation" out of the config/);
});

test.skipIf(psql.missing)(`shell${psql.note}`, async () => {
  const database = await createDatabase();
  const { fleet, project } = await isolatedFleet(database, ["thor", "loki"]);
  await migrate(fleet, {});
  const shell = (text: string) => project.tenantctl(["shell", "thor", "--", "-XAtc", text]);
  expect(await shell("select owner from notes")).toMatchObject({ code: 0, stdout: "thor\n" });
  expect((await shell("select owner from loki.notes")).stderr).toMatch(/permission denied/);
  const owner = await project.tenantctl(["shell", "thor", "--as-owner", "--", "-XAtc", "vacuum notes"]);
  expect(owner).toMatchObject({ code: 0, stdout: "VACUUM\n" });
});

test.skipIf(!terminalAvailable)(`create-login asks for the password, and does not show it${terminalNote}`, async () => {
  const database = await createDatabase();
  const { fleet, project, app } = await isolatedFleet(database, ["thor"]);
  await migrate(fleet, {});
  const typed = (text: string) =>
    onTerminal(["create-login", "thor"], {
      cwd: project.folder,
      typing: { after: /password for the login of thor: /, text },
    });
  const left = await typed("\u0003");
  expect([2, 130]).toContain(left.code);
  expect(left.output).not.toMatch(/created/);
  const made = await typed("open-sesame-\u{1f511}x\u007f\r");
  expect(made).toMatchObject({ code: 0, output: expect.stringContaining("created login_") });
  expect(made.output).not.toMatch(/open|\u{1f511}/u);
  const url = new URL(app.url);
  url.username = tenantLogin(database.name, "thor");
  url.password = "open-sesame-\u{1f511}";
  expect(await as(database, url.href, "select owner from notes")).toBe("thor");
});

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a login is one tenant's, whatever is sent through it, and its password is nowhere to be read", async () => {
    const database = await createDatabase(server);
    const { fleet, project, role, app } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    const args = ["create-login", "thor"];
    expect(await project.tenantctl(args)).toMatchObject({ code: 2, stdout: "" });
    const made = await project.tenantctl([...args, "--json"], { env: { TENANTCTL_LOGIN_PASSWORD: "sesame-öffne" } });
    expect(made.json()).toEqual({
      tenant: "thor",
      schema: "thor",
      login: tenantLogin(database.name, "thor"),
      outcome: "created",
    });
    const url = new URL(app.url);
    url.username = tenantLogin(database.name, "thor");
    url.password = "sesame-öffne";
    expect(await as(database, url.href, "select owner from notes")).toBe("thor");
    for (const text of ["reset role", `set role ${role("loki")}`, `set role ${app.name}`])
      expect(await as(database, url.href, text, "select owner from loki.notes")).toMatch(/^(42501|22023)$/);
    expect((await project.tenantctl(["verify-isolation"])).code).toBe(0);
    expect(await createLogin(fleet, "thor", "another-sesame")).toMatchObject({ outcome: "changed" });
    expect(await as(database, url.href, "select 1").catch((error) => error.code)).toBe("28P01");
    const short = await project.tenantctl([...args, "--password-stdin"], { input: "too-short\n" });
    expect(short).toMatchObject({ code: 2, stdout: "" });
    expect(short.stderr).toMatch(/^error: a login's password needs at least 12 characters\nhint: .*openssl/);
    const input = "sesame from stdin é\n"; // without the end of its line
    expect(await project.tenantctl([...args, "--password-stdin"], { input })).toMatchObject({ code: 0 });
    url.password = encodeURIComponent(input.trim());
    expect(await as(database, url.href, "select owner from notes")).toBe("thor");
    for (const wrong of [
      ["--password-stdin", "two\nlines of it"],
      ["--connection-limit", "many"],
      ["--valid-until", "soon"],
      ["--rotate", "--drop"],
    ])
      expect(await project.tenantctl([...args, ...wrong.slice(0, 2)], { input: wrong[1] ?? "" })).toMatchObject({
        code: 2,
        stdout: "",
      });
    const listed = await project.tenantctl(["logins"]);
    expect(listed.stdout).toMatch(
      /^TENANT +LOGIN +MADE +CAN LOG IN +VALID UNTIL +LIMIT +OPEN\nthor +login_\S+_thor_\S+ +\d{4}-\d\d-\d\d +yes +10 +0\n$/,
    );
    expect((await project.tenantctl(["logins", "--json"])).json()).toEqual({
      logins: [
        {
          tenant: "thor",
          login: tenantLogin(database.name, "thor"),
          madeAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
          canLogin: true,
          state: "active",
          validUntil: null,
          connectionLimit: 10,
          connections: 0,
        },
      ],
    });
    const gone = await project.tenantctl([...args, "--drop", "--json"]);
    expect(gone.json()).toMatchObject({ outcome: "dropped" });
    // it goes with its tenant
    await createLogin(fleet, "loki", "another-sesame");
    await project.tenantctl(["remove-tenant", "loki", "--drop-schema", "--yes"]);
    const names = [tenantLogin(database.name, "loki"), tenantRole(database.name, "loki")];
    expect(await database.query("select from pg_roles where rolname = any($1)", [names])).toEqual([]);
  });
});
