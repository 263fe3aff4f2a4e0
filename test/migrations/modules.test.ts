// Migrations in TypeScript and JavaScript: in the tenant's transaction like any other.
import { readdirSync } from "node:fs";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createDatabase, newestAtLeast } from "../support/database.ts";
import { folderOf, problemsOf } from "./folder.ts";
import { oneTenant } from "./tenant.ts";

const js = (body: string) => `export async function up({ client, tenant }) { ${body} }`;

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  afterEach(() => vi.unstubAllEnvs());

  const tenantOf = async (files: Record<string, string>) => oneTenant(await createDatabase(server), "thor", files);

  test("up and down, in TypeScript, in JavaScript, in CommonJS, as named exports and as a default", async () => {
    const tenant = await tenantOf({
      "1_a.ts": `import type { Client } from "pg";
        interface Given { client: Client; tenant: { name: string; schema: string } }
        export async function up({ client, tenant }: Given): Promise<void> {
          await client.query(\`create table a as select '\${tenant.name} \${tenant.schema}'::text as who\`);
        }
        export const down = async ({ client }: Given) => { await client.query("drop table a"); };`,
      "2_b.mjs":
        "export default { up: ({ client }) => client.query('create table b ()'), down: ({ client }) => client.query('drop table b') };",
      "3_c.cjs":
        "exports.up = ({ client }) => client.query('create table c ()'); exports.down = ({ client }) => client.query('drop table c');",
    });
    const temporary = await folderOf({});
    vi.stubEnv("TMPDIR", temporary); // where others could have put a compiled one of theirs
    expect(await tenant.migrate()).toEqual(["1_a", "2_b", "3_c"]);
    expect(readdirSync(temporary)).toEqual([]);
    expect(await tenant.relations()).toEqual(["a", "b", "c"]);
    expect(await tenant.rollback("3_c", "2_b", "1_a")).toEqual(["3_c", "2_b", "1_a"]);
    expect(await tenant.relations()).toEqual([]);
  });

  test("it sees what the migrations before it did in the same transaction, and they see it", async () => {
    const tenant = await tenantOf({
      "1_a.sql": "create table a (n int); insert into a values (1)",
      "2_b.mjs": js(
        "const { rows } = await client.query('select n from a'); await client.query('insert into a values ($1)', [rows[0].n + 1]);",
      ),
      "3_c.sql": "create table c as select max(n) as n from a",
    });
    await tenant.migrate();
    expect(await tenant.relations()).toEqual(["a", "c"]);
  });

  test("an error of its own is MODULE, an error of its SQL is SQL: nothing stays", async () => {
    const own = await tenantOf({ "1_a.sql": "create table a ()", "2_b.mjs": js("throw new Error('no such plan');") });
    expect(await own.failure()).toMatchObject({ code: "MODULE", message: "no such plan", place: { migration: "2_b" } });
    const sql = await tenantOf({ "1_a.mjs": js("await client.query('select nowhere');") });
    expect(await sql.failure()).toMatchObject({ code: "SQL", sqlState: "42703", place: { migration: "1_a" } });
    const swallowed = await tenantOf({ "1_a.mjs": js("await client.query('select nowhere').catch(() => {});") });
    expect(await swallowed.failure()).toMatchObject({ code: "SQL", sqlState: "25P02" });
    const nothing = await tenantOf({ "1_a.mjs": js("throw undefined;") });
    expect(await nothing.failure()).toMatchObject({ code: "MODULE" });
  });

  test.each(["commit", "rollback", "commit; begin", "rollback; begin", "commit and chain"])(
    "one that sends %s broke the transaction",
    async (text) => {
      const tenant = await tenantOf({
        "1_a.mjs": js(`await client.query('create table a ()'); await client.query('${text}');`),
      });
      expect(await tenant.failure()).toMatchObject({
        code: "TRANSACTION_BROKEN",
        place: { migration: "1_a" },
        hint: expect.stringContaining("commit"),
      });
    },
  );

  test("SQL that ends the transaction behind our parser's back broke it, too", async () => {
    const tenant = await tenantOf({ "1_a.sql": "create tabel x (); commit", "2_b.sql": "select 1" });
    expect(await tenant.failure()).toMatchObject({ code: "SQL", sqlState: "42601" });
  });

  test("one that sets search_path or role for the session affects nobody after it", async () => {
    const database = await createDatabase(server);
    const role = await database.createRole();
    await database.query("create schema elsewhere");
    const files = {
      "1_a.mjs": js(`await client.query("set search_path to elsewhere"); await client.query("set role ${role.name}");`),
      "2_b.sql": "create table b ()",
    };
    const tenant = await oneTenant(database, "thor", files);
    await tenant.migrate();
    const next = await oneTenant(database, "loki", files, { database: tenant.database });
    await next.migrate();
    expect(await next.relations()).toEqual(["b"]);
    const owners = await database.query("select distinct tableowner as owner from pg_tables where tablename = 'b'");
    expect(owners).toEqual([{ owner: "postgres" }]);
  });

  test("one that ends its own connection is told by that, and not by the rollback that could not be", async () => {
    const tenant = await tenantOf({
      "1_a.mjs": js(
        "await client.query('select pg_terminate_backend(pg_backend_pid())').catch(() => {}); throw new Error('the plan failed');",
      ),
    });
    expect(["the plan failed", "the connection to the database was lost"]).toContain((await tenant.failure()).message);
    expect((await tenant.failure()).code).toMatch(/MODULE|CONNECTION_LOST/);
  });
});

describe("refused before anything is touched:", () => {
  test("one that exports no up, one that can't be loaded, one without down when it is needed", async () => {
    expect(await problemsOf({ "1_a.mjs": "export const down = () => {};" })).toEqual([
      "the module exports no function up({ client, tenant }) (1_a.mjs)",
    ]);
    expect(await problemsOf({ "1_a.ts": "export const up = (" })).toEqual([
      expect.stringMatching(/^can't load the migration: .*\(1_a\.ts\)$/s),
    ]);
    expect(await problemsOf({ "1_a.mjs": "import 'no-such-package'; export const up = () => {};" })).toEqual([
      expect.stringContaining("no-such-package"),
    ]);
    expect(await problemsOf({ "1_a.mjs": "export const up = () => {};" }, "down")).toEqual([
      "it exports no function down (1_a.mjs)",
    ]);
  });
});
