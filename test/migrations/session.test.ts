// What a migration does to its session ends with it: the connection goes on to other tenants.
import { expect, test } from "vitest";
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
