// Logins of tenants: their passwords as PostgreSQL reads them, their limits, a change without downtime, and who can't log in.
import { describe, expect, test } from "vitest";
import { literal } from "../../src/database/quote.js";
import { tenantLogins, tenantRole } from "../../src/database/roles.js";
import {
  createLogin,
  createTenant,
  dropLogin,
  editTenant,
  listLogins,
  loginDefaults,
  migrate,
} from "../../src/fleet/index.js";
import { preparedPassword, verifierOf } from "../../src/fleet/password.js";
import { psql } from "../cli/programs.ts";
import { startProgram } from "../support/cli.ts";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { as, isolatedFleet } from "./isolated.ts";

const password = "open-sesame-1";

function loginUrl(database: TestDatabase, schema: string, which = 0, secret = password): string {
  const url = new URL(database.url);
  url.username = tenantLogins(database.name, schema)[which] ?? "";
  url.password = encodeURIComponent(secret);
  return url.href;
}

const connects = (database: TestDatabase, schema: string, which = 0, secret = password) =>
  as(database, loginUrl(database, schema, which, secret), "select current_schema()").catch(
    (error: { code: string }) => error.code,
  );

const passwords: [string, string][] = [
  ["accents", "pässwort-öffne"],
  ["accents that are characters of their own", "cafe\u0301-creme\u0301-1"],
  ["a ligature", "\ufb01ne-ligature-1"],
  ["a space that does not break", "two\u00a0words\u00a0more"],
  ["a soft hyphen", "soft\u00adhyphen-pass"],
  ["wide letters", "\uff41\uff42\uff43-wide-letters"],
  ["a roman numeral", "\u2168-roman-numeral"],
  ["Cyrillic", "\u043f\u0430\u0440\u043e\u043b\u044c-\u0434\u043b\u0438\u043d\u043d\u044b\u0439"],
  ["Hebrew", "\u05e9\u05dc\u05d5\u05dd\u05e9\u05dc\u05d5\u05dd\u05e9\u05dc\u05d5\u05dd"],
  ["both directions, which SASLprep forbids", "\u05e9\u05dc\u05d5\u05dd-latin-word"],
  ["an emoji, which SASLprep does not know", "key-\u{1f511}-password"],
  ["a bell, which SASLprep forbids", "bell-\u0007-password-é"],
];

describe.each(servers())("PostgreSQL $major", (server) => {
  test("what the server is sent is what it would have made of the password itself", async () => {
    const database = await createDatabase(server);
    const client = await database.connect();
    await client.query("set password_encryption to 'scram-sha-256'; begin; create role prober");
    for (const [what, text] of passwords) {
      await client.query(`alter role prober password ${literal(text)}`);
      const { rows } = await client.query<{ made: string }>(
        "select rolpassword as made from pg_authid where rolname = 'prober'",
      );
      const made = rows[0]?.made ?? "";
      const salt = Buffer.from(/^SCRAM-SHA-256\$4096:([^$]+)\$/.exec(made)?.[1] ?? "", "base64");
      expect([what, verifierOf(await preparedPassword(text), salt)]).toEqual([what, made]);
    }
    await client.query("rollback");
  });

  test(`a password that is not ASCII logs in through node-postgres, and psql where it is there${psql.note}`, async () => {
    const database = await createDatabase(server);
    const { fleet } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    for (const [what, text] of passwords.filter(([what]) => !what.includes("SASLprep"))) {
      await createLogin(fleet, "thor", text);
      expect([what, await connects(database, "thor", 0, text)]).toEqual([what, "thor"]);
      if (psql.missing) continue;
      const url = Object.assign(new URL(loginUrl(database, "thor")), { password: "" }).href;
      const asked = startProgram("psql", ["-XAtc", "select current_schema()", url], { env: { PGPASSWORD: text } });
      expect([what, (await asked.ended).stdout]).toEqual([what, "thor\n"]);
    }
  });

  test("one that is too short is refused, and so is what no password can have", async () => {
    const database = await createDatabase(server);
    const { fleet } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    for (const text of ["", "short", "eleven-long", "\u{1f511}".repeat(11), "with-a-zero-\0-byte"])
      await expect(createLogin(fleet, "thor", text)).rejects.toMatchObject({ code: "USAGE" });
    expect(await listLogins(fleet)).toEqual([]);
  });

  test("a new login has limits, which whoever changes the password keeps and can change", async () => {
    const database = await createDatabase(server);
    const { fleet } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    const limits = async () => {
      const rows = await database.query<{ limit: number; until: string | null; settings: string[] }>(
        `select r.rolconnlimit as limit, to_char(r.rolvaliduntil at time zone 'utc', 'YYYY-MM-DD') as until, s.setconfig[2:] as settings
         from pg_roles r join pg_db_role_setting s on s.setrole = r.oid where r.rolname = $1`,
        [tenantLogins(database.name, "thor")[0]],
      );
      return rows[0];
    };
    await createLogin(fleet, "thor", password);
    const settings = [
      "statement_timeout=300000",
      "idle_in_transaction_session_timeout=60000",
      "idle_session_timeout=3600000",
    ];
    expect(await limits()).toEqual({ limit: loginDefaults.connectionLimit, until: null, settings });
    await createLogin(fleet, "thor", password, {
      connectionLimit: 1,
      validUntil: new Date("2099-01-31T00:00:00Z"),
      statementTimeoutMs: 1000,
    });
    settings[0] = "statement_timeout=1000";
    expect(await limits()).toMatchObject({ limit: 1, until: "2099-01-31", settings: expect.arrayContaining(settings) });
    await createLogin(fleet, "thor", password);
    expect(await limits()).toMatchObject({ limit: 1, until: "2099-01-31", settings: expect.arrayContaining(settings) });

    const first = await database.connectAs(loginUrl(database, "thor"));
    expect((await first.query("show statement_timeout")).rows).toEqual([{ statement_timeout: "1s" }]);
    expect(await connects(database, "thor")).toBe("53300");
    await first.end();
    await createLogin(fleet, "thor", password, { validUntil: new Date("2001-01-01") });
    expect(await connects(database, "thor")).toBe("28P01");
    expect(await listLogins(fleet)).toMatchObject([{ canLogin: false, validUntil: "2001-01-01T00:00:00Z" }]);
    await createLogin(fleet, "thor", password, { validUntil: null });
    expect(await connects(database, "thor")).toBe("thor");
  });

  test("a password is changed without downtime: two logins for a while, then the first one goes, and so in turn", async () => {
    const database = await createDatabase(server);
    const { fleet } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    const [first, second] = tenantLogins(database.name, "thor");
    const limits = { connectionLimit: 7, statementTimeoutMs: 4_000 };
    expect(await createLogin(fleet, "thor", password, limits)).toMatchObject({ login: first, outcome: "created" });
    await expect(dropLogin(fleet, "thor", { old: true })).rejects.toMatchObject({ code: "USAGE" });
    const open = await database.connectAs(loginUrl(database, "thor"));
    expect(await createLogin(fleet, "thor", "open-sesame-2", { rotate: true })).toMatchObject({
      login: second,
      outcome: "created",
    });
    expect([await connects(database, "thor"), await connects(database, "thor", 1, "open-sesame-2")]).toEqual([
      "thor",
      "thor",
    ]);
    expect((await open.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    await expect(createLogin(fleet, "thor", "open-sesame-3", { rotate: true })).rejects.toMatchObject({
      code: "USAGE",
    });
    expect(await listLogins(fleet)).toMatchObject([
      { login: first, connectionLimit: 7 },
      { login: second, connectionLimit: 7 },
    ]);
    // without --rotate it is the one in use, the newer, that is changed
    expect(await createLogin(fleet, "thor", "open-sesame-3")).toMatchObject({ login: second, outcome: "changed" });
    expect(await dropLogin(fleet, "thor", { old: true })).toMatchObject({ login: first, outcome: "dropped" });
    await expect(open.query("select 1")).rejects.toThrow();
    expect([await connects(database, "thor"), await connects(database, "thor", 1, "open-sesame-3")]).toEqual([
      "28P01",
      "thor",
    ]);
    expect(await createLogin(fleet, "thor", password, { rotate: true })).toMatchObject({
      login: first,
      outcome: "created",
    });
    expect(await dropLogin(fleet, "thor", { old: true })).toMatchObject({ login: second });
    expect(await connects(database, "thor")).toBe("thor");
    expect(await dropLogin(fleet, "thor")).toMatchObject({ login: first, outcome: "dropped" });
    expect(await dropLogin(fleet, "thor")).toMatchObject({ outcome: "missing" });
  });

  test("a login that is dropped is shut out first, whatever it holds open or owns", async () => {
    const database = await createDatabase(server);
    const { fleet } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    const [login] = tenantLogins(database.name, "thor");
    await createLogin(fleet, "thor", password);
    const open = await database.connectAs(loginUrl(database, "thor"));
    await open.query("create temporary table mine (); select lo_create(0)");
    expect(await dropLogin(fleet, "thor")).toMatchObject({
      login,
      outcome: "stripped",
      kept: [{ role: login, able: false, why: expect.stringContaining("large object") }],
    });
    await expect(open.query("select 1")).rejects.toThrow();
    expect(await connects(database, "thor")).toBe("28000");
    expect(await database.query("select has_schema_privilege($1, 'thor', 'usage') as usage", [login])).toEqual([
      { usage: false },
    ]);
  });

  test("logins of suspended and archived tenants can't connect, and those of active ones can again", async () => {
    const database = await createDatabase(server);
    const { fleet, project, again } = await isolatedFleet(database, ["thor", "loki"]);
    await migrate(fleet, {});
    for (const name of ["thor", "loki"]) await createLogin(fleet, name, password);
    const open = await database.connectAs(loginUrl(database, "thor"));
    await editTenant(fleet, "thor", { state: "suspended" });
    await expect(open.query("select 1")).rejects.toThrow();
    expect([await connects(database, "thor"), await connects(database, "loki")]).toEqual(["28000", "loki"]);
    expect(await listLogins(fleet)).toMatchObject([
      { tenant: "loki", state: "active", canLogin: true },
      { tenant: "thor", state: "suspended", canLogin: false, connectionLimit: 10, connections: 0, validUntil: null },
    ]);
    await createLogin(fleet, "thor", "open-sesame-2"); // of one that is suspended: for later
    expect(await connects(database, "thor", 0, "open-sesame-2")).toBe("28000");
    await editTenant(fleet, "thor", { state: "active" });
    expect(await connects(database, "thor", 0, "open-sesame-2")).toBe("thor");
    // somebody edits the file by hand: the next migrate sees it
    const config = JSON.parse(await project.read("tenants.config.json"));
    config.tenants.thor = { state: "archived" };
    await project.write("tenants.config.json", JSON.stringify(config));
    await migrate(await again(), {});
    expect(await connects(database, "thor", 0, "open-sesame-2")).toBe("28000");
    config.tenants.thor = {};
    await project.write("tenants.config.json", JSON.stringify(config));
    await migrate(await again(), {});
    expect(await connects(database, "thor", 0, "open-sesame-2")).toBe("thor");
    // whom somebody shut out for another reason stays out
    await database.query(`alter role "${tenantLogins(database.name, "thor")[0]}" nologin`);
    await migrate(await again(), {});
    expect(await connects(database, "thor", 0, "open-sesame-2")).toBe("28000");
  });

  test("a login that was dropped, and stays since it owns something, does not come back with its tenant", async () => {
    const database = await createDatabase(server);
    const { fleet } = await isolatedFleet(database, ["thor"]);
    await migrate(fleet, {});
    await createLogin(fleet, "thor", password);
    expect(await as(database, loginUrl(database, "thor"), "select lo_create(0) > 0")).toBe("true");
    await editTenant(fleet, "thor", { state: "suspended" });
    expect(await dropLogin(fleet, "thor")).toMatchObject({ outcome: "stripped" });
    await editTenant(fleet, "thor", { state: "active" });
    await migrate(fleet, {});
    expect(await connects(database, "thor")).toBe("28000");
  });

  test("a login that is left from a former tenant is dropped before a new one is made", async () => {
    const database = await createDatabase(server);
    const { fleet, owner } = await isolatedFleet(database, ["loki"]);
    await migrate(fleet, {});
    const [login] = tenantLogins(database.name, "thor");
    await createTenant(fleet, { name: "thor" });
    await as(
      database,
      owner.url,
      `create role "${login}" login password 'open-sesame-0'`,
      `grant "${tenantRole(database.name, "loki")}" to "${login}"`,
    );
    expect(await createLogin(fleet, "thor", password)).toMatchObject({ login, outcome: "created" });
    expect(await as(database, loginUrl(database, "thor"), "select owner from loki.notes")).toBe("42501");
    expect(await connects(database, "thor")).toBe("thor");
  });
});
