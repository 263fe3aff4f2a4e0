// Each hole that somebody can make between tenants is found and named by verify-isolation; and a fleet without one is silent.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sharedRole, tenantLogin, tenantLogins } from "../../src/database/roles.js";
import { migrate, type Verification, verifyIsolation } from "../../src/fleet/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { type IsolatedFleet, isolatedFleet } from "./isolated.ts";

/** In CI 40; the promise is for 200. */
const tenants = Math.max(40, Number(process.env.TENANTCTL_DRILL_TENANTS ?? 0));
const names = Array.from({ length: tenants }, (_, index) => `t${index}`);

/** $1 is t1's role, $login1 its login's, $owner who migrates, $app the application, $shared the role that all tenants have. */
interface Hole {
  name: string;
  plant: string;
  /** `role privilege object how`, without quotation marks, and what the hint begins with. */
  found: [right: string, hint: string][];
  since?: number;
}

const extensions = [
  "bloom",
  "btree_gin",
  "btree_gist",
  "citext",
  "cube",
  "dblink",
  "earthdistance",
  "file_fdw",
  "fuzzystrmatch",
  "hstore",
  "intarray",
  "lo",
  "ltree",
  "pg_stat_statements",
  "pg_trgm",
  "pgcrypto",
  "pgstattuple",
  "postgres_fdw",
  "unaccent",
  "uuid-ossp",
];

/** What a tenant may well have, none of which leads elsewhere. */
const fine = `create type weather as enum ('fine'); create domain tiny as int check (value < 9); create sequence numbers;
  create function double(int) returns int language sql immutable as 'select 2'; create aggregate summed(int) (sfunc = int4pl, stype = int);
  create function touch() returns trigger language plpgsql as 'begin return new; end';
  create table people (id uuid primary key default extensions.uuid_generate_v4(), name extensions.citext, more extensions.hstore, way extensions.ltree, tiny tiny,
    weather weather[], plan text references shared.kinds (name), number int default nextval('numbers'), doubled int generated always as (double(3)) stored, picture oid, period int4range,
    exclude using gist ((name::text) extensions.gist_text_ops with =, period with &&));
  create index on people using gin ((name::text) extensions.gin_trgm_ops); create trigger touch before update on people for each row execute function touch();
  create trigger audit after insert on people for each row execute function audit.log();
  create trigger manage before update or delete on people for each row execute function extensions.lo_manage(picture);
  create table friends (a uuid references people on delete cascade, b uuid references people on delete cascade); alter table friends enable row level security;
  create policy own on friends using (double(1) = 2); create view pairs as select a, b, extensions.levenshtein(a::text, b::text) from friends; create view kinds as select * from shared.kinds;
  create view twofold as select * from pairs; create materialized view counted as select count(*) from people; create rule quiet as on delete to pairs do instead nothing;
  create table dates (d date, n int) partition by range (d); create table dates_1 partition of dates default; create table parent (n int); create table child () inherits (parent);
  create function whose() returns int language sql set search_path from current as 'select 1'; create statistics s on d, n from dates;
  create operator <<!>> (function = double, rightarg = int)`;

const holes: Hole[] = [
  {
    name: "a view over a view in a private schema",
    plant: `create schema attic; create view attic.notes as select * from t0.notes; create view t1.peep as select * from attic.notes; alter view attic.notes owner to $owner; alter view t1.peep owner to $owner`,
    found: [
      ["$1 SELECT on t0.notes t1.peep view", "alter view t1.peep set (security_invoker = true)"],
      ["$1 SELECT on attic.notes t1.peep view", "alter view t1.peep set (security_invoker = true)"],
    ],
  },
  {
    name: "a view over a table of a private schema",
    plant: "create schema hr; create table hr.salaries (n int); create view t2.salaries as select * from hr.salaries",
    found: [["$2 SELECT on hr.salaries t2.salaries view", "alter view t2.salaries set (security_invoker = true)"]],
  },
  {
    name: "a materialized view of another tenant",
    plant: "create materialized view t3.copied as select * from t4.notes",
    found: [["$3 SELECT on t4.notes t3.copied materialized view", "drop materialized view t3.copied"]],
  },
  {
    name: "a materialized view in a private schema that everybody may read",
    plant: "create materialized view hr.copied as select * from t4.notes; grant select on hr.copied to public",
    found: [
      ["PUBLIC SELECT on t4.notes hr.copied materialized view", "drop materialized view hr.copied"],
      ["PUBLIC SELECT hr.copied grant to PUBLIC", "revoke select on table hr.copied from public"],
    ],
  },
  {
    name: "a view of all tenants that the application may read",
    plant:
      "create view shared.all_notes as select * from t3.notes union all select * from t4.notes; grant select on shared.all_notes to $app",
    found: [
      ["$app SELECT on t3.notes shared.all_notes view", "alter view shared.all_notes set (security_invoker = true)"],
      ["$app SELECT on t4.notes shared.all_notes view", "alter view shared.all_notes set (security_invoker = true)"],
    ],
  },
  {
    name: "a view over passwords",
    plant: "create view t5.roles as select * from pg_authid",
    found: [["$5 SELECT on pg_authid t5.roles view", "drop view t5.roles"]],
  },
  {
    name: "a foreign table with a mapping for everybody",
    plant: `create server archive foreign data wrapper postgres_fdw; create user mapping for public server archive options (user 'x');
      create foreign table t6.archive (n int) server archive`,
    found: [
      ["$6 SELECT on foreign server archive t6.archive foreign table", "drop user mapping for public server archive"],
    ],
  },
  {
    name: "a foreign key to another tenant's table, which deletes",
    plant:
      "alter table t7.notes add unique (id); create table t8.replies (note int references t7.notes (id) on delete cascade); alter table t8.replies owner to $owner; grant select, insert, update, delete on t8.replies to $8",
    found: [
      ["$8 REFERENCES t7.notes t8.replies foreign key", "alter table t8.replies drop constraint replies_note_fkey"],
      ["$7 DELETE on t8.replies t7.notes foreign key", "alter table t8.replies drop constraint replies_note_fkey"],
    ],
  },
  {
    name: "a trigger with another tenant's function",
    plant:
      "create function t9.spy() returns trigger language plpgsql as 'begin return new; end'; create trigger spy after insert on t10.notes for each row execute function t9.spy()",
    found: [["$10 EXECUTE on t9.spy() t10.notes trigger", "drop trigger spy on t10.notes"]],
  },
  {
    name: "a default from another tenant's sequence",
    plant: "alter table t10.notes add number int default nextval('t9.notes_id_seq')",
    found: [
      ["$10 USAGE of t9.notes_id_seq t10.notes default", "alter table t10.notes alter column number drop default"],
    ],
  },
  {
    name: "a generated column of another tenant's function",
    plant:
      "create function t9.twice(int) returns int language sql immutable as 'select 2'; alter table t11.notes add twice int generated always as (t9.twice(id)) stored",
    found: [
      [
        "$11 EXECUTE on t9.twice() t11.notes generated column",
        "alter table t11.notes alter column twice drop expression",
      ],
    ],
  },
  {
    name: "a policy with another tenant's function",
    plant: "create policy peep on t12.notes using (t9.twice(id) > 0)",
    found: [["$12 EXECUTE on t9.twice() t12.notes policy", "drop policy peep on t12.notes"]],
  },
  {
    name: "an index over another tenant's function",
    plant: "create index peep on t12.notes (t9.twice(id))",
    found: [["$12 EXECUTE on t9.twice() t12.peep index", "drop index t12.peep"]],
  },
  {
    name: "a constraint with another tenant's function",
    plant: "alter table t12.notes add constraint odd check (t9.twice(id) is not null)",
    found: [["$12 EXECUTE on t9.twice() t12.notes check", "alter table t12.notes drop constraint odd"]],
  },
  {
    name: "another tenant's type",
    plant:
      "create type t13.mood as enum ('fine'); create table t14.days (mood t13.mood); alter table t14.days owner to $owner; grant select, insert, update, delete on t14.days to $14",
    found: [
      [
        "$14 USAGE of t13.mood t14.days column",
        "make it anew with what is its own, by a migration: column mood of table t14.days needs type t13.mood",
      ],
    ],
  },
  {
    name: "a domain whose check is another tenant's function",
    plant: "create domain t14.small as int check (t9.twice(value) < 9)",
    found: [["$14 EXECUTE on t9.twice() t14.small check", "alter domain t14.small drop constraint small_check"]],
  },
  {
    name: "an operator of another tenant's function",
    plant: "create operator t14.<<>> (function = t9.twice, rightarg = int)",
    found: [
      [
        "$14 EXECUTE on t9.twice() t14.<<>>(NONE,integer) operator",
        "make it anew with what is its own, by a migration: operator",
      ],
    ],
  },
  {
    name: "an aggregate of another tenant's function",
    plant:
      "create function t9.plus(int, int) returns int language sql as 'select 2'; create aggregate t14.total(int) (sfunc = t9.plus, stype = int)",
    found: [
      [
        "$14 EXECUTE on t9.plus() t14.total(integer) function",
        "make it anew with what is its own, by a migration: function",
      ],
    ],
  },
  {
    name: "a rule that writes to another tenant",
    plant: "create rule peep as on insert to t15.notes do also insert into t16.notes (owner) values (new.owner)",
    found: [["$15 ALL on t16.notes t15.notes rule", "drop rule peep on t15.notes"]],
  },
  {
    name: "a partition in another tenant's schema",
    plant: `create table t17.parts (n int) partition by list (n); create table t18.part partition of t17.parts default; alter table t17.parts owner to $owner; alter table t18.part owner to $owner;
      grant select, insert, update, delete on t17.parts to $17; grant select, insert, update, delete on t18.part to $18`,
    found: [["$17 SELECT on t18.part t17.parts inheritance", "alter table t17.parts detach partition t18.part"]],
  },
  {
    name: "a child that two tenants have in a private schema",
    plant: "create table attic.child () inherits (t17.notes, t18.notes)",
    found: [
      ["$17 SELECT on attic.child t17.notes inheritance", "alter table attic.child no inherit t17.notes"],
      ["$18 SELECT on attic.child t18.notes inheritance", "alter table attic.child no inherit t18.notes"],
    ],
  },
  {
    name: "a SECURITY DEFINER function whose owner is a member of a role that reads all",
    plant: `grant pg_read_all_data to $reader; create function t19.all_of() returns int language sql security definer set search_path = t19, pg_temp as 'select 1';
      alter function t19.all_of() owner to $reader`,
    found: [["$19 EXECUTE t19.all_of() SECURITY DEFINER", "alter routine t19.all_of() security invoker"]],
  },
  {
    name: "a SECURITY DEFINER function whose owner was granted another tenant's table",
    plant: `grant select on t19.notes to $granted; create function t20.theirs() returns int language sql security definer set search_path = t20, pg_temp as 'select 1';
      alter function t20.theirs() owner to $granted`,
    found: [["$20 EXECUTE t20.theirs() SECURITY DEFINER", "alter routine t20.theirs() security invoker"]],
  },
  {
    name: "a SECURITY DEFINER function in a schema that nobody may use, behind a policy",
    plant:
      "create function attic.mine(int) returns bool language sql security definer set search_path = attic, pg_temp as 'select true'; create policy mine on t20.notes using (attic.mine(id))",
    found: [
      [
        "$20 EXECUTE on attic.mine() t20.notes SECURITY DEFINER behind a policy",
        "alter routine attic.mine(integer) security invoker",
      ],
    ],
  },
  {
    name: "such a function behind a domain, a default and a view",
    plant: `create domain t21.checked as int check (attic.mine(value)); create table t21.defaults (fine bool default attic.mine(1)); alter table t21.defaults owner to $owner;
      grant select, insert, update, delete on t21.defaults to $21; create view t21.mine as select attic.mine(1); grant select on t21.mine to $21`,
    found: [
      [
        "$21 EXECUTE on attic.mine() t21.checked SECURITY DEFINER behind a check",
        "alter routine attic.mine(integer) security invoker",
      ],
      [
        "$21 EXECUTE on attic.mine() t21.checked SECURITY DEFINER behind a type",
        "alter routine attic.mine(integer) security invoker",
      ],
      [
        "$21 EXECUTE on attic.mine() t21.defaults SECURITY DEFINER behind a default",
        "alter routine attic.mine(integer) security invoker",
      ],
      [
        "$21 EXECUTE on attic.mine() t21.mine SECURITY DEFINER behind a rule",
        "alter routine attic.mine(integer) security invoker",
      ],
    ],
  },
  {
    name: "such a function as a cast",
    plant:
      "create type attic.odd as (n int); create function attic.cast(attic.odd) returns int language sql security definer set search_path = attic, pg_temp as 'select 1'; create cast (attic.odd as int) with function attic.cast(attic.odd)",
    found: [
      ["$shared EXECUTE on attic.cast() (attic.odd AS integer) SECURITY DEFINER behind a cast", "alter routine attic."],
    ],
  },
  {
    name: "temporary tables for the trigger of a SECURITY DEFINER function",
    plant:
      "create function t22.audit() returns trigger language plpgsql security definer set search_path = t22, pg_temp as 'begin return new; end'; alter function t22.audit() owner to $owner",
    found: [
      [
        "PUBLIC TEMPORARY database $database SECURITY DEFINER trigger t22.audit()",
        "revoke temporary on database $database from public",
      ],
    ],
  },
  {
    name: "an event trigger of a tenant's function",
    plant:
      "create function t22.ddl() returns event_trigger language plpgsql as 'begin end'; create event trigger $event on ddl_command_end when tag in ('CREATE CONVERSION') execute function t22.ddl()",
    found: [["$22 EXECUTE on t22.ddl() event trigger $event event trigger", "drop event trigger $event"]],
  },
  {
    name: "a function whose search_path is another tenant's",
    plant: "create function t23.mine() returns int language sql set search_path = t24, pg_temp as 'select 1'",
    found: [
      ["$23 SEARCH_PATH t23.mine() search_path with t24", "alter function t23.mine() set search_path = t23, pg_temp"],
    ],
  },
  {
    name: "a function whose search_path leaves temporary tables in front",
    plant:
      "create function t24.mine() returns int language sql security definer set search_path = t24 as 'select 1'; alter function t24.mine() owner to $24",
    found: [
      [
        "$24 SEARCH_PATH t24.mine() SECURITY DEFINER, search_path without pg_temp at its end",
        "alter function t24.mine() set search_path = t24, pg_temp",
      ],
      ["$24 ALL t24.mine() ownership", "reassign owned by $24 to"],
    ],
  },
  {
    name: "a schema that is neither a tenant's nor shared",
    plant:
      "create schema club; create table club.members (n int); grant usage on schema club to $25; grant select on club.members to $25",
    found: [
      ["$25 USAGE club grant", "revoke usage on schema club from $25"],
      ["$25 SELECT club.members grant", "revoke select on table club.members from $25"],
    ],
  },
  {
    name: "TRIGGER on a tenant's own table",
    plant: "grant trigger on t25.notes to $25",
    found: [["$25 TRIGGER t25.notes grant", "revoke trigger on table t25.notes from $25"]],
  },
  {
    name: "a right of its own that a tenant may pass on",
    plant: "grant usage on schema t26 to $26 with grant option",
    found: [["$26 USAGE WITH GRANT OPTION t26 grant", "revoke grant option for usage on schema t26 from $26"]],
  },
  {
    name: "CREATE for the application's role on a shared schema",
    plant: "grant create on schema shared to $app",
    found: [["$app CREATE shared grant", "revoke create on schema shared from $app"]],
  },
  {
    name: "the application's role as the owner of the database",
    plant: "alter database $database owner to $app",
    found: [["$app ALL database $database ownership", "alter database $database owner to"]],
  },
  {
    name: "a server, a domain and a publication that a tenant owns",
    plant:
      "create foreign data wrapper none; create server mine foreign data wrapper none; alter server mine owner to $27; create domain t27.name as text; alter domain t27.name owner to $27; create publication mine; alter publication mine owner to $27",
    found: [
      ["$27 ALL foreign server mine ownership", "reassign owned by $27 to"],
      ["$27 ALL type t27.name ownership", "reassign owned by $27 to"],
      ["$27 ALL publication mine ownership", "reassign owned by $27 to"],
    ],
  },
  {
    name: "LOGIN and CREATEDB of a tenant's role",
    plant: "alter role $28 login createdb",
    found: [
      ["$28 LOGIN cluster attribute", "alter role $28 nologin"],
      ["$28 CREATEDB cluster attribute", "alter role $28 nocreatedb"],
    ],
  },
  {
    name: "sessions of the application that begin as a tenant",
    plant: "alter role $app in database $database set role = $29",
    found: [["$app $29 setting role role setting", "alter role $app in database $database reset role"]],
  },
  {
    name: "sessions that begin in a tenant's schema, without triggers, with code that is loaded",
    plant:
      "alter database $database set search_path = t29, public; alter role $30 set session_replication_role = replica; alter role $30 in database $database set session_preload_libraries = 'auto_explain'",
    found: [
      ["PUBLIC t29, public setting search_path database setting", "alter database $database reset search_path"],
      ["$30 replica setting session_replication_role role setting", "alter role $30 reset session_replication_role"],
      [
        "$30 auto_explain setting session_preload_libraries role setting",
        "alter role $30 in database $database reset session_preload_libraries",
      ],
    ],
  },
  {
    name: "pg_signal_backend, for the application and for a tenant",
    plant: "grant pg_signal_backend to $app; grant pg_signal_backend to $31",
    found: [
      ["$app MEMBER role pg_signal_backend membership", "revoke pg_signal_backend from $app"],
      ["$31 MEMBER role pg_signal_backend membership", "revoke pg_signal_backend from $31"],
    ],
  },
  {
    name: "pg_maintain and pg_checkpoint",
    plant: "grant pg_maintain to $app; grant pg_checkpoint to $31",
    found: [
      ["$app MEMBER role pg_maintain membership", "revoke pg_maintain from $app"],
      ["$31 MEMBER role pg_checkpoint membership", "revoke pg_checkpoint from $31"],
    ],
    since: 17,
  },
  {
    name: "a tenant's role that the application may hand out",
    plant: "grant $32 to $app with admin option",
    found: [["$app ADMIN role $32 membership", "revoke admin option for $32 from $app"]],
  },
  {
    name: "a login of a former tenant that is a tenant's",
    plant: "create role $former login; grant $33 to $former; grant usage on schema t34 to $former",
    found: [
      ["$former MEMBER role $33 membership", "revoke $33 from $former"],
      ["$former USAGE t34 grant", "revoke usage on schema t34 from $former"],
    ],
  },
  {
    name: "another tenant's rights for the login that was made last",
    plant:
      "create role $second login; grant $38 to $second; grant usage on schema t39 to $second; grant select on t39.notes to $second",
    found: [
      ["$second USAGE t39 grant", "revoke usage on schema t39 from $second"],
      ["$second SELECT t39.notes grant", "revoke select on table t39.notes from $second"],
    ],
  },
  {
    name: "a function that takes on another tenant's role",
    plant: "create function t38.peep() returns bigint language sql set role = $39 as 'select count(*) from t39.notes'",
    found: [["$38 EXECUTE t38.peep() function setting role", "alter routine t38.peep() reset role"]],
  },
  {
    name: "functions that the server keeps from tenants",
    plant: "grant execute on function pg_stat_reset() to $34; grant execute on function pg_ls_logdir() to public",
    found: [
      ["$34 EXECUTE pg_catalog.pg_stat_reset() grant", "revoke execute on function pg_stat_reset() from $34"],
      [
        "PUBLIC EXECUTE pg_catalog.pg_ls_logdir() grant to PUBLIC",
        "revoke execute on function pg_ls_logdir() from public",
      ],
    ],
  },
  {
    name: "a function that an extension keeps from tenants",
    plant: "grant execute on function extensions.dblink_connect_u(text) to $shared",
    found: [
      [
        "$shared EXECUTE extensions.dblink_connect_u() grant",
        "revoke execute on function extensions.dblink_connect_u(text) from $shared",
      ],
    ],
  },
  {
    name: "a default privilege for triggers on a tenant's own tables",
    plant: "alter default privileges for role $owner in schema t35 grant trigger on tables to $35",
    found: [
      [
        "$35 TRIGGER schema t35 default privilege",
        "alter default privileges for role $owner in schema t35 revoke trigger on tables from $35",
      ],
    ],
  },
  {
    name: "a shared table with a tenant's type, and a key to a tenant's table",
    plant:
      "alter table t36.notes add unique (id); create table shared.both (mood t13.mood, note int references t36.notes (id))",
    found: [
      ["$shared USAGE of t13.mood shared.both column", "make it anew"],
      [
        "$shared REFERENCES t36.notes shared.both foreign key",
        "alter table shared.both drop constraint both_note_fkey",
      ],
    ],
  },
  {
    name: "a large object for everybody, a parameter",
    plant: "select lo_create(4243); grant select on large object 4243 to public",
    found: [["PUBLIC SELECT large object 4243 grant to PUBLIC", "revoke select on large object 4243 from public"]],
  },
  {
    name: "a superuser's setting",
    plant: "grant set on parameter session_replication_role to $37; grant alter system on parameter work_mem to $37",
    found: [
      ["$37 SET parameter session_replication_role grant", "revoke set on parameter session_replication_role from $37"],
      ["$37 ALTER SYSTEM parameter work_mem grant", "revoke alter system on parameter work_mem from $37"],
    ],
    since: 15,
  },
];

describe.each(servers())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let made: IsolatedFleet;
  let reader: string;
  let owned: string;
  let clean: Verification;
  let found: Verification;
  const here = holes.filter(({ since = 0 }) => server.major >= since);
  const filled = (text: string) =>
    text
      .replaceAll("$shared", `"${sharedRole(database.name)}"`)
      .replaceAll("$database", database.name)
      .replaceAll("$reader", reader)
      .replaceAll("$granted", owned)
      .replaceAll("$event", `${database.name}_event`)
      .replaceAll("$former", `"${tenantLogin(database.name, "gone")}"`)
      .replaceAll("$second", `"${tenantLogins(database.name, "t38")[1]}"`)
      .replaceAll("$owner", made.owner.name)
      .replaceAll("$app", made.app.name)
      .replace(/\$(\d+)/g, (_, number: string) => made.role(`t${number}`));
  const bare = (text: string) => filled(text).replaceAll('"', "");
  const told = ({ leaks }: Verification) =>
    leaks.map(({ role, privilege, object, how, hint }) => ({
      right: `${role} ${privilege} ${object} ${how}`.replaceAll('"', ""),
      hint: hint.replaceAll('"', ""),
    }));

  beforeAll(async () => {
    database = await createDatabase(server);
    made = await isolatedFleet(database, names, {
      isolation: "role",
      sharedAccess: { plans: "select", kinds: "select" },
    });
    reader = (await database.createRole("nologin")).name;
    owned = (await database.createRole("nologin")).name;
    await database.query(
      `create schema extensions; grant usage on schema extensions to public; create table shared.kinds (name text primary key); alter table shared.kinds owner to ${made.owner.name};
       create schema audit; create table audit.entries (n int); grant usage on schema audit to ${made.owner.name};
       create function audit.log() returns trigger language plpgsql security definer set search_path = audit, pg_temp as 'begin insert into entries values (1); return new; end'`,
    );
    for (const name of extensions) await database.query(`create extension "${name}" schema extensions cascade`);
    await made.project.write("migrations/tenant/2_fine.sql", `-- migrate:up\n${fine};`);
    const { tenants: ran } = await migrate(made.fleet, {});
    expect(ran.flatMap(({ error }) => error ?? [])).toEqual([]);
    clean = await verifyIsolation(made.fleet, {}, { attempts: 0 });
    for (const { plant } of here) await database.query(filled(plant));
    found = await verifyIsolation(made.fleet, {}, { attempts: 0 });
  });

  // Rights on parameters are the server's, and outlive the database.
  afterAll(async () => {
    if (server.major >= 15) await database.query(filled("drop owned by $37"));
  });

  test("a fleet without a hole is silent", () => {
    expect(clean).toMatchObject({ ok: true, leaks: [], lacks: [] });
  });

  test.each(here)("$name", (hole) => {
    const rights = told(found);
    for (const [right, hint] of hole.found) {
      const same = rights.filter((one) => one.right === bare(right));
      expect([right, ...same]).toEqual([right, { right: bare(right), hint: expect.stringContaining(hintOf(hint)) }]);
    }
  });
  const hintOf = (hint: string) =>
    server.major < 15 ? bare(hint).replace(/^alter view (\S+) set .*/, "drop view $1") : bare(hint);

  test("nothing else is found", () => {
    const expected = new Set(here.flatMap((hole) => hole.found.map(([right]) => bare(right))));
    expect(told(found).filter(({ right }) => !expected.has(right))).toEqual([]);
  });
});
