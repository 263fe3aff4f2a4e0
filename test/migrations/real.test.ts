// Migrations as they are found in the wild.
import { describe, expect, test } from "vitest";
import { createDatabase, servers } from "../support/database.ts";
import { oneTenant } from "./tenant.ts";

const files = {
  "20260101000000_no_last_semicolon.sql": "create table polls (id int primary key, question text)",
  "20260102000000_functions.sql": `
create function touch() returns trigger language plpgsql as $body$
begin
  new.question := coalesce(new.question, $$it's; "quoted" -- here$$);
  return new;
end;
$body$;
create trigger touched before insert on polls for each row execute function touch();
create function two() returns int language sql begin atomic select 1; select 2; end;
do $$ declare n int; begin for n in 1..3 loop insert into polls values (n); end loop; end $$;
`,
  "20260103000000_enum.sql":
    "create type state as enum ('open', 'closed');\nalter table polls add state state default 'open';",
  "20260104000000_comment_at_the_end.sql": "create index polls_state on polls (state) -- that's all",
  "20260105000000_crlf_and_bom.sql":
    "\ufeff-- migrate:up\r\ncreate view open_polls as\r\n  select * from polls where state = 'open';\r\n\r\n-- migrate:down\r\ndrop view open_polls;\r\n",
  "20260106000000_only_comments.sql": "-- migrate:up\n-- nothing to do here any more\n\n-- migrate:down\n",
  "20260107000000_empty.sql": "",
  "20260108000000_strings.sql": `insert into polls values (4, E'back\\\\slash \\'quote\\''), (5, 'C:\\temp\n\\d at the start'), (6, U&'\\00e9');`,
  "20260109000000_partitions.sql": `create table votes (poll int, at date) partition by range (at);
create table votes_2026 partition of votes for values from ('2026-01-01') to ('2027-01-01');
savepoint sp; insert into votes values (1, '2026-02-02'); rollback to sp; insert into votes values (2, '2026-03-03');`,
  "20260110000000_materialized.sql":
    "create materialized view counts as select count(*) from polls; refresh materialized view counts;",
};

describe.each(servers())("PostgreSQL $major", (server) => {
  test("all of them, at once and one at a time, make the same tenant", async () => {
    const database = await createDatabase(server);
    const together = await oneTenant(database, "thor", files);
    expect(await together.migrate()).toHaveLength(10);
    const apart = await oneTenant(database, "loki", files);
    await apart.migrate({ commit: "migration" });
    expect(await apart.relations()).toEqual(await together.relations());
    expect(await apart.stamp()).toBe(await together.stamp());
    for (const schema of ["thor", "loki"]) {
      const questions = await database.query(`select question from ${schema}.polls order by id`);
      expect(questions.map(({ question }) => question)).toEqual([
        ...Array(3).fill(`it's; "quoted" -- here`),
        "back\\slash 'quote'",
        "C:\\temp\n\\d at the start",
        "é",
      ]);
      expect(
        await database.query(`select ${schema}.two(), (select count(*)::int from ${schema}.votes) as votes`),
      ).toEqual([{ two: 2, votes: 1 }]);
    }
  });

  test("a database with standard_conforming_strings off reads them as it would read a psql script", async () => {
    const database = await createDatabase(server);
    await database.query(`alter database ${database.name} set standard_conforming_strings = off`);
    const tenant = await oneTenant(database, `back\\slash`, {
      "1_a\\b.sql": "create table a as select 'plain'::text as t",
    });
    await tenant.migrate();
    expect((await tenant.rows()).map(({ name }) => name)).toEqual(["1_a\\b"]);
  });

  test("five megabytes of inserts, in one message and in many", async () => {
    const database = await createDatabase(server);
    const line = (n: number) => `insert into big values (${n}, '${"é;--".repeat(100)}');\n`;
    const sql = `create table big (n int, t text);\n${Array.from({ length: 10_000 }, (_, n) => line(n)).join("")}`;
    expect(Buffer.byteLength(sql)).toBeGreaterThan(5_000_000);
    const tenant = await oneTenant(database, "thor", { "1_big.sql": sql, "2_b.sql": "create index on big (n)" });
    await tenant.migrate();
    expect(await database.query("select count(*)::int, max(length(t)) from thor.big")).toEqual([
      { count: 10_000, max: 400 },
    ]);
  });

  test("a file of fifty thousand rows in one statement", async () => {
    const database = await createDatabase(server);
    const sql = `create table big (n int, t text);\ninsert into big values\n${Array.from({ length: 50_000 }, (_, n) => `(${n}, 'é')`).join(",\n")}`;
    const tenant = await oneTenant(database, "thor", { "1_big.sql": sql });
    await tenant.migrate();
    expect(await database.query("select count(*)::int from thor.big")).toEqual([{ count: 50_000 }]);
  });
});
