// Leak drill: many tenants on few connections, doing all that leaves traces; every row read or written is its own tenant's.
import { Kysely, PostgresDialect, sql } from "kysely";
import type pg from "pg";
import Cursor from "pg-cursor";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { Link } from "../../src/database/guard.js";
import type { Tenancy } from "../../src/runtime/index.js";
import { createTenants, openTenancy } from "../runtime/tenancy.ts";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";

/** How many operations in all; a person may want 100,000. */
const operations = Number(process.env.TENANTCTL_DRILL_OPERATIONS ?? 2_400);
const names = Array.from({ length: 50 }, (_, at) => `tenant_${at}`);
const workers = 20;

interface Drill {
  tenancy: Tenancy;
  kysely: Kysely<{ notes: { id: number; owner: string }; log: { owner: string; writer: string } }>;
  /** Rows of other tenants that were read, and failures that nothing explains. */
  found: string[];
  done: Record<string, number>;
}

interface Turn extends Drill {
  me: string;
  other: string;
  /** Whoever gave these rows must be me. */
  check(rows: { owner: string }[], atLeast?: number): void;
}

const whose = "select owner from notes where id <= 3";

const operationsByName: Record<string, { weight: number; run(turn: Turn): Promise<unknown> }> = {
  text: { weight: 20, run: async ({ tenancy, check }) => check((await tenancy.query(whose)).rows, 3) },
  values: {
    weight: 20,
    run: async ({ tenancy, check }) =>
      check((await tenancy.query("select owner from notes where id = $1", [2])).rows, 1),
  },
  named: {
    weight: 20,
    run: async ({ tenancy, check }) =>
      check((await tenancy.query({ name: "one", text: "select owner from notes where id = $1", values: [4] })).rows, 1),
  },
  write: {
    weight: 10,
    run: async ({ tenancy, me }) =>
      await tenancy.query("insert into log select owner, $1 from notes where id = 1", [me]),
  },
  transaction: {
    weight: 10,
    run: ({ tenancy, me, check }) =>
      tenancy.transaction(
        async (client) => {
          check((await client.query(whose)).rows, 3);
          await client.query("insert into log select owner, $1 from notes where id = 1", [me]);
          check((await client.query("select owner from log")).rows, 1);
        },
        { isolation: "repeatable read" },
      ),
  },
  orm: {
    weight: 10,
    async run({ kysely, me, check }) {
      check(await kysely.selectFrom("notes").select("owner").where("id", "=", 5).execute(), 1);
      await kysely.transaction().execute(async (trx) => {
        await trx
          .insertInto("log")
          .columns(["owner", "writer"])
          .expression((from) =>
            from
              .selectFrom("notes")
              .select(["owner", sql.lit(me).as("writer")])
              .where("id", "=", 1),
          )
          .execute();
        check(await trx.selectFrom("log").select("owner").execute(), 1);
      });
    },
  },
  cursor: {
    weight: 5,
    async run({ tenancy, check }) {
      const client = await tenancy.pool.connect();
      try {
        const cursor = client.query(new Cursor<{ owner: string }>("select owner from notes where id > $1", [2]));
        check(await cursor.read(3), 3);
        await cursor.close();
      } finally {
        client.release();
      }
    },
  },
  error: {
    weight: 5,
    async run({ tenancy, check }) {
      await failing(tenancy.query("select nope from notes where id = $1", [1]), "42703");
      await failing(tenancy.query("insert into notes values (1, 'twice')"), "23505");
      check((await tenancy.query(whose)).rows, 3);
    },
  },
  rollback: {
    weight: 5,
    run: ({ tenancy, me }) =>
      failing(
        tenancy.transaction(async (client) => {
          await client.query("insert into log values ('nobody', $1)", [me]);
          await client.query("select 1 / 0");
        }),
        "22012",
      ),
  },
  strays: {
    weight: 10,
    async run({ tenancy, other, check }) {
      const strays = [
        `set search_path to ${other}`,
        `select public.stray('${other}')`,
        `begin; set search_path to ${other}; commit`,
        `begin; set local search_path to ${other}; rollback`,
      ];
      await tenancy.query(strays[Math.floor(Math.random() * strays.length)] ?? "");
      check((await tenancy.query("select owner from notes where id = $1", [1])).rows, 1);
      await tenancy.transaction(async (client) => void (await client.query("select public.stray($1)", [other])));
      check((await tenancy.query(whose)).rows, 3);
    },
  },
  temporary: {
    weight: 10,
    async run({ tenancy, me, check }) {
      const client = await tenancy.pool.connect();
      try {
        await client.query(
          `create temp table if not exists cart (owner text); insert into cart values ('${me}'); create temp table if not exists notes (id int primary key, owner text); insert into notes select n, '${me}' from generate_series(1, 10) n on conflict do nothing`,
        );
        await client.query("begin");
        check(
          (
            (await client.query(
              `create temp table if not exists cart (owner text); insert into cart values ('${me}'); select owner from cart`,
            )) as unknown as pg.QueryResult[]
          ).at(-1)?.rows ?? [],
          1,
        );
        await client.query(Math.random() < 0.5 ? "commit" : "rollback");
      } finally {
        client.release();
      }
    },
  },
  abandoned: {
    weight: 1,
    async run({ tenancy, me }) {
      const client = await tenancy.pool.connect();
      try {
        await client.query("begin");
        await client.query("insert into log values ('nobody', $1)", [me]);
      } finally {
        client.release();
      }
    },
  },
  aborted: {
    weight: 1,
    async run({ tenancy }) {
      const client = await tenancy.pool.connect();
      const waiting = client.query("select pg_sleep(0.05)");
      const queued = client.query(whose);
      client.release();
      await Promise.all([waiting, queued].map((query) => expect(query).rejects.toThrow()));
    },
  },
  late: {
    weight: 1,
    run: ({ tenancy }) =>
      expect(tenancy.query({ text: "select pg_sleep(0.05)", query_timeout: 5 } as pg.QueryConfig)).rejects.toThrow(
        "timeout",
      ),
  },
  killed: {
    weight: 1,
    run: ({ tenancy }) => expect(tenancy.query("select pg_terminate_backend(pg_backend_pid())")).rejects.toThrow(),
  },
};

async function failing(query: Promise<unknown>, code: string): Promise<void> {
  await expect(query).rejects.toMatchObject({ code });
}

const bag = Object.entries(operationsByName).flatMap(([name, { weight }]) =>
  Array.from({ length: weight }, () => name),
);

function anyOf<T>(list: readonly T[]): T {
  const one = list[Math.floor(Math.random() * list.length)];
  if (one === undefined) throw new Error("an empty list");
  return one;
}

// Before 1.21 pgbouncer lets one client's named statements meet another's, whoever the tenants are.
const withoutNames = bag.filter((name) => name !== "named");

async function work(drill: Drill, count: number, choose: () => string): Promise<void> {
  for (let at = 0; at < count && drill.found.length < 20; at++) {
    const me = anyOf(names);
    const name = choose();
    const check: Turn["check"] = (rows, atLeast = 0) => {
      if (rows.length < atLeast) drill.found.push(`${name}: ${me} read ${rows.length} rows, not ${atLeast}`);
      for (const { owner } of rows) if (owner !== me) drill.found.push(`${name}: ${me} read a row of ${owner}`);
    };
    await drill.tenancy
      .withTenant(me, () => operationsByName[name]?.run({ ...drill, me, other: anyOf(names), check }))
      .catch((error: Error) => drill.found.push(`${name}: ${me}: ${error.message}`));
    drill.done[name] = (drill.done[name] ?? 0) + 1;
  }
}

async function run(tenancy: Tenancy, count: number, way: string): Promise<Drill> {
  const kysely: Drill["kysely"] = new Kysely({ dialect: new PostgresDialect({ pool: tenancy.pool }) });
  const drill: Drill = { tenancy, kysely, found: [], done: {} };
  const all = way === "direct" ? bag : withoutNames;
  const first = [...new Set(all)]; // each once, however rare it is
  const choose = () => first.pop() ?? anyOf(all);
  await Promise.all(Array.from({ length: workers }, () => work(drill, Math.ceil(count / workers), choose)));
  return drill;
}

/** Rows that somebody wrote into another tenant's table, or another tenant's name into their own. */
async function strayWrites(database: TestDatabase): Promise<unknown[]> {
  const each = names.map((name) => `select '${name}' as found, owner, writer from ${name}.log`).join(" union all ");
  return await database.query(`select * from (${each}) s where found <> owner or found <> writer limit 5`);
}

afterEach(() => {
  vi.restoreAllMocks();
});

const ways = ["direct", ...(pgbouncerAvailable ? ["behind pgbouncer"] : [])];

describe.each(servers())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let pooler: { url: string };

  beforeAll(async () => {
    database = await createDatabase(server);
    await createTenants(database, names);
    await database.query(names.map((name) => `create table ${name}.log (owner text, writer text)`).join(";"));
    await database.query(
      "create function public.stray(path text) returns void language sql as $$ select set_config('search_path', path, false) $$",
    );
    if (pgbouncerAvailable) pooler = await startPgbouncer(database, { poolSize: 3 });
  });

  const open = (way: string) =>
    openTenancy(
      way === "direct" ? database : pooler,
      names.map((name) => ({ name, schema: name, hosts: [], labels: {}, state: "active" as const })),
      { maxConnections: 5 },
    );

  test.each(ways)(`%s${pgbouncerNote}, every row is its own tenant's`, { timeout: 30 * 60_000 }, async (way) => {
    const started = performance.now();
    const { found, done } = await run(await open(way), Math.ceil(operations / servers().length / ways.length), way);
    console.log(`${way}: ${JSON.stringify(done)} in ${Math.round(performance.now() - started)} ms`);
    expect(found).toEqual([]);
    expect(await strayWrites(database)).toEqual([]);
    expect(Object.keys(done).sort()).toEqual([...new Set(way === "direct" ? bag : withoutNames)].sort());
  });

  test.each(ways)("%s, the drill finds the leak when a connection keeps its first tenant", async (way) => {
    const { needs } = Link.prototype;
    vi.spyOn(Link.prototype, "needs").mockImplementation(function (this: Link, ...asked) {
      return this.visited.size === 0 ? needs.apply(this, asked) : { path: false, clean: false };
    });
    const { found } = await run(await open(way), 500, way);
    expect(found.join("\n")).toMatch(/read a row of tenant_/);
    await database.query(names.map((name) => `truncate ${name}.log`).join(";"));
  });

  test.each(ways)("%s, the drill finds the leak when temporary tables stay", async (way) => {
    const { needs } = Link.prototype;
    vi.spyOn(Link.prototype, "needs").mockImplementation(function (this: Link, ...asked) {
      return { ...needs.apply(this, asked), clean: false };
    });
    const { found } = await run(await open(way), 500, way);
    expect(found.join("\n")).toMatch(/read a row of tenant_/);
    await database.query(names.map((name) => `truncate ${name}.log`).join(";"));
  });
});
