// What a migration does to its session ends with it: the connection goes on to other tenants.
import { expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../src/database/database.js";
import { settingsOf } from "../database/settings.ts";
import { createDatabase, oldest } from "../support/database.ts";
import { oneTenant } from "./tenant.ts";

test("settings, prepared statements and characteristics set for the session are taken back", async () => {
  const database = await createDatabase(oldest());
  const tenant = await oneTenant(database, "thor", {
    "1_a.sql": `set statement_timeout = '40ms';
set timezone to 'Asia/Tokyo';
set check_function_bodies = false;
set myapp.mode = 'odd';
set session characteristics as transaction read only;
prepare p as select 1;
create table a ()`,
    "2_b.sql": "select pg_sleep(0.1); prepare p as select 2; create table b ()",
  });
  expect(await tenant.migrate()).toEqual(["1_a", "2_b"]);
  const settings = await tenant.database.withClient(async (client) => {
    const { rows } = await client.query<Record<string, unknown>>(
      `select current_setting('statement_timeout') as timeout, current_setting('TimeZone') as zone,
         current_setting('check_function_bodies') as bodies, coalesce(current_setting('myapp.mode', true), '') as mode,
         current_setting('default_transaction_read_only') as readonly, (select count(*)::int from pg_prepared_statements) as prepared`,
    );
    return rows[0];
  });
  expect(settings).toMatchObject({ timeout: "0", bodies: "on", mode: "", readonly: "off", prepared: 0 });
  expect(settings?.zone).not.toBe("Asia/Tokyo");
});

const kept = `create table kept as select current_setting('myapp.tenant', true) as setting, session_user::text as who,
  (select count(*)::int from pg_cursors where is_holdable) as cursors, (select count(*)::int from pg_prepared_statements where from_sql) as prepared,
  (select count(*)::int from pg_locks where locktype = 'advisory' and objid = 77 and pid = pg_backend_pid()) as locks, (select count(*)::int from pg_listening_channels()) as channels;
do $$ begin
  raise 'another one''s number: %', lastval();
exception when object_not_in_prerequisite_state then null; -- there is none
end $$`;

test("neither the next migration nor the next tenant finds what a function or a DO block left in the session", async () => {
  const database = await createDatabase(oldest());
  const role = await database.createRole("");
  const files = {
    "1_a.sql": `create sequence numbers; select set_config('myapp.tenant', 'thor', false), pg_advisory_lock(77), nextval('numbers');
do $$ begin
  execute 'declare c cursor with hold for select 1';
  execute 'prepare p as select 1';
  listen words;
  set session authorization ${role.name};
end $$`,
    "2_b.sql": kept,
  };
  const options = { database: await openDatabase(settingsOf(database.url), { maxConnections: 1, direct: undefined }) };
  onTestFinished(() => options.database.close());
  const thor = await oneTenant(database, "thor", files, options);
  expect(await thor.migrate()).toEqual(["1_a", "2_b"]);
  const first = await oneTenant(database, "first", { "1_a.sql": files["1_a.sql"] }, options);
  expect(await first.migrate()).toEqual(["1_a"]);
  const loki = await oneTenant(database, "loki", { "1_b.sql": kept }, options);
  expect(await loki.migrate()).toEqual(["1_b"]);
  for (const schema of ["thor", "loki"]) {
    const [row] = await database.query(`select * from ${schema}.kept`);
    expect(row).toEqual({ setting: "", who: "postgres", cursors: 0, prepared: 0, locks: 0, channels: 0 });
  }
});

test("a rollback outside of a transaction that stopped half way is not forgotten", async () => {
  const database = await createDatabase(oldest());
  const tenant = await oneTenant(database, "thor", {
    "1_a.sql": "create table a (n int)",
    "2_b.sql":
      "-- migrate:up transaction:false\ncreate index concurrently i on a (n)\n-- migrate:down transaction:false\ndrop index concurrently i; drop index concurrently nowhere",
  });
  await tenant.migrate();
  await expect(tenant.rollback("2_b")).rejects.toMatchObject({ sqlState: "42704" });
  expect(await tenant.stamp()).toBe("tenantctl: reverting 2_b");
  await tenant.migrate({ expectLedger: true });
  expect(await tenant.stamp()).toBe("tenantctl: reverting 2_b");
  expect(await tenant.names()).toEqual(["1_a", "2_b"]);
});
