// doctor finds each thing that is wrong once, nothing where nothing is wrong, and --fix mends what is safe and nothing else.
import { tmpdir } from "node:os";
import { beforeAll, describe, expect, test } from "vitest";
import { sharedRole } from "../../src/database/roles.js";
import { ageFinding } from "../../src/fleet/doctor-limits.js";
import { type Diagnosis, type ExamineOptions, examine, migrate } from "../../src/fleet/index.js";
import { createDatabase, newest, servers, type TestDatabase } from "../support/database.ts";
import type { TestProject } from "../support/project.ts";
import { tenantsNamed, testFleet } from "./fleet.ts";
import { type IsolatedFleet, isolatedFleet } from "./isolated.ts";

const look = ({ configFile }: TestProject, options: ExamineOptions = {}): Promise<Diagnosis> =>
  examine({ config: configFile, env: { HOME: tmpdir() }, ...options });

/** `severity check where`, in order, and the file of a path alone; the database is `here`. */
const told = ({ findings }: Diagnosis): string[] =>
  findings
    .map(({ severity, check, where }) => `${severity} ${check} ${where.replace(/^.*\//, "")}`)
    .map((line) => line.replace(/doctor_[0-9a-f]{8}$/, "here"))
    .sort();

const about = ({ findings }: Diagnosis, where: string) => findings.find((finding) => finding.where === where);

const names = [
  "fine",
  "ext",
  "definer",
  "owner",
  "open",
  "later",
  "index",
  "numbers",
  "wide",
  "stamp",
  "rights",
  "gone",
  "filled",
];

/** What is wrong in a fleet with a role for each tenant; `owner` sends what the owner of the schemas would. */
async function plant(database: TestDatabase, { owner, role, project }: IsolatedFleet): Promise<void> {
  const client = await database.connectAs(owner.url);
  for (const text of [
    "create function definer.peep(n int) returns text language sql security definer as 'select current_schema()'",
    "create function definer.fixed() returns text language sql security definer set search_path = definer, pg_temp as 'select current_schema()'",
    "create function definer.read() returns int language sql security definer begin atomic select 1; end",
    "create function shared.peep() returns text language sql security definer as 'select current_schema()'",
    "grant usage on schema open to public; grant select, insert on open.notes to public",
    "alter default privileges in schema later grant select on tables to public; alter default privileges grant usage on schemas to public",
    "insert into index.notes (owner) values ('twice'), ('twice')",
    "create table index.parts (n int) partition by range (n); create table index.part partition of index.parts default",
    "create index parts_n on only index.parts (n)",
    "alter table numbers.notes alter column id restart with 1900000000; insert into numbers.notes (owner) values ('late')",
    "create sequence numbers.wide; create domain numbers.small as smallint; create table numbers.old (id numbers.small default nextval('numbers.wide')); select setval('numbers.wide', 32000)",
    "create sequence numbers.again maxvalue 10 cycle; select setval('numbers.again', 10)",
    `create table wide.wide (${Array.from({ length: 1300 }, (_, at) => `c${at} int`).join()})`,
    "comment on table stamp.tenantctl_migrations is 'odd'; comment on table shared.tenantctl_migrations is 'odd'",
    `revoke usage on schema rights from ${role("rights")}; revoke usage on schema filled from ${role("filled")}`,
    "drop schema gone cascade; drop table filled.tenantctl_migrations",
    "create schema stray; create table stray.tenantctl_migrations (like fine.tenantctl_migrations)",
    `grant create on schema shared to public; revoke usage on schema shared from "${sharedRole(database.name)}"`,
  ])
    await client.query(text);
  for (const name of ["one", "one_ccnew"])
    await expect(client.query(`create unique index concurrently ${name} on index.notes (owner)`)).rejects.toThrow(
      "unique",
    );
  await client.end();
  await database.query(
    "create extension citext schema ext; create table owner.theirs (); create type owner.mood as enum ()",
  );
  await project.write(
    "migrations/tenant/2_more.sql",
    `-- migrate:up
select * from fine.notes;
-- tenantctl-lint: allow hard-coded-schema
select * from archive.notes;
create extension hstore;
create role reader;
-- migrate:down
`,
  );
}

/** Somebody who has not committed keeps CREATE INDEX CONCURRENTLY waiting, and its index invalid. */
async function whileAnIndexIsBuilt(database: TestDatabase, act: () => Promise<void>): Promise<void> {
  const [writer, builder] = [await database.connect(), await database.connect()];
  await writer.query("begin; insert into fine.notes (owner) values ('slow')");
  const built = builder.query("create index concurrently slow on fine.notes (owner)");
  await expect
    .poll(() => database.query("select from pg_index where indexrelid = to_regclass('fine.slow')"))
    .toHaveLength(1);
  await act();
  await writer.query("commit");
  await built;
  await database.query("drop index fine.slow");
}

const planted = [
  "error extension ext",
  "error function definer",
  "error function shared",
  "error index index",
  "error index index",
  "error limit numbers",
  "error migrations 2_more.sql:2:15",
  "error migrations 2_more.sql:5:1",
  "error migrations 2_more.sql:6:1",
  "error owner owner",
  "error public here",
  "error schema filled",
  "error schema gone",
  "warning index index",
  "warning limit numbers",
  "warning limit wide",
  "warning registry stray",
];
const mended = [
  "error public later",
  "error public open",
  "error public shared",
  "warning ledger (shared)",
  "warning ledger stamp",
  "warning role rights",
  "warning role shared",
];

describe.each(servers())(
  "with a role for each tenant and an owner that is no superuser, PostgreSQL $major",
  (server) => {
    let database: TestDatabase;
    let made: IsolatedFleet;
    beforeAll(async () => {
      database = await createDatabase(server);
      made = await isolatedFleet(database, names);
      expect(await migrate(made.fleet, {})).toMatchObject({ ok: true });
    });

    test("all is well; then each defect is found once; --fix mends what is safe, once, and finds what is left", async () => {
      const { project } = made;
      expect(await look(project)).toEqual({ ok: true, findings: [], groups: [] });
      expect(await look(project, { fix: true })).toMatchObject({ findings: [], fixed: [] });
      expect(await look(project, { database: database.url })).toMatchObject({ findings: [] }); // who does not migrate
      await whileAnIndexIsBuilt(database, async () => expect((await look(project)).findings).toEqual([]));

      await plant(database, made);
      const found = await look(project);
      expect(told(found)).toEqual([...planted, ...mended].sort());
      expect(found.findings.filter(({ hint }) => hint === "")).toEqual([]);
      expect(about(found, "ext")?.hint).toBe('alter extension "citext" set schema "shared"');
      expect(about(found, "definer")).toMatchObject({
        message: expect.stringContaining("the function peep(n integer) is"),
        hint: "in a migration: alter function peep(n integer) set search_path from current",
      });
      expect(about(found, "owner")?.message).toMatch(/^table theirs, type mood: owned by postgres, not by /);
      expect(about(found, "open")?.message).toMatch(/: the schema \(USAGE\), table notes \(INSERT, SELECT\)$/);
      expect(found.findings.flatMap(({ check, hint }) => (check === "index" ? hint : []))).toEqual([
        expect.stringMatching(/^reindex index concurrently "index"\."one",/),
        'drop index concurrently "index"."one_ccnew"',
        expect.stringMatching(/^create the index on each partition, then: alter index "index"\."parts_n" attach/),
      ]);
      expect(found.findings.flatMap(({ check, message }) => (check === "limit" ? message : []))).toEqual([
        expect.stringMatching(/^the table wide has used 1300 of the 1600 columns/),
        expect.stringMatching(
          /^notes\.id \(sequence notes_id_seq\) has used 88\.4 % of the 2147483647 numbers that an integer holds/,
        ),
        expect.stringMatching(/^old\.id \(sequence wide\) has used 97\.6 % of the 32767 numbers that a smallint holds/),
      ]);
      expect(found.findings.find(({ where }) => where.endsWith(":2:15"))?.message).toMatch(
        /^hard-coded-schema: fine\.notes /,
      );

      const fixed = await look(project, { fix: true });
      expect(told(fixed)).toEqual(planted);
      expect(fixed.fixed?.map(({ check, where }) => `${check} ${where}`).sort()).toEqual(
        mended.map((line) => line.replace(/^\w+ /, "")).sort(),
      );
      const { findings } = fixed;
      expect(await look(project, { fix: true })).toMatchObject({ findings, fixed: [] });
      expect(await database.query("select command from tenantctl.runs order by started_at")).toEqual([
        { command: "migrate" },
        { command: "doctor --fix" },
      ]);

      const client = await database.connectAs(made.owner.url);
      await client.query(`alter default privileges in schema fine revoke all on tables from ${made.role("fine")}`);
      await client.end();
      expect(told(await look(project))).toContain("warning role fine");
      expect((await look(project, { database: database.url, fix: true })).fixed).toMatchObject([{ where: "fine" }]);
      expect(await look(project)).toMatchObject({ findings });
    });
  },
);

describe("with the search_path alone", () => {
  test("what several tenants have in common is one group; --fix leaves edited files and PUBLIC's rights alone", async () => {
    const database = await createDatabase(newest());
    const migrations = { "1_a.sql": "create table notes (id int);" };
    const { fleet, project } = await testFleet(database, {
      migrations,
      tenants: tenantsNamed("alone", "t1", "t2", "t3"),
      config: { sharedSchemas: ["public"] },
    });
    await migrate(fleet, {});
    const app = await database.createRole();
    const all = (text: string) =>
      database.query(["t1", "t2", "t3"].map((schema) => text.replaceAll("$", schema)).join("; "));
    await all("grant select on $.notes to public; comment on table $.tenantctl_migrations is 'odd'");
    await all(`create table $.theirs (); alter table $.theirs owner to ${app.name}`);
    await database.query("drop schema alone cascade; grant create on schema public to public");
    await project.write("migrations/tenant/1_a.sql", "create table notes (id bigint);");

    const found = await look(project, { concurrency: 10_000 });
    const places = ["t1", "t2", "t3"];
    expect(found.groups).toMatchObject([
      {
        severity: "error",
        message: 'its schema "alone" is missing',
        where: ["alone"],
        hint: "tenantctl migrate alone creates it",
      },
      { severity: "error", message: "edited after it was applied: 1_a", where: places },
      { check: "owner", message: expect.stringMatching(/^table theirs: owned by/), where: places },
      { check: "public", hint: expect.stringMatching(/revoke all on schema … from public/), where: places },
      { check: "public", where: ["public"], hint: 'revoke create on schema "public" from public' },
      {
        message: "its stamp is not that of its ledger",
        hint: "tenantctl doctor --fix, or tenantctl migrate, mends it",
        where: places,
      },
      { check: "limit", message: expect.stringMatching(/relations; 10000 such transactions/) },
    ]);
    expect(found.findings).toHaveLength(15);

    const fixed = await look(project, { fix: true });
    expect(fixed.fixed).toEqual(
      places.map((where) => ({
        check: "ledger",
        where,
        message: "its stamp is not that of its ledger",
        done: "its stamp was written anew, from its ledger",
      })),
    );
    expect(fixed.findings).toHaveLength(11);
    await all(`drop table $.theirs`);
  });

  test("what can't be mended is said of the tenant, and stops nobody else", async () => {
    const database = await createDatabase(newest());
    const { fleet, project } = await testFleet(database, {
      migrations: { "1_a.sql": "select 1" },
      tenants: tenantsNamed("t1", "t2"),
    });
    await migrate(fleet, {});
    await database.query(
      "comment on table t1.tenantctl_migrations is 'odd'; comment on table t2.tenantctl_migrations is 'odd'",
    );
    const other = await database.connect();
    await other.query("begin; lock table t1.tenantctl_migrations in share update exclusive mode");
    const limits = { lockTimeoutMs: 50, retries: 0 };
    const found = await look(project, { fix: true, limits });
    expect(found.fixed).toMatchObject([{ where: "t2" }]);
    expect(told(found)).toEqual(["error fix t1", "warning ledger t1"]);
    await other.query("rollback");

    await database.query("alter table t2.tenantctl_migrations rename name to called");
    const unread = await look(project);
    expect(told(unread)).toEqual(["error ledger t2", "warning ledger t1"]);
    expect(about(unread, "t2")?.message).toMatch(/^its ledger can't be read: column "name" does not exist/);

    const { url } = await database.createRole();
    expect(told(await look(project, { database: url }))).toEqual([
      "error ledger t1",
      "error ledger t2",
      "error owner t1",
      "error owner t2",
    ]);
  });
});

test.each([
  [399_000_000, 200_000_000, undefined],
  [401_000_000, 200_000_000, "warning"],
  [1_601_000_000, 200_000_000, "error"],
  [1_601_000_000, 1_500_000_000, undefined],
  [1_900_000_000, 1_500_000_000, "error"],
])("transactions that are %i old, where autovacuum begins at %i: %s", (age, begins, severity) => {
  expect(ageFinding("transaction", age, begins, "here")?.severity).toBe(severity);
});
