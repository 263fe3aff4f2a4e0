// Lost connections: nobody is told that a tenant failed that was migrated, nor the other way round.
import { describe, expect, test } from "vitest";
import { createDatabase, servers } from "../support/database.ts";
import { startProxy } from "./proxy.ts";
import { oneTenant } from "./tenant.ts";

const files = {
  "1_a.sql": "-- migrate:up\ncreate table a ();\n-- migrate:down\ndrop table a;",
  "2_b.sql": "-- migrate:up\ncreate table b ();\n-- migrate:down\ndrop table b;",
};
const commits = (sent: string) => sent.includes("\ncommit\0");

/** While the server has not seen yet that the other end is gone, its lock is held. */
const codeOf = (error: { code: string }) => error.code;

/** Cuts once, at the first commit, or at the first of what else is looked for. */
function first(when: "before" | "after", matches: (sent: string) => boolean = commits) {
  let done = false;
  return (sent: string) => {
    if (done || !matches(sent)) return undefined;
    done = true;
    return when;
  };
}

describe.each(servers())("PostgreSQL $major", (server) => {
  test("a backend that is ended in mid-migration fails it, and nothing stays", async () => {
    const database = await createDatabase(server);
    const tenant = await oneTenant(database, "thor", { ...files, "3_c.sql": "select pg_sleep(20)" });
    const failure = tenant.failure();
    const end =
      "select pg_terminate_backend(pid) as ended from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
    await expect.poll(() => database.query(end), { timeout: 15_000 }).toEqual([{ ended: true }]);
    expect(await failure).toMatchObject({ code: "CONNECTION_LOST", hint: expect.stringContaining("goes on") });
    expect(await database.query("select 1 from pg_namespace where nspname = 'thor'")).toEqual([]);
    expect(tenant.done).toEqual([]);
  });

  test("a migration that ends its own backend fails like that, too", async () => {
    const tenant = await oneTenant(await createDatabase(server), "thor", {
      "1_a.sql": "select pg_terminate_backend(pg_backend_pid())",
    });
    expect(await tenant.failure()).toMatchObject({ code: "CONNECTION_LOST" });
  });

  test("lost at the commit that the server has done: it counts as done", async () => {
    const database = await createDatabase(server);
    const proxy = await startProxy(database.url, first("after"));
    const tenant = await oneTenant(database, "thor", files, { url: proxy.url });
    expect(await tenant.migrate()).toEqual(["1_a", "2_b"]);
    expect(proxy.cuts()).toBe(1);
    expect(await tenant.names()).toEqual(["1_a", "2_b"]);
  });

  test("lost at a commit that the server never saw: it counts as lost", async () => {
    const database = await createDatabase(server);
    const proxy = await startProxy(database.url, first("before"));
    const tenant = await oneTenant(database, "thor", files, { url: proxy.url });
    expect(await tenant.failure()).toMatchObject({ code: "CONNECTION_LOST" });
    expect(tenant.done).toEqual([]);
    expect(await tenant.migrate()).toEqual(["1_a", "2_b"]);
  });

  test("lost at each commit, with one for each migration: each counts, none runs twice", async () => {
    const database = await createDatabase(server);
    const seen = new Set<string>();
    const proxy = await startProxy(database.url, (sent) => {
      const table = /create table (\w) /.exec(sent)?.[1];
      if (table === undefined || !commits(sent) || seen.has(table)) return undefined;
      seen.add(table);
      return "after";
    });
    const tenant = await oneTenant(database, "thor", files, { url: proxy.url });
    expect(await tenant.migrate({ commit: "migration" })).toEqual(["1_a", "2_b"]);
    expect(proxy.cuts()).toBe(2);
    expect(await tenant.names()).toEqual(["1_a", "2_b"]);
  });

  test("lost at the commit of a rollback that the server has done", async () => {
    const database = await createDatabase(server);
    const proxy = await startProxy(
      database.url,
      first("after", (sent) => commits(sent) && sent.includes("drop table b")),
    );
    const tenant = await oneTenant(database, "thor", files, { url: proxy.url });
    await tenant.migrate();
    expect(await tenant.rollback("2_b")).toEqual(["2_b"]);
    expect(proxy.cuts()).toBe(1);
    expect(await tenant.names()).toEqual(["1_a"]);
  });

  test("when another run did it meanwhile, it was not us", async () => {
    const database = await createDatabase(server);
    const other = await oneTenant(database, "thor", files);
    const proxy = await startProxy(database.url, first("before"));
    const tenant = await oneTenant(database, "thor", files, { url: proxy.url });
    expect((await tenant.failure()).code).toBe("CONNECTION_LOST");
    await expect.poll(() => other.migrate().catch(codeOf), { timeout: 15_000 }).toEqual(["1_a", "2_b"]);
    expect(await tenant.migrate()).toEqual([]);
  });

  test("a create-tenant that is lost before its commit leaves nothing behind", async () => {
    const database = await createDatabase(server);
    const proxy = await startProxy(database.url, first("before"));
    const tenant = await oneTenant(database, "thor", files, { url: proxy.url });
    expect((await tenant.failure({ creating: true })).code).toBe("CONNECTION_LOST");
    const again = () => tenant.migrate({ creating: true }).catch(codeOf);
    await expect.poll(again, { timeout: 15_000 }).toEqual(["1_a", "2_b"]);
  });
});
