// The worker: each job as the tenant it is for, or not at all.
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, expect, test } from "vitest";
import type { TestDatabase } from "../support/database.ts";
import { type Example, migratedExample } from "./example.ts";

interface Job {
  state: string;
  result: unknown;
  reason: string | null;
}

let example: Example;
let database: TestDatabase;

beforeAll(async () => {
  ({ example, database } = await migratedExample("worker"));
  for (const [schema, voters] of Object.entries({ thor: ["odin", "loki"], potter: ["ron"] })) {
    await database.query(`insert into ${schema}.polls (question) values ('of ' || $1)`, [schema]);
    await database.query(`insert into ${schema}.choices (poll_id, text) values (1, $1)`, [`choice of ${schema}`]);
    await database.query(`insert into ${schema}.votes (choice_id, voter) select 1, unnest($1::text[])`, [voters]);
  }
});

async function enqueue(tenant: string, kind = "tally"): Promise<number> {
  const rows = await database.query<{ id: string }>(
    `insert into jobs (tenant, kind, payload) values ($1, $2, '{"poll": 1}') returning id`,
    [tenant, kind],
  );
  return Number(rows[0]?.id);
}

async function job(id: number): Promise<Job | undefined> {
  return (await database.query<Job & object>("select state, result, reason from jobs where id = $1", [id]))[0];
}

async function untilOver(id: number): Promise<Job | undefined> {
  for (;;) {
    const found = await job(id);
    if (found?.state !== "queued") return found;
    await sleep(20);
  }
}

test("two workers do every job once, each as its tenant; what can't be done says why", async () => {
  expect(await example.run("node", "enqueue.js", "thor", "tally", '{"poll": 1}')).toMatchObject({
    code: 0,
    stdout: "queued job 1\n",
  });
  expect(await example.run("node", "enqueue.js", "loki", "tally")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no tenant "loki"'),
  });
  const potters = await enqueue("potter");
  const removed = await enqueue("loki");
  const unknown = await enqueue("thor", "constructor");
  const many: number[] = [];
  for (let index = 0; index < 20; index++) many.push(await enqueue(index % 2 ? "thor" : "potter"));

  const workers = [example.start("node", "worker.js"), example.start("node", "worker.js")];
  const result = (tenant: string, votes: number) => ({
    state: "done",
    result: [{ text: `choice of ${tenant}`, votes }],
    reason: null,
  });
  expect(await untilOver(1)).toEqual(result("thor", 2));
  expect(await untilOver(potters)).toEqual(result("potter", 1));
  expect(await untilOver(removed)).toEqual({ state: "failed", result: null, reason: 'no tenant "loki"' });
  expect(await untilOver(unknown)).toEqual({ state: "failed", result: null, reason: "no such job: constructor" });
  for (const [index, id] of many.entries())
    expect(await untilOver(id)).toEqual(index % 2 ? result("thor", 2) : result("potter", 1));

  // One may have done all of them while the other still started.
  for (const worker of workers) await worker.waitFor(/^waiting for jobs$/m);
  for (const worker of workers) worker.kill("SIGTERM");
  const ends = await Promise.all(workers.map((worker) => worker.ended));
  expect(ends).toMatchObject([
    { code: 0, stderr: "" },
    { code: 0, stderr: "" },
  ]);
  const said = ends.flatMap(({ stdout }) => [...stdout.matchAll(/^job (\d+) of/gm)].map(([, id]) => Number(id)));
  expect(said.sort((a, b) => a - b)).toEqual([1, potters, removed, unknown, ...many].sort((a, b) => a - b));
});

test("SIGTERM finishes the job under way and takes no other", async () => {
  const locker = await database.connect();
  await locker.query("begin; lock table thor.votes in access exclusive mode");
  const [under, next] = [await enqueue("thor"), await enqueue("potter")];
  const worker = example.start("node", "worker.js");
  await untilSomebodyWaits();
  worker.kill("SIGTERM");
  await locker.query("commit");
  expect(await worker.ended).toMatchObject({ code: 0, stderr: "" });
  expect(await job(under)).toMatchObject({ state: "done" });
  expect(await job(next)).toMatchObject({ state: "queued" });
  await database.query("delete from jobs where state = 'queued'");
});

test("a worker that is killed gives its job back", async () => {
  const locker = await database.connect();
  await locker.query("begin; lock table thor.votes in access exclusive mode");
  const id = await enqueue("thor");
  const first = example.start("node", "worker.js");
  await untilSomebodyWaits();
  first.kill("SIGKILL");
  await first.ended;
  await locker.query("commit");
  const second = example.start("node", "worker.js");
  expect(await untilOver(id)).toMatchObject({ state: "done" });
  second.kill("SIGTERM");
  expect(await second.ended).toMatchObject({ code: 0 });
});

async function untilSomebodyWaits(): Promise<void> {
  for (;;) {
    const waiting = await database.query(
      "select from pg_locks join pg_database d on d.oid = database where not granted and datname = $1",
      [database.name],
    );
    if (waiting.length > 0) return;
    await sleep(20);
  }
}
