// The pool that follows the current tenant: every way of asking pg is answered from that tenant's schema, or refused.
import pg from "pg";
import Cursor from "pg-cursor";
import QueryStream from "pg-query-stream";
import { beforeAll, describe, expect, test } from "vitest";
import { tenantRole } from "../../src/database/roles.js";
import type { PoolMode, Tenancy } from "../../src/runtime/index.js";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createTenants, listOf, openTenancy, tenantNamed, whose } from "./tenancy.ts";

const names = ["thor", "loki", 'Glo"bex'];

describe.each(
  servers().flatMap(({ ...server }) =>
    (["session", "transaction"] as PoolMode[]).map((mode) => ({ server, mode, major: server.major })),
  ),
)("PostgreSQL $major, poolMode $mode", ({ server, mode }) => {
  let database: TestDatabase;
  let tenancy: Tenancy;
  const as = <T>(name: string, fn: () => T | Promise<T>) => tenancy.withTenant(name, fn);

  beforeAll(async () => {
    database = await createDatabase(server);
    await createTenants(database, names);
    await database.query(
      "create schema shared; create table shared.plans (name text); insert into shared.plans values ('free')",
    );
    await database.query(
      `create procedure public.ends(n int, inout owner text) language plpgsql as
       $$ begin rollback; owner := (select notes.owner from notes where id = n); commit; end $$`,
    );
    const tenants = [tenantNamed("thor"), tenantNamed("loki"), { ...tenantNamed("odin"), schema: 'Glo"bex' }];
    tenancy = await openTenancy(database, tenants, { poolMode: mode, maxConnections: 1, sharedSchemas: ["shared"] });
  });

  const owners = (result: { rows: { owner: string }[] }) => result.rows.map(({ owner }) => owner);

  test("text, values, named statements and arrays are answered by the current tenant's tables", async () => {
    for (const [name, owner] of [
      ["thor", "thor"],
      ["odin", 'Glo"bex'],
      ["loki", "loki"],
      ["thor", "thor"],
    ] as const) {
      await as(name, async () => {
        expect(owners(await tenancy.query(whose))).toEqual([owner]);
        expect(owners(await tenancy.query(`${whose} where id = $1`, [3]))).toEqual([owner]);
        expect(
          owners(await tenancy.pool.query({ name: "whose", text: `${whose} where id > $1`, values: [2] })),
        ).toEqual([owner]);
        expect((await tenancy.query({ text: whose, rowMode: "array" })).rows).toEqual([[owner]]);
        expect((await tenancy.query("select name from plans")).rows).toEqual([{ name: "free" }]);
      });
    }
  });

  test("several statements in one text give several results", async () => {
    const results = await as("loki", () => tenancy.query(`select 1 as n; ${whose}`));
    expect((results as unknown as pg.QueryResult[]).map(({ rows }) => rows)).toEqual([[{ n: 1 }], [{ owner: "loki" }]]);
  });

  test("without a current tenant nothing is sent", async () => {
    await expect(tenancy.query("select 1")).rejects.toMatchObject({ code: "NO_TENANT" });
    await expect(tenancy.pool.connect()).rejects.toMatchObject({ code: "NO_TENANT" });
    await expect(tenancy.transaction(async () => {})).rejects.toMatchObject({ code: "NO_TENANT" });
    expect(tenancy.currentTenant()).toBeUndefined();
    await expect(as("nobody", () => tenancy.query("select 1"))).rejects.toMatchObject({ code: "TENANT_UNKNOWN" });
  });

  test("errors are the server's, at the position in the text that was sent", async () => {
    await as("thor", async () => {
      const text = "select 'é😀', nope from notes";
      const position = String([...text.slice(0, text.indexOf("nope"))].length + 1);
      await expect(tenancy.query(text)).rejects.toMatchObject({ code: "42703", position });
      await expect(tenancy.query(`${text} where id = $1`, [1])).rejects.toMatchObject({ code: "42703", position });
      const before = await tenancy.query("select pg_backend_pid() as pid");
      await expect(tenancy.query("selec")).rejects.toMatchObject({ code: "42601", position: "1" });
      expect((await tenancy.query("select pg_backend_pid() as pid")).rows).toEqual(before.rows);
    });
  });

  test("a transaction is one tenant's from begin to commit, with the isolation that was asked for", async () => {
    for (const isolation of ["read committed", "repeatable read", "serializable"] as const) {
      await as("odin", () =>
        tenancy.transaction(
          async (client) => {
            expect((await client.query("show transaction_isolation")).rows).toEqual([
              { transaction_isolation: isolation },
            ]);
            expect(owners(await client.query(whose))).toEqual(['Glo"bex']);
          },
          { isolation },
        ),
      );
      expect(owners(await as("loki", () => tenancy.query(whose)))).toEqual(["loki"]);
    }
    await expect(
      as("thor", () => tenancy.transaction((client) => client.query("delete from notes"), { readOnly: true })),
    ).rejects.toMatchObject({ code: "25006" });
  });

  test("a transaction rolls back when it throws, and says so when nothing could be committed", async () => {
    await as("thor", async () => {
      const failure = new Error("no");
      const insert = "insert into notes values (100, 'thor')";
      await expect(
        tenancy.transaction(async (client) => {
          await client.query(insert);
          throw failure;
        }),
      ).rejects.toBe(failure);
      await expect(
        tenancy.transaction(async (client) => {
          await client.query(insert);
          await client.query("select nope").catch(() => {});
        }),
      ).rejects.toMatchObject({ code: "TRANSACTION_BROKEN" });
      expect((await tenancy.query("select 1 from notes where id = 100")).rows).toEqual([]);
      await tenancy.transaction((client) => client.query(insert));
      expect((await tenancy.query("delete from notes where id = 100")).rowCount).toBe(1);
    });
  });

  test("commit and chain, and a savepoint's rollback, stay with the tenant", async () => {
    await as("loki", async () => {
      const client = await tenancy.pool.connect();
      await client.query("begin");
      await client.query("savepoint s");
      await client.query("create temp table mine on commit drop as select 1 as n");
      await client.query("rollback to savepoint s");
      await client.query("create temp table mine on commit drop as select 2 as n");
      await client.query("savepoint t; rollback to savepoint t");
      expect((await client.query("select n from mine")).rows).toEqual([{ n: 2 }]);
      await client.query("commit and chain");
      expect(owners(await client.query(whose))).toEqual(["loki"]);
      await client.query("savepoint u");
      expect(owners(await client.query(whose))).toEqual(["loki"]);
      await client.query("rollback to savepoint u");
      expect(owners(await client.query(whose))).toEqual(["loki"]);
      await client.query("rollback");
      client.release();
    });
  });

  test("cursors and streams", async () => {
    await as("thor", async () => {
      const client = await tenancy.pool.connect();
      const cursor = client.query(new Cursor("select owner, id from notes where id <= $1 order by id", [5]));
      expect(await cursor.read(2)).toEqual([
        { owner: "thor", id: 1 },
        { owner: "thor", id: 2 },
      ]);
      expect(await cursor.read(9)).toHaveLength(3);
      await cursor.close();
      const stream = client.query(new QueryStream("select owner from notes where id > $1", [5], { batchSize: 2 }));
      const seen: unknown[] = [];
      stream.on("data", (row) => seen.push([row, tenancy.currentTenant()?.name]));
      await new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
      expect(seen).toEqual(Array.from({ length: 5 }, () => [{ owner: "thor" }, "thor"]));
      const broken = client.query(new Cursor("select nope from notes"));
      await expect(broken.read(1)).rejects.toMatchObject({ code: "42703" });
      client.release();
    });
    expect(owners(await as("loki", () => tenancy.query(whose)))).toEqual(["loki"]);
    await expect(as("thor", async () => tenancy.pool.query(new Cursor(whose)))).rejects.toMatchObject({
      code: "DRIVER",
    });
  });

  test("callbacks of pg are called in the tenant's context", async () => {
    const told = await as(
      "thor",
      () =>
        new Promise((resolve, reject) => {
          tenancy.pool.query(`${whose} where id = $1`, [1], (error, result) => {
            if (error) return reject(error);
            tenancy.pool.connect((failure, client, done) => {
              if (failure || !client) return reject(failure);
              client.query(whose, (wrong, again) => {
                done();
                if (wrong) reject(wrong);
                else resolve([owners(result), owners(again), tenancy.currentTenant()?.name]);
              });
            });
          });
        }),
    );
    expect(told).toEqual([["thor"], ["thor"], "thor"]);
    const refused = await new Promise((resolve) => tenancy.pool.query("select 1", (error) => resolve(error)));
    expect(refused).toMatchObject({ code: "NO_TENANT" });
  });

  test("a connection is its tenant's until it is released, and nobody's afterwards", async () => {
    const client = await as("thor", () => tenancy.pool.connect());
    await expect(as("loki", () => client.query(whose))).rejects.toMatchObject({ code: "OTHER_TENANT" });
    expect(owners(await client.query(whose))).toEqual(["thor"]);
    expect(owners(await as("thor", () => client.query(whose)))).toEqual(["thor"]);
    client.release();
    await expect(as("thor", () => client.query(whose))).rejects.toMatchObject({ code: "RELEASED" });
    expect(() => client.release()).toThrow("already been released");
  });

  test("a connection that is released in a transaction, or while it waits, is closed", async () => {
    const pidOf = () => as("loki", async () => (await tenancy.query("select pg_backend_pid() as pid")).rows[0].pid);
    const first = await pidOf();
    await as("thor", async () => {
      await tenancy.query("begin");
    });
    const second = await pidOf();
    expect(second).not.toBe(first);
    await as("thor", async () => {
      const client = await tenancy.pool.connect();
      const waiting = client.query("select pg_sleep(1)");
      const queued = client.query(whose);
      client.release();
      await expect(waiting).rejects.toThrow();
      await expect(queued).rejects.toThrow();
    });
    const third = await pidOf();
    expect(third).not.toBe(second);
    await expect(
      as("thor", () => tenancy.query({ text: "select pg_sleep(1)", query_timeout: 50 } as pg.QueryConfig)),
    ).rejects.toThrow(/timeout/);
    expect(await pidOf()).not.toBe(third);
  });

  test("a connection that the server ends is an error of whoever waits, and no other", async () => {
    const wait = as("thor", () => tenancy.query("select pg_backend_pid() as doomed, pg_sleep(1)"));
    const killed = expect.poll(() =>
      database.query(
        "select pg_terminate_backend(pid) as done from pg_stat_activity where datname = current_database() and query like '%as doomed%' and pid <> pg_backend_pid()",
      ),
    );
    await Promise.all([expect(wait).rejects.toMatchObject({ code: "57P01" }), killed.toEqual([{ done: true }])]);
    expect(owners(await as("loki", () => tenancy.query(whose)))).toEqual(["loki"]);
  });

  test("what a tenant's own code does to the search_path ends with its call or its transaction", async () => {
    await database.query(
      `create or replace function thor.stray() returns void language sql as $$ select set_config('search_path', 'loki', false) $$`,
    );
    const strays = [
      "set search_path to loki",
      "select set_config('search_path', 'loki', false)",
      "select stray()",
      "begin; set search_path to loki; commit",
    ];
    for (const stray of strays) {
      await as("thor", async () => {
        await tenancy.query(stray);
        expect(owners(await tenancy.query(whose))).toEqual(["thor"]);
        expect(owners(await tenancy.query(`${whose} where id = $1`, [1]))).toEqual(["thor"]);
        await tenancy.transaction(
          async (client) => void (await client.query("select set_config('search_path', $1, false)", ["loki"])),
        );
        expect(owners(await tenancy.query(`${whose} where id = $1`, [1]))).toEqual(["thor"]);
      });
    }
  });

  test("a function of a tenant's own can't stand in for the one that sets the search_path", async () => {
    await database.query(
      "create function thor.set_config(text, text, boolean) returns text language sql as $$ select 'no' $$",
    );
    for (let turn = 0; turn < 2; turn++) {
      await as("thor", () => tenancy.query("begin; set search_path to thor, pg_catalog; commit"));
      expect(owners(await as("loki", () => tenancy.query(`${whose} where id = $1`, [1])))).toEqual(["loki"]);
    }
    await database.query("drop function thor.set_config");
  });

  test("a connection outlives statements that fail, and leaves no listeners behind", async () => {
    const warned: Error[] = [];
    const warn = (warning: Error) => warned.push(warning);
    process.on("warning", warn);
    const pidOf = async () => (await tenancy.query("select pg_backend_pid() as pid")).rows[0].pid;
    await as("thor", async () => {
      const pid = await pidOf();
      for (let at = 0; at < 15; at++) {
        const client = await tenancy.pool.connect();
        await new Promise((resolve) =>
          client.query("select nope", () => {
            client.release(); // before the server is ready again
            resolve(undefined);
          }),
        );
        await expect(tenancy.query("select nope where 1 = $1", [1])).rejects.toMatchObject({ code: "42703" });
      }
      expect(await pidOf()).toBe(pid);
    });
    process.off("warning", warn);
    expect(warned).toEqual([]);
  });

  test("values that can't be sent are their statement's error, and no other's", async () => {
    const unsendable = {
      toPostgres() {
        throw new Error("unsendable");
      },
    };
    await expect(as("thor", () => tenancy.query(`${whose} where id = $1`, [unsendable]))).rejects.toThrow("unsendable");
    expect(owners(await as("loki", () => tenancy.query(`${whose} where id = $1`, [1])))).toEqual(["loki"]);
  });

  test("a tenant's temporary tables are not the next one's", async () => {
    for (const make of [
      "create temp table notes as select 'thor' as owner",
      "create temp table cart as select 'thor' as owner",
    ]) {
      await as("thor", () => tenancy.query(make));
      expect(owners(await as("loki", () => tenancy.query(whose)))).toEqual(["loki"]);
      await expect(as("loki", () => tenancy.query("select * from cart"))).rejects.toMatchObject({ code: "42P01" });
      // what fails undoes what was done to make the session clean
      await expect(
        as("loki", () => tenancy.query("select * from cart where owner <> $1", ["x"])),
      ).rejects.toMatchObject({ code: "42P01" });
      const behind = as("odin", () => tenancy.query("rollback; create temp table cart as select 'odin' as owner"));
      if (mode === "session") await behind;
      else await expect(behind).rejects.toMatchObject({ code: "TEXT_CONTINUES" });
      await expect(as("thor", () => tenancy.query("select * from cart"))).rejects.toMatchObject({ code: "42P01" });
    }
    await as("thor", () => tenancy.query("create temp table cart as select 'thor' as owner"));
    await as("loki", async () => {
      const client = await tenancy.pool.connect();
      await client.query("BEGIN;");
      await client.query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
      await expect(client.query("select * from cart")).rejects.toMatchObject({ code: "42P01" });
      await client.query("rollback");
      await expect(client.query("begin; select * from cart")).rejects.toMatchObject({ code: "42P01" });
      await client.query("rollback");
      client.release();
    });
  });

  test("what needs to be alone is done in a session, and refused each time where no session keeps the search_path", async () => {
    const alone: [string, unknown[]?][] = [
      ["vacuum notes"],
      ["vacuum notes", []],
      ["/* c */ create index concurrently on notes (owner)"],
      ["create index concurrently on notes (owner)", []],
      ["do $$ begin commit; end $$"],
      ["call public.ends(1, '')"],
      ["call public.ends($1::int, $2::text)", [1, ""]],
    ];
    for (const [text, values] of alone) {
      for (const name of ["thor", "thor", "loki"]) {
        const done = as(name, () => tenancy.query(text, values));
        if (mode === "session") expect((await done).rows).toEqual(text.startsWith("call") ? [{ owner: name }] : []);
        else
          await expect(done).rejects.toMatchObject({ code: expect.stringMatching(/^(25001|2D000|TEXT_CONTINUES)$/) });
        expect(owners(await as("odin", () => tenancy.query(whose)))).toEqual(['Glo"bex']);
      }
    }
  });

  test("a text that ends its transaction goes on as its tenant's, or is refused", async () => {
    const ending = [
      `begin; select 1; rollback; ${whose}`,
      `rollback; ${whose}`,
      `select 1; rollback; ${whose}`,
      `begin; select 1; commit; ${whose}`,
      `begin; select 1; rollback and chain; ${whose}`,
      `select 'a\\'; commit; ${whose}; --'`,
    ];
    const goesOn = async (name: string, run: () => Promise<pg.QueryResult>) => {
      const result = as(name, run);
      if (mode === "transaction") return await expect(result).rejects.toMatchObject({ code: "TEXT_CONTINUES" });
      const all = (await result) as unknown as pg.QueryResult[];
      expect(owners(all.at(-1) ?? { rows: [] })).toEqual([name]);
    };
    for (const text of ending) for (const name of ["loki", "thor"]) await goesOn(name, () => tenancy.query(text));
    for (const first of ["select 1", "select 1 / 0"]) {
      for (const end of ["rollback", "commit", "end", "abort work"]) {
        for (const name of ["loki", "thor"]) {
          const client = await as(name, () => tenancy.pool.connect());
          await as(name, () => client.query("begin"));
          await as(name, () => client.query(first)).catch(() => {});
          await goesOn(name, () => client.query(`${end}; ${whose}`));
          client.release();
        }
      }
    }
  });

  test("a tenant that is suspended meanwhile is an error of what is asked for, and is thrown at nobody", async () => {
    const registry = listOf([tenantNamed("thor")]);
    const one = await openTenancy(database, [], { registry, poolMode: mode, maxConnections: 1, refreshMs: 20 });
    const client = await one.withTenant("thor", () => one.pool.connect());
    registry.list = [{ ...tenantNamed("thor"), state: "suspended" }];
    await expect.poll(() => one.tenants()).toEqual([]);
    await expect(client.query(whose)).rejects.toMatchObject({ code: "TENANT_SUSPENDED" });
    client.release();
    registry.list = [tenantNamed("thor")];
    await expect.poll(() => one.tenants()).toHaveLength(1);
    await one.withTenant("thor", async () => {
      const again = await one.pool.connect();
      registry.list = [];
      await expect.poll(() => one.tenants()).toEqual([]);
      const told = new Promise((resolve) => again.query(whose, (error) => resolve(error)));
      expect(await told).toMatchObject({ code: "TENANT_UNKNOWN" });
      again.release();
    });
  });

  test("a transaction's first words may come after a comment, or in parts, also where the connection was another's", async () => {
    const begins = [
      "/* c */ begin isolation level serializable",
      "-- c\nstart transaction isolation level repeatable read",
      "begin; set transaction isolation level serializable",
    ];
    for (const text of begins) {
      for (const name of ["loki", "thor"]) {
        const client = await as(name, () => tenancy.pool.connect());
        await as(name, () => client.query(text));
        expect(owners(await as(name, () => client.query(whose)))).toEqual([name]);
        const level = await as(name, () => client.query("show transaction_isolation"));
        expect(text).toContain(level.rows[0].transaction_isolation);
        await as(name, () => client.query("rollback"));
        client.release();
      }
    }
  });

  test("listeners hear in the tenant's context, or in nobody's", async () => {
    await as("thor", async () => {
      const client = await tenancy.pool.connect();
      const heard = new Promise((resolve) => client.once("notification", () => resolve(tenancy.currentTenant()?.name)));
      await client.query("listen news; notify news");
      expect([undefined, "thor"]).toContain(await heard);
      await client.query("unlisten *");
      client.release();
    });
  });
});

describe.each(servers())("PostgreSQL $major, in session mode", (server) => {
  test("a change of tenant leaves nothing in the session; prepared statements follow", async () => {
    const database = await createDatabase(server);
    const tenancy = await openTenancy(database, await createTenants(database, ["thor", "loki"]), { maxConnections: 1 });
    await database.query("create role other; grant usage on schema loki to other");
    whenFileEnds(() => database.query("drop owned by other; drop role other"));
    await tenancy.withTenant("thor", () =>
      tenancy.query(
        "set timezone to 'Asia/Tokyo'; select pg_advisory_lock(42); begin; declare c cursor with hold for select 1; commit; set role other",
      ),
    );
    const [state] = await tenancy.withTenant(
      "loki",
      async () =>
        (
          await tenancy.query(
            "select current_setting('timezone') as zone, current_user::text as role, (select count(*)::int from pg_cursors where name = 'c') as cursors, (select count(*)::int from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())) as locks",
          )
        ).rows,
    );
    expect(state).toEqual({ zone: expect.not.stringContaining("Tokyo"), role: "postgres", cursors: 0, locks: 0 });
  });

  test("where its search_path could not be set a transaction is rolled back, and nothing goes on behind it", async () => {
    const database = await createDatabase(server);
    const tenants = await createTenants(database, ["thor", "loki"]); // thor has no role
    const roles = await openTenancy(database, tenants, { maxConnections: 1, isolation: "role" });
    await database.query(`create role "${tenantRole(database.name, "loki")}"; grant usage on schema loki to public;
      grant select on loki.notes to public`);
    whenFileEnds(() => database.query(`drop role "${tenantRole(database.name, "loki")}"`));
    for (const next of [`rollback; ${whose}`, "rollback and chain", whose, "rollback"]) {
      expect((await roles.withTenant("loki", () => roles.query(whose))).rows).toEqual([{ owner: "loki" }]);
      await roles.withTenant("thor", async () => {
        const client = await roles.pool.connect();
        try {
          await expect(client.query("begin; select 1")).rejects.toThrow("does not exist");
          if (next === "rollback") await client.query(next);
          else await expect(client.query(next)).rejects.toMatchObject({ code: "TRANSACTION_BROKEN" });
          await expect(client.query(whose)).rejects.toThrow();
        } finally {
          client.release();
        }
      });
    }
  });

  test("a connection outside of any statement of ours sees no schema, and can't be used past the pool", async () => {
    const database = await createDatabase(server);
    const tenancy = await openTenancy(database, await createTenants(database, ["thor"]), { maxConnections: 1 });
    const raw: pg.PoolClient[] = [];
    tenancy.pool.on("acquire", (client) => raw.push(client));
    const path = await tenancy.withTenant("thor", async () => {
      await tenancy.query("select 1");
      return (await tenancy.query(
        "reset search_path; select current_setting('search_path') as path",
      )) as unknown as pg.QueryResult[];
    });
    expect(path[1]?.rows).toEqual([{ path: "" }]);
    expect(() => raw[0]?.query("select 1")).toThrow("nobody's");
  });
});

test("a pool that was given stays usable and open, and is left as it was", async () => {
  for (const server of servers()) {
    const database = await createDatabase(server);
    const tenants = await createTenants(database, ["thor", "loki"]);
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    whenFileEnds(() => pool.end());
    const tenancy = await openTenancy(database, tenants, { pool });
    expect(tenancy.pool).toBeInstanceOf(pg.Pool);
    for (const name of ["thor", "loki"]) {
      const { rows } = await tenancy.withTenant(name, () => tenancy.query(whose));
      expect(rows).toEqual([{ owner: name }]);
      expect((await pool.query("show search_path")).rows).toEqual([{ search_path: '"$user", public' }]);
    }
    // somebody else's transaction, left open, is never continued
    await pool.query("begin; set local search_path to loki");
    expect((await tenancy.withTenant("thor", () => tenancy.query(whose))).rows).toEqual([{ owner: "thor" }]);
    await tenancy.close();
    await expect(tenancy.withTenant("thor", () => tenancy.query(whose))).rejects.toMatchObject({ code: "CLOSED" });
    expect((await pool.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  }
});

test("what is no pool of pg's, or can't be followed, is refused at once", async () => {
  const registry = { tenants: async () => [] };
  await expect(openTenancy({ url: "" }, [], { registry, pool: {} as pg.Pool })).rejects.toMatchObject({
    code: "DRIVER",
  });
  const pool = new pg.Pool({ pipeline: true });
  await expect(openTenancy({ url: "" }, [], { registry, pool })).rejects.toMatchObject({ code: "DRIVER" });
});
