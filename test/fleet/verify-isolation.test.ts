// verify-isolation finds nothing where nothing is wrong, and each guard that was taken away.
import { beforeAll, describe, expect, test } from "vitest";
import { sharedRole, tenantLogin, tenantRole } from "../../src/database/roles.js";
import { type Fleet, migrate, verifyIsolation } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { type IsolatedFleet, isolatedFleet } from "./isolated.ts";

/** In CI a dozen; the promise is for 200. */
const tenants = Number(process.env.TENANTCTL_DRILL_TENANTS ?? 12);
const names = Array.from({ length: tenants }, (_, index) => `t${index}`);

/** What takes a guard away, and what is then found. $1 is t1's role, $login1 its login's, $2 that of t2. */
interface Guard {
  name: string;
  change: string;
  /** `role privilege object how`. */
  found: string[];
  /** The hint of each, in the order of `found`; sent to the server, they undo it. */
  hints: string[];
  /** What they leave to be undone: what was there for the sake of the change. Instead of them, where they are no statements. */
  undo?: string;
  /** Whether the attempts, of t0 to t2, see it too. */
  tried?: boolean;
  since?: number;
}

const guards: Guard[] = [
  {
    name: "a grant to PUBLIC",
    change: "grant select on t2.notes to public",
    found: ["PUBLIC SELECT t2.notes grant to PUBLIC"],
    hints: ["revoke select on table t2.notes from public"],
  },
  {
    name: "a schema that all may use",
    change: "grant usage on schema t2 to public",
    found: ["PUBLIC USAGE t2 grant to PUBLIC"],
    hints: ["revoke usage on schema t2 from public"],
    tried: true,
  },
  {
    name: "a grant to another tenant's role",
    change: "grant usage on schema t2 to $1; grant select, insert on t2.notes to $1",
    found: ["$1 INSERT t2.notes grant", "$1 SELECT t2.notes grant", "$1 USAGE t2 grant"],
    hints: [
      "revoke insert on table t2.notes from $1",
      "revoke select on table t2.notes from $1",
      "revoke usage on schema t2 from $1",
    ],
    tried: true,
  },
  {
    name: "a grant on one column",
    change: "grant select (owner) on t2.notes to $1",
    found: ["$1 SELECT t2.notes.owner grant"],
    hints: ["revoke select (owner) on t2.notes from $1"],
  },
  {
    name: "a grant on a sequence",
    change: "grant usage on sequence t2.notes_id_seq to $1",
    found: ["$1 USAGE t2.notes_id_seq grant"],
    hints: ["revoke usage on sequence t2.notes_id_seq from $1"],
  },
  {
    name: "a grant on a function",
    change: "grant execute on function t2.f() to $1",
    found: ["$1 EXECUTE t2.f() grant"],
    hints: ["revoke execute on routine t2.f() from $1"],
  },
  {
    name: "a grant to all tenants",
    change: "grant select on t2.notes to $shared",
    found: ["$shared SELECT t2.notes grant"],
    hints: ["revoke select on table t2.notes from $shared"],
  },
  {
    name: "a grant on the ledger",
    change: "grant select on t1.tenantctl_migrations to $1",
    found: ["$1 SELECT t1.tenantctl_migrations grant"],
    hints: ["revoke select on table t1.tenantctl_migrations from $1"],
    tried: true,
  },
  {
    name: "an owner",
    change: "alter table t2.notes owner to $1",
    found: ["$1 ALL t2.notes ownership"],
    hints: ["reassign owned by $1 to $owner"],
    undo: "revoke all on t2.notes from $1",
  },
  {
    name: "an application's role that is an owner",
    change: "alter function t2.f() owner to $app",
    found: ["$app ALL t2.f() ownership"],
    hints: ["alter routine t2.f() owner to $owner"],
  },
  {
    name: "a membership in another tenant's role",
    change: "grant $2 to $1",
    found: ["$1 MEMBER role $2 membership"],
    hints: ["revoke $2 from $1 granted by postgres"],
    tried: true,
  },
  {
    name: "a login that is another tenant too",
    change: "create role $login1 login; grant $1, $2 to $login1",
    found: ["$login1 MEMBER role $2 membership"],
    hints: ["revoke $2 from $login1 granted by postgres"],
    undo: "drop role $login1",
  },
  {
    name: "a membership of all tenants",
    change: "grant pg_read_all_stats to $shared",
    found: ["$shared MEMBER role pg_read_all_stats membership"],
    hints: ["revoke pg_read_all_stats from $shared granted by postgres"],
  },
  {
    name: "a membership in pg_write_all_data",
    change: "grant pg_write_all_data to $1",
    found: ["$1 MEMBER role pg_write_all_data membership"],
    hints: ["revoke pg_write_all_data from $1 granted by postgres"],
    tried: true,
  },
  {
    name: "an application's role that may become the owner",
    change: "grant $owner to $app",
    found: ["$app MEMBER role $owner membership"],
    hints: ["revoke $owner from $app granted by postgres"],
  },
  {
    name: "a role that leads the application's to the server's files",
    change: "create role $between; grant pg_read_server_files to $between; grant $between to $app",
    found: ["$app MEMBER role pg_read_server_files membership"],
    hints: ["revoke the role between them: what it is a member of, is a member of it"],
    undo: "drop role $between",
  },
  {
    name: "a membership in pg_read_all_data",
    change: "grant pg_read_all_data to $app",
    found: ["$app MEMBER role pg_read_all_data membership"],
    hints: ["revoke pg_read_all_data from $app granted by postgres"],
  },
  {
    name: "a SECURITY DEFINER function",
    change:
      "create function shared.peep() returns text language sql security definer set search_path = shared, pg_temp as 'select owner from t2.notes'; alter function shared.peep() owner to $owner",
    found: ["PUBLIC EXECUTE shared.peep() SECURITY DEFINER"],
    hints: ["alter routine shared.peep() security invoker"],
    undo: "drop function shared.peep()",
  },
  {
    name: "a SECURITY DEFINER function of its own",
    change:
      "create function t1.peep() returns text language sql security definer set search_path = t1, pg_temp as 'select owner from t2.notes'",
    found: ["$1 EXECUTE t1.peep() SECURITY DEFINER"],
    hints: ["alter routine t1.peep() security invoker"],
    undo: "drop function t1.peep()",
  },
  {
    name: "a function in a language without guards",
    change: "create function shared.plus(int, int) returns int language internal as 'int4pl'",
    found: ["PUBLIC EXECUTE shared.plus() untrusted language"],
    hints: ["revoke execute on routine shared.plus(integer,integer) from public"],
    undo: "drop function shared.plus",
  },
  {
    name: "a view",
    change: "create view t1.peep as select * from t2.notes; grant select, insert, update, delete on t1.peep to $1",
    found: ["$1 SELECT on t2.notes t1.peep view"],
    hints: ["alter view t1.peep set (security_invoker = true)"],
    undo: "drop view if exists t1.peep",
  },
  {
    name: "a materialized view that all may read",
    change: "create materialized view shared.peep as select * from t2.notes; grant select on shared.peep to $shared",
    found: ["$shared SELECT on t2.notes shared.peep materialized view"],
    hints: ["drop materialized view shared.peep"],
  },
  {
    name: "a rule",
    change: "create rule peep as on insert to t1.notes do also insert into t2.notes (owner) values (new.owner)",
    found: ["$1 ALL on t2.notes t1.notes rule"],
    hints: ["drop rule peep on t1.notes"],
  },
  {
    name: "a table that inherits",
    change: "create table t2.child () inherits (t1.notes); grant select, insert, update, delete on t2.child to $2",
    found: ["$1 SELECT on t2.child t1.notes inheritance"],
    hints: ["alter table t2.child no inherit t1.notes"],
    undo: "drop table t2.child",
  },
  {
    name: "a default privilege",
    change: "alter default privileges for role $owner in schema t2 grant select on tables to $1",
    found: ["$1 SELECT schema t2 default privilege"],
    hints: ["alter default privileges for role $owner in schema t2 revoke select on tables from $1"],
  },
  {
    name: "a default privilege for PUBLIC everywhere",
    change: "alter default privileges for role $owner grant select on tables to public",
    found: ["PUBLIC SELECT all schemas default privilege"],
    hints: ["alter default privileges for role $owner revoke select on tables from public"],
  },
  {
    name: "CREATE on public",
    change: "grant create on schema public to public",
    found: ["PUBLIC CREATE public grant to PUBLIC"],
    hints: ["revoke create on schema public from public"],
    tried: true,
  },
  {
    name: "CREATE on the database",
    change: "grant create on database $database to $1",
    found: ["$1 CREATE database $database grant"],
    hints: ["revoke create on database $database from $1"],
  },
  {
    name: "a shared table that can be written",
    change: "grant insert on shared.plans to public",
    found: ["PUBLIC INSERT shared.plans grant to PUBLIC"],
    hints: ["revoke insert on table shared.plans from public"],
    tried: true,
  },
  {
    name: "a superuser",
    change: "alter role $1 superuser",
    found: ["$1 SUPERUSER cluster attribute"],
    hints: ["alter role $1 nosuperuser"],
    tried: true,
  },
  {
    name: "an application's role with CREATEROLE",
    change: "alter role $app createrole",
    found: ["$app CREATEROLE cluster attribute"],
    hints: ["alter role $app nocreaterole"],
  },
  {
    name: "rights of the application's role",
    change: "grant usage on schema t2 to $app",
    found: ["$app USAGE t2 grant"],
    hints: ["revoke usage on schema t2 from $app"],
  },
  {
    name: "a foreign server",
    change: `create foreign data wrapper "To other's" ; create server other foreign data wrapper "To other's";
      grant usage on foreign server other to $shared; grant usage on foreign data wrapper "To other's" to public`,
    found: ["$shared USAGE foreign server other grant", "PUBLIC USAGE foreign data wrapper To other's grant to PUBLIC"],
    hints: [
      "revoke usage on foreign server other from $shared",
      `revoke usage on foreign data wrapper "To other's" from public`,
    ],
    undo: `drop foreign data wrapper "To other's" cascade`,
  },
  {
    name: "a large object",
    change: "select lo_create(4242); grant select on large object 4242 to public",
    found: ["PUBLIC SELECT large object 4242 grant to PUBLIC"],
    hints: ["revoke select on large object 4242 from public"],
    undo: "select lo_unlink(4242)",
  },
  {
    name: "a large object of two tenants",
    change:
      "select lo_create(4242); grant select, update on large object 4242 to $1; grant select on large object 4242 to $2",
    found: [
      "$1 SELECT large object 4242 grant",
      "$1 UPDATE large object 4242 grant",
      "$2 SELECT large object 4242 grant",
    ],
    hints: [
      "revoke select on large object 4242 from $1",
      "revoke update on large object 4242 from $1",
      "revoke select on large object 4242 from $2",
    ],
    undo: "select lo_unlink(4242)",
  },
  {
    name: "large objects without rights",
    change: "alter database $database set lo_compat_privileges = on",
    found: ["PUBLIC ALL all large objects lo_compat_privileges"],
    hints: ["alter database $database reset lo_compat_privileges"],
  },
  {
    name: "the server's files",
    change: "grant execute on function pg_read_file(text) to $app",
    found: ["$app EXECUTE pg_catalog.pg_read_file() grant"],
    hints: ["revoke execute on function pg_read_file(text) from $app"],
  },
  {
    name: "samples of everybody's rows",
    change: "grant select on pg_statistic to $shared",
    found: ["$shared SELECT pg_catalog.pg_statistic grant"],
    hints: ["revoke select on pg_catalog.pg_statistic from $shared"],
  },
  {
    name: "a column of passwords",
    change: "grant select (rolpassword) on pg_authid to $1",
    found: ["$1 SELECT pg_catalog.pg_authid.rolpassword grant"],
    hints: ["revoke select (rolpassword) on pg_catalog.pg_authid from $1"],
  },
  {
    name: "a superuser's setting",
    change: "grant set on parameter session_replication_role to $1",
    found: ["$1 SET parameter session_replication_role grant"],
    hints: ["revoke set on parameter session_replication_role from $1"],
    since: 15,
  },
];

const byFound = (one: { found: string }, other: { found: string }) => (one.found < other.found ? -1 : 1);

describe.each(servers())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let made: IsolatedFleet;
  let fleet: Fleet;
  const filled = (text: string) =>
    text
      .replaceAll("$shared", `"${sharedRole(database.name)}"`)
      .replaceAll("$database", database.name)
      .replaceAll("$between", `${database.name}_between`)
      .replaceAll("$login1", `"${tenantLogin(database.name, "t1")}"`)
      .replaceAll("$owner", made.owner.name)
      .replaceAll("$app", made.app.name)
      .replace(/\$(\d)/g, (_, number: string) => made.role(`t${number}`));
  // Quotation marks are the server's to add where it must; who granted a membership is told from 16 on; a view has its owner's rights before 15.
  const bare = (text: string) => {
    const view = server.major < 15 ? text.replace(/^alter view (\S+) set .*/, "drop view $1") : text;
    const words = filled(view).replaceAll('"', "");
    return server.major < 16 ? words.replace(/ granted by .*/, "") : words;
  };

  beforeAll(async () => {
    database = await createDatabase(server);
    made = await isolatedFleet(database, names);
    fleet = made.fleet;
    expect(await migrate(fleet, {})).toMatchObject({ ok: true });
  }, 120_000);

  const few = { tenants: ["t0", "t1", "t2"] };
  const rightsIn = async () => {
    const { ok, leaks, lacks, attempts } = await verifyIsolation(fleet, few, { attempts: "all" });
    const told = leaks.map(({ role, privilege, object, how, hint }) => ({
      found: `${role} ${privilege} ${object} ${how}`.replaceAll('"', ""),
      hint,
    }));
    return { ok, leaks: told, lacks, tried: attempts.unexpected.length > 0 };
  };
  const fine = { ok: true, leaks: [], lacks: [], tried: false };

  test("a fleet with all its guards is found in order", async () => {
    const found = await verifyIsolation(fleet, {}, { attempts: "all" });
    expect(found).toEqual({
      ok: true,
      tenants,
      leaks: [],
      allowed: [],
      unused: [],
      lacks: [],
      attempts: { tenants, tried: expect.any(Number), unexpected: [] },
    });
    expect(found.attempts.tried).toBeGreaterThan(tenants * 12);
  });

  // That each is undone, the next one sees, and at last the test behind them.
  const here = guards.filter(({ since = 0 }) => server.major >= since);
  test.each(here)("$name is found, with what mends it, and nothing else", async (guard) => {
    await database.query(filled(guard.change));
    const { leaks, ...rest } = await rightsIn();
    try {
      expect(rest).toEqual({ ok: false, lacks: [], tried: guard.tried ?? false });
      const expected = guard.found.map((found, index) => ({
        found: bare(found),
        hint: bare(guard.hints[index] ?? ""),
      }));
      expect(leaks.map(({ found, hint }) => ({ found, hint: hint.replaceAll('"', "") })).sort(byFound)).toEqual(
        expected.sort(byFound),
      );
    } finally {
      for (const { hint } of leaks) if (!hint.includes(":")) await database.query(hint);
      if (guard.undo !== undefined) await database.query(filled(guard.undo));
    }
  });

  test("with all of them back, it is in order", async () => {
    expect(await rightsIn()).toEqual(fine);
  });

  test("what is wanted is allowed, and told of when it is there no more", async () => {
    await database.query(filled("grant insert, delete on shared.plans to $shared; grant usage on schema t2 to $1"));
    const config = JSON.parse(await made.project.read("tenants.config.json"));
    const isolationAllows = ["INSERT shared.plans", 'delete "shared".* to tenants_*', "insert shared.gone"];
    await made.project.write("tenants.config.json", JSON.stringify({ ...config, isolationAllows }));
    const allowing = await made.again();
    const found = await verifyIsolation(allowing, few, { attempts: "all", allow: [filled("usage t2 to $1")] });
    expect(found).toMatchObject({ ok: true, leaks: [], unused: ["insert shared.gone"], attempts: { unexpected: [] } });
    expect(found.allowed.map(({ privilege, object }) => `${privilege} ${object}`).sort()).toEqual([
      "DELETE shared.plans",
      "INSERT shared.plans",
      "USAGE t2",
    ]);
    expect(made.events).toContainEqual({
      type: "warning",
      message: "insert shared.gone is allowed, and there is no such right any more",
    });
    // of t1 alone it was said
    await database.query(filled("grant usage on schema t2 to $shared"));
    const more = await verifyIsolation(allowing, few, { attempts: 0, allow: [filled("usage t2 to $1")] });
    expect(more.leaks.map(({ role, privilege, object }) => [role, privilege, object])).toEqual([
      [sharedRole(database.name), "USAGE", "t2"],
    ]);
    await expect(verifyIsolation(allowing, few, { allow: ["everything"] })).rejects.toMatchObject({ code: "USAGE" });
    await database.query(
      filled("revoke insert, delete on shared.plans from $shared; revoke usage on schema t2 from $1, $shared"),
    );
  });

  test("an application's role that inherits is found", async () => {
    const first =
      server.major < 16 ? "alter role $app inherit" : "grant $1 to $app with inherit true granted by $owner";
    await database.query(filled(first));
    const { ok, leaks } = await rightsIn();
    expect(ok).toBe(false);
    expect(leaks.map(({ found }) => found)).toContain(bare("$app INHERIT role $1 membership"));
    expect(leaks.every(({ found }) => found.includes(" INHERIT "))).toBe(true);
    for (const { hint } of leaks) await database.query(hint);
    expect(await rightsIn()).toEqual(fine);
  });

  test("a right that a tenant lacks in its own schema is found", async () => {
    await database.query(filled("revoke delete on t1.notes from $1"));
    expect(await rightsIn()).toMatchObject({
      ok: false,
      leaks: [],
      lacks: [
        {
          role: tenantRole(database.name, "t1"),
          privilege: "DELETE",
          object: "t1.notes",
          hint: "tenantctl isolate --again",
        },
      ],
      tried: true,
    });
    await database.query(filled("grant delete on t1.notes to $1"));
    expect(await rightsIn()).toEqual(fine);
  });

  test("what is not there, a tenant's schema or public, is not tried", async () => {
    await database.query("drop schema public cascade");
    const config = JSON.parse(await made.project.read("tenants.config.json"));
    await made.project.write("tenants.config.json", JSON.stringify({ ...config, tenants: { t0: {}, later: {} } }));
    const { ok, tenants, attempts } = await verifyIsolation(await made.again(), {});
    expect({ ok, tenants, attempts }).toMatchObject({ ok: true, tenants: 2, attempts: { tenants: 1, unexpected: [] } });
  });
});
