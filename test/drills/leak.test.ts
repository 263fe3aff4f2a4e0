// Leak drill: many tenants on few connections, doing all that leaves traces; every row read or written is its own tenant's.
import { Kysely, PostgresDialect, sql } from "kysely";
import type pg from "pg";
import Cursor from "pg-cursor";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { Link } from "../../src/database/guard.js";
import type { Need } from "../../src/database/prefix.js";
import { tenantRole } from "../../src/database/roles.js";
import { isolationTexts } from "../../src/migrations/grants.js";
import type { Tenancy } from "../../src/runtime/index.js";
import { createTenants, openTenancy } from "../runtime/tenancy.ts";
import { createDatabase, servers, type TestDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";

/** How many operations in all; a person may want 100,000. */
const operations = Number(process.env.TENANTCTL_DRILL_OPERATIONS ?? 2_400);
const names = Array.from({ length: 50 }, (_, at) => `tenant_${at}`);
const workers = 20;

/** A tenant whose role is not there: what it sends is never to be done. */
const roleless = "roleless";

interface Drill {
  tenancy: Tenancy;
  isSession: boolean;
  /** The roles that statements have, where each tenant has one. */
  roleOf?: ((name: string) => string) | undefined;
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

/** What a session's own authorization is set to: it may all that the tests' own may. */
const drillRole = "leak_drill";

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
  endings: {
    weight: 15,
    async run({ tenancy, me, check }) {
      const rows = rowsOf;
      const write = `insert into log select owner, '${me}' from notes where id = 1`;
      const texts = [
        `begin; select owner from notes where id = 1; rollback; ${whose}`,
        `rollback; ${write}`,
        `select owner from notes where id = 1; rollback; ${whose}`,
        `begin; ${write}; commit; ${whose}; begin; ${whose}; rollback and chain; ${whose}; abort`,
        `begin; savepoint a; rollback to a; ${whose}; rollback; ${whose}`,
      ];
      await passing(async () => check(rows(await tenancy.query(anyOf(texts)))));
      await passing(async () => check((await tenancy.query("call public.ends($1, $2)", [2, ""])).rows, 1));
      await passing(async () => check((await tenancy.query("call public.ends(2, '')")).rows, 1), "2D000");
      const client = await tenancy.pool.connect();
      try {
        await client.query("begin");
        check((await client.query(whose)).rows, 3);
        if (Math.random() < 0.5) await failing(client.query("select 1 / 0"), "22012");
        const end = anyOf(["rollback", "commit", "end", "abort", "/* ; */ commit work and no chain"]);
        await passing(async () => check(rows(await client.query(`${end}; ${whose}; ${write}`)).slice(0, 3), 3));
      } finally {
        client.release();
      }
      check((await tenancy.query("select owner from notes where id = $1", [1])).rows, 1);
    },
  },
  leftovers: {
    weight: 10,
    async run({ tenancy, me, check, found, isSession }) {
      const own = (what: string, isOwn: boolean) => isOwn || found.push(`leftovers: ${me} found ${what}`);
      const last = await tenancy.query("select lastval()::int as n").catch((error) => error);
      if (last.code === undefined)
        own(`lastval ${last.rows[0].n}`, Math.floor(last.rows[0].n / 1e6) === names.indexOf(me));
      else if (last.code !== "55000") throw last;
      await tenancy.query("select nextval('numbers')");
      const client = await tenancy.pool.connect();
      try {
        const rows = await client.query("fetch 3 from held").catch((error) => error);
        if (rows.code === undefined) check(rows.rows);
        else if (rows.code !== "34000") throw rows;
        const declared = await client.query(`declare held cursor with hold for ${whose}`).catch((error) => error);
        if (declared.code !== undefined && declared.code !== "42P03") throw declared;
        const channels = (await client.query("select pg_listening_channels() as channel")).rows;
        // Behind a pooler UNLISTEN holds from the end of its transaction on: names of channels are seen, what is sent there is not.
        if (isSession) for (const { channel } of channels) own(`channel ${channel}`, channel === me);
        await client.query(`listen ${me}`);
      } finally {
        client.release();
      }
    },
  },
  traces: {
    weight: 20,
    async run({ tenancy, me, found, isSession }) {
      // What is not discarded behind a pooler is said in the README.
      if (!isSession) return;
      const ask = `select current_setting('drill.me', true) as setting, session_user::text as session,
        (select string_agg(statement, ' ') from pg_prepared_statements where name like 'mine_%') as prepared,
        (select string_agg(channel, ' ') from pg_listening_channels() channel) as channels,
        (select string_agg(objid::text, ' ') from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and classid = 7) as locks`;
      const client = await tenancy.pool.connect();
      let asked: unknown;
      try {
        // What discards in front of a statement may be undone with it.
        if (Math.random() < 0.5)
          await failing(client.query(anyOf(["select 1; select 1 / 0", "select 1 / 0"])), "22012");
        // A text of several statements, one, and one with values have each their own way of discarding.
        asked = await client.query(anyOf([`begin; ${ask}; commit`, ask]), valuesOrNone()).catch(
          (error) => (error.code === "42601" ? client.query(ask, []) : Promise.reject(error)), // values are for one statement
        );
      } finally {
        client.release();
      }
      for (const { setting, session, prepared, channels, locks } of rowsOf(asked)) {
        const mine = setting === me;
        if (!mine && setting) found.push(`traces: ${me} found a setting of ${setting}`);
        if (!mine && session === drillRole) found.push(`traces: ${me} found another's session_user`);
        if (prepared !== null && !prepared.includes(` as select '${me}'`))
          found.push(`traces: ${me} found ${prepared}`);
        if (channels !== null && channels !== me) found.push(`traces: ${me} found the channel ${channels}`);
        if (locks !== null && locks !== String(names.indexOf(me))) found.push(`traces: ${me} found a lock of ${locks}`);
      }
      await tenancy.query(`deallocate all; prepare mine_${me} as select '${me}'; listen ${me}; select pg_advisory_lock_shared(7, ${names.indexOf(me)});
        set drill.me to '${me}'; set session authorization ${drillRole}`);
    },
  },
  role: {
    weight: 10,
    async run({ tenancy, me, found, roleOf }) {
      if (roleOf === undefined) return;
      const ask = "select current_user::text as role";
      const asked: unknown = await (Math.random() < 0.5
        ? tenancy.query(`begin; ${ask}; commit`)
        : tenancy.query(ask, valuesOrNone()));
      for (const { role } of rowsOf(asked)) if (role !== roleOf(me)) found.push(`role: ${me} had ${role}`);
    },
  },
  handed: {
    weight: 5,
    async run({ tenancy, other, found }) {
      const client = await tenancy.pool.connect();
      try {
        const asked = tenancy.withTenant(other, () => client.query(whose));
        const rows = await asked.then(rowsOf, (error) => {
          if (error.code !== "OTHER_TENANT") throw error;
          return [];
        });
        for (const { owner } of rows) if (owner !== other) found.push(`handed: ${other} read a row of ${owner}`);
      } finally {
        client.release();
      }
    },
  },
  roleless: {
    weight: 5,
    async run({ tenancy, found, roleOf }) {
      if (roleOf === undefined) return;
      await tenancy.withTenant(roleless, async () => {
        const client = await tenancy.pool.connect();
        try {
          await expect(client.query("begin; select 1")).rejects.toThrow("does not exist");
          const asked = await client.query(`rollback; ${whose}`).catch(() => []);
          for (const { owner } of rowsOf(asked)) found.push(`roleless: it read a row of ${owner}`);
        } finally {
          client.release();
        }
      });
    },
  },
  chained: {
    weight: 5,
    async run({ tenancy, check }) {
      const client = await tenancy.pool.connect();
      try {
        await client.query(anyOf(["begin; commit and chain", "begin; select 1; rollback and chain", "begin"]));
        for (let turns = 0; turns < 3; turns++) {
          check((await client.query(whose, valuesOrNone())).rows, 3);
          await client.query(anyOf(["commit and chain", "rollback and chain", "savepoint a; rollback to a"]));
        }
        check((await client.query(whose)).rows, 3);
        await client.query("rollback");
      } finally {
        client.release();
      }
    },
  },
  prepared: {
    weight: 5,
    async run({ tenancy, me, check, found }) {
      const text = `select owner from notes where id = 1 and owner = '${me}'`;
      const client = await tenancy.pool.connect();
      try {
        check((await client.query({ name: `named_${me}`, text })).rows, 1);
        const { rows } = await client.query("select statement from pg_prepared_statements where name like 'named_%'");
        for (const { statement } of rows) if (statement !== text) found.push(`prepared: ${me} found ${statement}`);
        check((await client.query({ name: `named_${me}`, text })).rows, 1);
      } finally {
        client.release();
      }
    },
  },
  alone: {
    weight: 1,
    async run({ tenancy, check, isSession }) {
      const texts = [
        "analyze notes",
        "-- a comment\nvacuum notes",
        "/* c */ begin isolation level serializable; select 1; commit",
      ];
      await passing(() => tenancy.query(anyOf(texts)), ...(isSession ? [] : ["25001"]));
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

/** No values are sent as a text, an empty list of them by the extended protocol. */
function valuesOrNone(): [] | undefined {
  return Math.random() < 0.5 ? [] : undefined;
}

/** All rows of one result, or of several. */
function rowsOf(result: unknown) {
  return [result as pg.QueryResult].flat().flatMap((one) => one.rows ?? []);
}

/** Does it, or is refused it: where no session keeps the search_path a text may not go on behind its transaction. */
async function passing(run: () => Promise<unknown>, ...codes: string[]): Promise<void> {
  await run().catch((error) => {
    if (!["TEXT_CONTINUES", ...codes].includes(error.code)) throw error;
  });
}

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
const withoutNames = bag.filter((name) => name !== "named" && name !== "prepared");

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

async function run(tenancy: Tenancy, count: number, way: string, database: TestDatabase): Promise<Drill> {
  const kysely: Drill["kysely"] = new Kysely({ dialect: new PostgresDialect({ pool: tenancy.pool }) });
  const roleOf = way === "with roles" ? (name: string) => tenantRole(database.name, name) : undefined;
  const drill: Drill = { tenancy, isSession: way !== "behind pgbouncer", roleOf, kysely, found: [], done: {} };
  const all = way === "behind pgbouncer" ? withoutNames : bag;
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

const ways = ["direct", "with roles", ...(pgbouncerAvailable ? ["behind pgbouncer"] : [])];

describe.each(servers())("PostgreSQL $major", (server) => {
  let database: TestDatabase;
  let pooler: { url: string };

  beforeAll(async () => {
    database = await createDatabase(server);
    await database.query(`create role ${drillRole} superuser`);
    whenFileEnds(() => database.query(`drop role ${drillRole}`));
    await createTenants(database, names);
    await database.query(
      names
        .map(
          (
            name,
            at,
          ) => `create table ${name}.log (owner text, writer text); create table ${name}.tenantctl_migrations ();
      create sequence ${name}.numbers start ${at * 1e6 + 1} minvalue ${at * 1e6}`,
        )
        .join(";"),
    );
    await database.query(
      `create procedure public.ends(n int, inout owner text) language plpgsql as
       $$ begin rollback; owner := (select notes.owner from notes where id = n); commit; end $$`,
    );
    await database.query(
      "create function public.stray(path text) returns void language sql as $$ select set_config('search_path', path, false) $$",
    );
    const isolation = {
      database: database.name,
      members: [],
      membershipOptions: server.major >= 16,
      appRole: undefined,
    };
    for (const name of names) await database.query(isolationTexts(name, isolation).join(";"));
    if (pgbouncerAvailable) pooler = await startPgbouncer(database, { poolSize: 3 });
  });

  const open = (way: string) =>
    openTenancy(
      way === "behind pgbouncer" ? pooler : database,
      [...names, roleless].map((name) => ({ name, schema: name, hosts: [], labels: {}, state: "active" as const })),
      { maxConnections: 5, isolation: way === "with roles" ? "role" : "schema" },
    );

  test.each(ways)(`%s${pgbouncerNote}, every row is its own tenant's`, { timeout: 30 * 60_000 }, async (way) => {
    const started = performance.now();
    const { found, done } = await run(
      await open(way),
      Math.ceil(operations / servers().length / ways.length),
      way,
      database,
    );
    console.log(`${way}: ${JSON.stringify(done)} in ${Math.round(performance.now() - started)} ms`);
    expect(found).toEqual([]);
    expect(await strayWrites(database)).toEqual([]);
    expect(Object.keys(done).sort()).toEqual([...new Set(way === "behind pgbouncer" ? withoutNames : bag)].sort());
  });

  const guards: [string, (link: Link, need: Need) => Need, RegExp][] = [
    [
      "a connection keeps its first tenant",
      ({ visited }, need) => (visited.size === 0 ? need : { ...need, path: false }),
      /read a row/,
    ],
    ["what a tenant leaves behind stays", (_, need) => ({ ...need, clean: false }), /read a row|found lastval/],
    ["a rollback takes the search_path away", (_, need) => ({ ...need, commits: false }), /read a row|row/],
  ];

  test.each(
    ways
      .filter((way) => way !== "with roles")
      .flatMap((way) => guards.map(([what, without, finds]) => ({ way, what, without, finds }))),
  )("$way, the drill finds the leak when $what", async ({ way, what, without, finds }) => {
    if (way === "behind pgbouncer" && what.startsWith("a rollback")) {
      vi.spyOn(Link.prototype, "refusal").mockReturnValue(undefined);
    } else {
      const { needs } = Link.prototype;
      vi.spyOn(Link.prototype, "needs").mockImplementation(function (this: Link, ...asked) {
        return without(this, needs.apply(this, asked));
      });
    }
    const { found } = await run(await open(way), 800, way, database);
    expect(found.join("\n")).toMatch(finds);
    await database.query(names.map((name) => `truncate ${name}.log`).join(";"));
  });
});
