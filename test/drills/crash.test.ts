import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { startOwnServer } from "../database/server.ts";
import { startProxy } from "../migrations/proxy.ts";
import { createProject, type TestProject } from "../support/project.ts";

/** How many rounds; a person may want a night's worth. */
const rounds = Number(process.env.TENANTCTL_DRILL_ROUNDS ?? 6);
const tenants = Array.from({ length: 20 }, (_, index) => `t${String(index).padStart(2, "0")}`);

const first = `-- migrate:up
create table journal (name text);
insert into journal values ('20260101000000_journal');
`;

function migrationOf(round: number): [string, string] {
  const name = `2026010200${String(round).padStart(4, "0")}_m${round}`;
  return [
    name,
    `-- migrate:up
create table m${round} (id int primary key);
select pg_sleep(0.01);
insert into journal values ('${name}');
`,
  ];
}

test(`after ${rounds} rounds of kills, crashes, cut connections, held locks and eight runs at once, all is as in a fresh tenant`, {
  timeout: rounds * 90_000,
}, async () => {
  const server = await startOwnServer(["max_connections=100"]);
  const url = server.url("127.0.0.1", { sslmode: "disable" });
  const seen = { killed: 0, crashed: 0, cut: 0, held: 0, failedRuns: 0 };
  let mayCut = false;
  const proxy = await startProxy(server.url().replace(/\?$/, ""), () =>
    mayCut && Math.random() < 0.05 ? (Math.random() < 0.5 ? "before" : "after") : undefined,
  );
  const project = await createProject({
    database: url,
    migrations: { "20260101000000_journal.sql": first },
    tenants: Object.fromEntries(tenants.map((name) => [name, {}])),
  });
  expect((await project.tenantctl(["migrate"])).code).toBe(0);
  const names = ["20260101000000_journal"];

  for (let round = 1; round <= rounds; round++) {
    const [name, text] = migrationOf(round);
    await project.write(`migrations/tenant/${name}.sql`, text);
    names.push(name);
    mayCut = round % 2 === 0;
    const cuts = proxy.cuts();
    await chaos(project, url, proxy.url, round, seen);
    seen.cut += proxy.cuts() - cuts;
    mayCut = false;

    await untilUp(url);
    const last = await project.tenantctl(["migrate", "--lock-wait", "30s"], { timeoutMs: 60_000 });
    expect(last.code, `round ${round}\n${last.stderr}${last.stdout}`).toBe(0);
    await expectAll(url, names);
    expect((await project.tenantctl(["status", "--check", "--verify"])).code).toBe(0);
  }
  expect((await project.tenantctl(["create-tenant", "fresh"])).code).toBe(0);
  await expectLikeFresh(url);
  console.log(`crash drill, ${rounds} rounds: ${JSON.stringify(seen)}`);
  expect(seen.killed).toBeGreaterThan(0);
  expect(seen.crashed).toBeGreaterThan(0);
  expect(seen.held).toBeGreaterThan(0);
  expect(seen.cut).toBeGreaterThan(0);
});

async function chaos(
  project: TestProject,
  url: string,
  proxied: string,
  round: number,
  seen: { killed: number; crashed: number; held: number; failedRuns: number },
): Promise<void> {
  const holder = round % 3 === 0 ? await holdLocks(url) : undefined;
  if (holder) seen.held++;
  const count = [1, 8, 2][round % 3] ?? 1;
  const crashes = round % 4 === 2;
  const limits = ["--lock-timeout", "300ms", "--retries", "2", "--lock-wait", "10s"];
  // Cuts come where connections are asked for, too: such a run ends, and says so.
  const runs = Array.from({ length: count }, (_, index) =>
    project.startTenantctl(["migrate", "--database", (index % 2 === 0) !== crashes ? proxied : url, ...limits], {
      timeoutMs: 60_000,
    }),
  );
  if (!crashes) {
    await Promise.race([runs[0]?.waitFor(/migrated/), ...runs.map((run) => run.ended)]).catch(() => {});
    await sleep(Math.random() * 100);
  }
  if (round % 2 === 1) {
    runs[0]?.kill("SIGKILL");
    seen.killed++;
  }
  if (crashes && (await crashBackend(url))) seen.crashed++;
  await sleep(200);
  await holder?.end().catch(() => {});
  const ended = await Promise.all(runs.map((run) => run.ended));
  seen.failedRuns += ended.filter(({ code }) => code !== 0).length;
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {}); // the server's crash ends it too
  await client.connect();
  return client;
}

/** Somebody reads one table of every tenth tenant, and does not finish. */
async function holdLocks(url: string): Promise<pg.Client> {
  const client = await connect(url);
  await client.query("begin");
  for (const tenant of tenants.filter((_, index) => index % 10 === 0)) {
    await client.query(`lock table ${tenant}.journal in access exclusive mode`);
  }
  return client;
}

/** Kills a backend of ours, upon which the server ends all the others and starts anew. */
async function crashBackend(url: string): Promise<boolean> {
  const client = await connect(url);
  let pid: number | undefined;
  for (let attempt = 0; pid === undefined && attempt < 200; attempt++) {
    const { rows } = await client.query<{ pid: number }>(
      "select pid from pg_stat_activity where application_name = 'tenantctl' limit 1",
    );
    pid = rows[0]?.pid;
    if (pid === undefined) await sleep(10);
  }
  if (pid !== undefined) process.kill(pid, "SIGKILL");
  await client.end().catch(() => {});
  return pid !== undefined;
}

async function untilUp(url: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await (await connect(url)).end();
    } catch (error) {
      if (attempt > 100) throw error;
      await sleep(100);
    }
  }
}

/** Each migration was applied once, in every tenant, and the ledger says so. */
async function expectAll(url: string, names: string[]): Promise<void> {
  const client = await connect(url);
  for (const tenant of tenants) {
    const journal = await client.query<{ name: string }>(`select name from ${tenant}.journal order by name`);
    expect(
      journal.rows.map(({ name }) => name),
      tenant,
    ).toEqual(names);
    const ledger = await client.query<{ name: string }>(
      `select name from ${tenant}.tenantctl_migrations order by name`,
    );
    expect(
      ledger.rows.map(({ name }) => name),
      tenant,
    ).toEqual(names);
  }
  const locks = await client.query("select 1 from pg_locks where locktype = 'advisory'");
  expect(locks.rows, "locks of the dead").toEqual([]);
  await client.end();
}

/** Tables, columns, indexes and stamp of every tenant are those of one that was made just now. */
async function expectLikeFresh(url: string): Promise<void> {
  const client = await connect(url);
  const { rows } = await client.query<{ schema: string; shape: string }>(
    `select n.nspname as schema, string_agg(format('%s %s %s %s', c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod)), ', '
         order by c.relname, a.attnum) || coalesce((select replace(obj_description(l.oid, 'pg_class'), ' in ' || n.oid || ' ' || n.nspname, '') from pg_class l
         where l.relnamespace = n.oid and l.relname = 'tenantctl_migrations'), '') as shape
     from pg_namespace n join pg_class c on c.relnamespace = n.oid join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
     where n.nspname = 'fresh' or n.nspname like 't__' group by n.oid, n.nspname order by n.nspname`,
  );
  await client.end();
  expect(rows).toHaveLength(tenants.length + 1);
  expect(new Set(rows.map(({ shape }) => shape)).size).toBe(1);
}
