// Functions that run with their owner's rights: how a tenant takes them over by temporary tables, and how doctor finds and closes them.
import { tmpdir } from "node:os";
import { beforeAll, describe, expect, test } from "vitest";
import { type Diagnosis, type ExamineOptions, examine, migrate, verifyIsolation } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { as, type IsolatedFleet, isolatedFleet } from "./isolated.ts";

const functions = `
  create table invoices (id int, total int); insert into invoices values (1, 100);
  create table entries (what text);
  create function invoice_total() returns bigint language plpgsql security definer set search_path from current as
    $$ begin return (select sum(total) from invoices); end $$;`;

const addEntry = (name: string, path: string, schema = "thor") =>
  `create function ${schema}.${name}() returns void language sql security definer ${path} as $$ insert into entries values ('${name}') $$`;

describe.each(servers())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let made: IsolatedFleet;
  let login: { url: string };
  const look = (options: ExamineOptions = {}): Promise<Diagnosis> =>
    examine({ config: made.project.configFile, env: { HOME: tmpdir() }, ...options });
  const about = ({ findings }: Diagnosis, words: string) =>
    findings.filter(({ where, message }) => `${where}: ${message}`.includes(words));
  const pathOf = async (name: string) =>
    (
      await database.query<{ path: string }>("select proconfig[1] as path from pg_proc where oid = $1::regproc", [name])
    )[0]?.path;
  const sendAsOwner = async (...texts: string[]) => {
    const client = await database.connectAs(made.owner.url);
    for (const text of texts) await client.query(text);
    await client.end();
  };

  /** Whose rights the trigger of the login's own `entries` gets when it calls the function; nobody's where it is not run. */
  const attack = async (call: string): Promise<string> =>
    as(
      database,
      login.url,
      "create temp table entries (what text); create temp table caught (who text); grant all on entries, caught to public",
      `create function pg_temp.catch() returns trigger language plpgsql as $$ begin insert into pg_temp.caught values (current_user); return null; end $$;
       create trigger catch before insert on pg_temp.entries for each row execute function pg_temp.catch()`,
      call,
      "select who from pg_temp.caught",
    );

  beforeAll(async () => {
    database = await createDatabase(server);
    made = await isolatedFleet(database, ["thor", "loki"]);
    await made.project.write("migrations/tenant/2_functions.sql", `-- migrate:up\n${functions}`);
    expect(await migrate(made.fleet, {})).toMatchObject({ ok: true });
    const { name, url } = await database.createRole("login inherit");
    await database.query(`grant ${made.role("thor")} to ${name}`);
    login = { url };
  });

  test("FROM CURRENT in a migration takes a path that ends in pg_temp, and doctor has nothing to say of it", async () => {
    expect(await pathOf("thor.invoice_total")).toBe('search_path="thor", "shared", "pg_temp"');
    expect(await pathOf("loki.invoice_total")).toBe('search_path="loki", "shared", "pg_temp"');
    expect(about(await look(), "invoice_total")).toEqual([]);
  });

  test("FROM CURRENT with pg_temp at the end of the path runs nobody's trigger; without it, a tenant's trigger has the owner's rights", async () => {
    await sendAsOwner(
      "set search_path to thor, shared, pg_temp",
      addEntry("safe", "set search_path from current"),
      "set search_path to thor, shared",
      addEntry("open", "set search_path from current"),
      addEntry("twice", "set search_path = pg_temp, thor, pg_temp"),
      addEntry("bare", ""),
    );
    expect(await attack("select thor.safe()")).toBe("");
    expect(await database.query("delete from thor.entries returning what")).toEqual([{ what: "safe" }]);
    for (const name of ["open", "twice", "bare"])
      expect([name, await attack(`select thor.${name}()`)]).toEqual([name, made.owner.name]);
  });

  test("doctor finds the open ones, and --fix puts pg_temp last in the path that they have", async () => {
    const found = await look();
    expect(about(found, "safe")).toEqual([]);
    for (const name of ["open", "twice"])
      expect(about(found, `function ${name}()`)).toMatchObject([
        {
          severity: "error",
          check: "function",
          where: "thor",
          message: expect.stringContaining("does not end in pg_temp"),
          hint: "tenantctl doctor --fix gives it the right one",
        },
      ]);
    expect(about(found, "function bare()")).toMatchObject([
      {
        message: expect.stringContaining("without a search_path"),
        hint: "in a migration: alter function bare() set search_path from current",
      },
    ]);

    const fixed = await look({ fix: true });
    expect(fixed.fixed?.map(({ done }) => done)).toEqual([
      "the search_path of open() is its own schema's, and ends in pg_temp",
      "the search_path of twice() is its own schema's, and ends in pg_temp",
    ]);
    expect(await pathOf("thor.open")).toBe("search_path=thor, shared, pg_temp");
    expect(await pathOf("thor.twice")).toBe("search_path=thor, pg_temp");
    for (const name of ["open", "twice"]) expect([name, await attack(`select thor.${name}()`)]).toEqual([name, ""]);
    expect(about(await look(), "pg_temp")).toEqual([]);
    await sendAsOwner("drop function thor.bare()");
  });

  test("a shared function is rewritten too, a procedure, and one whose schema and arguments need quotation marks", async () => {
    await sendAsOwner(
      "create function shared.log() returns int language sql security definer set search_path = shared as 'select 1'",
      'create type thor."Odd" as enum (); create procedure thor."Pay, now"(n thor."Odd", int[]) language sql security definer set search_path = thor as \'select 1\'',
    );
    expect((await look({ fix: true })).fixed?.map(({ where, done }) => `${where}: ${done}`)).toEqual([
      "shared: the search_path of log() is its own schema's, and ends in pg_temp",
      'thor: the search_path of "Pay, now"(IN n "Odd", IN integer[]) is its own schema\'s, and ends in pg_temp',
    ]);
    expect(await pathOf("shared.log")).toBe("search_path=shared, pg_temp");
    expect(await pathOf('thor."Pay, now"')).toBe("search_path=thor, pg_temp");
  });

  test("whose owner is somebody else, doctor says who has to send what", async () => {
    await database.query(addEntry("theirs", "set search_path = thor"));
    const fixed = await look({ fix: true });
    expect(fixed.fixed).toEqual([]);
    expect(about(fixed, "theirs() is")).toMatchObject([
      { check: "function", hint: 'as postgres: alter function thor.theirs() set search_path = "thor", pg_temp' },
    ]);
    await database.query("drop function thor.theirs()");
  });

  test("a tenant attaches a definer trigger function to a table of its own; doctor offers to take temporary tables away", async () => {
    await sendAsOwner(
      `create function thor.audit() returns trigger language plpgsql security definer set search_path = thor, pg_temp as
        $$ begin insert into entries values (new.what); return new; end $$;
       revoke all on thor.entries from ${made.role("thor")}`,
    );
    const makeUp = () =>
      as(
        database,
        login.url,
        "create temp table mine (what text)",
        "create trigger audit before insert on mine for each row execute function thor.audit()",
        "insert into mine values ('made up')",
      );
    expect(await makeUp()).toBe("");
    expect(await database.query("delete from thor.entries returning what")).toContainEqual({ what: "made up" });
    const [finding] = about(await look(), "trigger function");
    expect(finding).toMatchObject({
      severity: "warning",
      check: "function",
      message: expect.stringContaining("(thor.audit())"),
      hint: expect.stringContaining(`revoke temporary on database "${database.name}" from public`),
    });

    await database.query(finding?.hint.replace(/^.*?: /, "") ?? "");
    expect(await makeUp()).toBe("42501");
    expect(about(await look(), "trigger function")).toEqual([]);
    await database.query(
      `grant temporary on database ${database.name} to public; grant insert on thor.entries to ${made.role("thor")}`,
    );
    await sendAsOwner(
      "revoke execute on function thor.audit() from public",
      `revoke execute on function thor.audit() from ${made.role("thor")}`,
    );
    expect(about(await look(), "trigger function")).toEqual([]);
    expect(await makeUp()).toBe("42501");
  });

  test("a schema that was renamed: its functions no longer look into the one that has its former name now", async () => {
    await database.query("alter schema thor rename to acme");
    const config = JSON.parse(await made.project.read("tenants.config.json"));
    const tenants = (own: object) =>
      made.project.write("tenants.config.json", JSON.stringify({ ...config, tenants: own }));
    await tenants({ acme: {}, loki: {} });
    const alone = about(await look(), "acme: the function invoice_total()");
    expect(alone).toMatchObject([
      {
        severity: "error",
        check: "function",
        where: "acme",
        message: expect.stringContaining('the schema "thor", which does not exist'),
      },
    ]);

    await tenants({ acme: {}, loki: {}, thor: {} });
    const fleet = await made.again();
    expect(await migrate(fleet, {})).toMatchObject({ ok: true });
    await database.query("update thor.invoices set total = 999");
    const total = async () =>
      (await database.query<{ total: string }>("select acme.invoice_total() as total"))[0]?.total;
    expect(await total()).toBe("999");
    expect(about(await look(), "acme: the function invoice_total()")).toMatchObject([
      {
        severity: "error",
        check: "function",
        where: "acme",
        message: expect.stringContaining("another tenant's: it reads and writes there"),
      },
    ]);
    expect((await verifyIsolation(fleet, {}, { attempts: 0 })).leaks).toContainEqual(
      expect.objectContaining({ object: "acme.invoice_total()", how: 'search_path with "thor"' }),
    );

    expect((await look({ fix: true })).fixed).toContainEqual(
      expect.objectContaining({
        where: "acme",
        done: "the search_path of invoice_total() is its own schema's, and ends in pg_temp",
      }),
    );
    expect(await total()).toBe("100");
    expect(await pathOf("acme.invoice_total")).toBe("search_path=acme, shared, pg_temp");
    expect(about(await look(), "acme: the function invoice_total()")).toEqual([]);
  });
});
