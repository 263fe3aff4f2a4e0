// A queue in the shared schema, and a worker that does each job as the tenant it is for.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { createTenancy } from "tenantctl/runtime";
import { jobs } from "./jobs.js";

const idleMs = 500;

// First of all, so that a signal is heeded from the start.
const stopping = new AbortController();
for (const signal of /** @type {const} */ (["SIGTERM", "SIGINT"])) process.once(signal, () => stopping.abort());

// The queue is nobody's, so it has a pool of its own: the tenancy's refuses statements without a current tenant.
const queue = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 1 });
const tenancy = await createTenancy();

console.log("waiting for jobs");
while (!stopping.signal.aborted) {
  if (!(await doNext())) await sleep(idleMs, undefined, { signal: stopping.signal }).catch(() => {});
}
await tenancy.close();
await queue.end();

/** Does the next job that no other worker has. False: there is none. */
async function doNext() {
  const client = await queue.connect();
  let failure;
  try {
    // The row is locked until its job is over: should this process die, another one takes the job at once.
    await client.query("begin");
    const { rows } = await client.query(
      `select id, tenant, kind, payload from public.jobs
        where state = 'queued' order by id limit 1 for update skip locked`,
    );
    const [job] = rows;
    if (job !== undefined) {
      const { state, result, reason } = await perform(job);
      await client.query(
        "update public.jobs set state = $2, result = $3, reason = $4, finished_at = clock_timestamp() where id = $1",
        [job.id, state, JSON.stringify(result), reason],
      );
      console.log(`job ${job.id} of ${job.tenant}: ${state}${reason ? `: ${reason}` : ""}`);
    }
    await client.query("commit");
    return job !== undefined;
  } catch (error) {
    failure = /** @type {Error} */ (error);
    throw error;
  } finally {
    client.release(failure);
  }
}

/** @param {{ tenant: string, kind: string, payload: Record<string, unknown> }} job */
async function perform({ tenant, kind, payload }) {
  try {
    const run = Object.hasOwn(jobs, kind) ? jobs[kind] : undefined;
    if (run === undefined) throw new Error(`no such job: ${kind}`);
    // A tenant that was removed since is refused here, before anything runs.
    return { state: "done", result: await tenancy.withTenant(tenant, () => run(tenancy, payload)) };
  } catch (error) {
    return { state: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
}
