// The kill drill's fleet: migrations whose traces can be looked at one by one, and what must be true after any kill.
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { TestDatabase } from "../support/database.ts";

const pause = "select pg_sleep(0.02);";

/** The third runs outside of a transaction; the last changes a table that the others made. */
export const migrations = {
  "20260101000000_polls.sql": "-- migrate:up\ncreate table polls (id int);\n-- migrate:down\ndrop table polls;\n",
  "20260102000000_choices.sql": `-- migrate:up\ncreate table choices (id int);\n${pause}\ninsert into choices values (1), (2), (3);\n-- migrate:down\n${pause}\ndrop table choices;\n`,
  "20260103000000_index.sql": `-- migrate:up transaction:false\n${pause}\ncreate index concurrently choices_id on choices (id);\n-- migrate:down transaction:false\ndrop index concurrently if exists choices_id;\n${pause}\n`,
  "20260104000000_votes.sql": `-- migrate:up\n${pause}\ncreate table votes (id int);\n${pause}\n-- migrate:down\ndrop table votes;\n${pause}\n`,
  "20260105000000_email.sql": `-- migrate:up\nalter table polls add email text;\n${pause}\n-- migrate:down\nalter table polls drop email;\n${pause}\n`,
};

export const names = Object.keys(migrations).map((file) => file.replace(".sql", ""));
const [polls, choices, index, votes, email] = names;

interface Traces {
  schema: string;
  stamp: string | null;
  ledger: string[];
  polls: boolean;
  email: boolean;
  choices: number | null;
  index: boolean | null;
  votes: boolean;
}

/** What each schema's tables and its ledger say. */
export async function tracesOf(database: TestDatabase, schemas: string[]): Promise<Traces[]> {
  const found = await database.query<Omit<Traces, "ledger" | "choices"> & { choices: boolean }>(
    `select s.schema, obj_description(to_regclass(s.schema || '.tenantctl_migrations'), 'pg_class') as stamp,
       to_regclass(s.schema || '.polls') is not null as polls,
       to_regclass(s.schema || '.votes') is not null as votes,
       to_regclass(s.schema || '.choices') is not null as choices,
       exists (select from pg_attribute where attrelid = to_regclass(s.schema || '.polls') and attname = 'email' and not attisdropped) as email,
       (select indisvalid from pg_index where indexrelid = to_regclass(s.schema || '.choices_id')) as index
     from unnest($1::text[]) s(schema) order by 1`,
    [schemas],
  );
  const rows: Traces[] = [];
  for (const { choices, ...traces } of found) {
    const ledger =
      traces.stamp === null && !traces.polls
        ? []
        : await database.query<{ name: string }>(
            `select name from ${traces.schema}.tenantctl_migrations order by name`,
          );
    const count = choices ? await database.query(`select from ${traces.schema}.choices`) : undefined;
    rows.push({ ...traces, ledger: ledger.map(({ name }) => name), choices: count?.length ?? null });
  }
  return rows;
}

/** Expects the tables to be what the ledger says, and the stamp to be the ledger's, or to say what was running. */
export function expectAgreement(traces: Traces): void {
  const has = (name: string | undefined) => name !== undefined && traces.ledger.includes(name);
  expect(traces.ledger, traces.schema).toEqual(names.slice(0, traces.ledger.length));
  expect(traces).toMatchObject({
    polls: has(polls),
    email: has(email),
    votes: has(votes),
    choices: has(choices) ? 3 : null,
  });
  const running = traces.stamp === `tenantctl: running ${index}` || traces.stamp === `tenantctl: reverting ${index}`;
  if (running)
    expect([2, 3]).toContain(traces.ledger.length); // it was in the middle of it, up or down
  else expect(traces.index).toBe(has(index) ? true : null);
  if (!running && traces.stamp !== null)
    expect(traces.stamp).toMatch(new RegExp(`^tenantctl: ${traces.ledger.length}( |$)`));
}

/** How many backends of the dead are still at work. */
export async function activeBackends(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'idle'`,
  );
  return row?.count ?? 0;
}

/** Waits until the dead hold no lock and no transaction; expects that within a few seconds. */
export async function untilBuried(database: TestDatabase): Promise<void> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const left = await database.query(
      `select pid, locktype, mode from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    );
    if (left.length === 0 && (await activeBackends(database)) === 0) return;
    if (Date.now() > deadline) expect(left, "locks of the dead").toEqual([]);
    await sleep(50);
  }
}
