import { createServer } from "node:net";
import { beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { freePort } from "../support/keeper.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { createProject, type TestProject } from "../support/project.ts";
import { polls } from "./polls.ts";
import { expectRefusal, ledgerOf, untouched } from "./traces.ts";

const password = "s3cr3t-w0rd";

let database: TestDatabase;
let project: TestProject;

beforeAll(async () => {
  database = await createDatabase();
  project = await createProject({ database, migrations: polls, tenants: { thor: {} } });
});

function urlWith(change: Partial<Pick<URL, "password" | "port" | "hostname" | "pathname" | "username">>): string {
  return Object.assign(new URL(database.url), change).href;
}

describe("exit code 3, and nothing touched, where the database", () => {
  test("listens on another port", async () => {
    const port = String(await freePort());
    const result = await project.tenantctl(["migrate", "--database", urlWith({ port, password })]);
    expectRefusal(result, {
      code: 3,
      error: new RegExp(`connection refused .*:${port}`),
      hint: /running.*host and port/,
    });
  });

  test("is not there for longer than --wait", async () => {
    const port = String(await freePort());
    const result = await project.tenantctl(["migrate", "--wait", "1s", "--database", urlWith({ port, password })]);
    expect(result).toMatchObject({ code: 3, stdout: "" });
    expect(result.stderr).toMatch(
      /^warning: .*connection refused.*waiting for it\nerror: .*connection refused.*\nhint: .*\n$/,
    );
    expect(result.stderr).not.toContain(password);
  });

  test("is on a host that nobody knows", async () => {
    const result = await project.tenantctl(["migrate", "--database", urlWith({ hostname: "nohost.invalid" })]);
    expectRefusal(result, { code: 3, error: /nohost\.invalid/, hint: /host/ });
  });

  test("accepts the connection and then says nothing", async () => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    await new Promise((resolve) => silent.once("listening", resolve));
    const { port } = silent.address() as { port: number };
    const url = `${urlWith({ port: String(port) })}?connect_timeout=2`;
    const result = await project.tenantctl(["status", "--database", url]);
    silent.close();
    expectRefusal(result, { code: 3, error: /no answer in time/, hint: /running/ });
  });

  test("doesn't know the password, which appears nowhere", async () => {
    for (const more of [[], ["--verbose"], ["--json"], ["--json", "--verbose"]]) {
      const result = await untouched(database, project, () =>
        project.tenantctl(["create-tenant", "odin", "--database", urlWith({ password }), ...more]),
      );
      expect(result.code).toBe(3);
      expect(result.stdout + result.stderr).toMatch(/refuses the user name or password/);
      expect(result.stdout + result.stderr).not.toContain(password);
    }
  });

  test("doesn't exist", async () => {
    const result = await project.tenantctl(["status", "--database", urlWith({ pathname: "/nowhere" })]);
    expectRefusal(result, { code: 3, error: /database "nowhere" does not exist/, hint: /createdb/ });
  });

  test("lets this role neither create schemas nor use those that are there", async () => {
    const role = await database.createRole();
    const result = await untouched(database, project, () =>
      project.tenantctl(["create-tenant", "odin", "--database", role.url]),
    );
    expect(result.code).toBeGreaterThan(0);
    expect(result.stderr).toMatch(/^error: .*permission denied for database.*SQLSTATE 42501/);
    expect(result.stderr).toMatch(/^hint: /m);
    expect(result.stderr).not.toContain(role.password);
  });
});

describe("exit code 2, and nothing touched, where", () => {
  test("the URL is none, and its password appears nowhere", async () => {
    for (const url of [
      `mysql://root:${password}@h/d`,
      `postgres://u:${password}@x@h:1/d`,
      `postgres://u:${password}@h:99999/d`,
    ]) {
      const result = await project.tenantctl(["migrate", "--database", url, "--verbose"]);
      expect(result).toMatchObject({ code: 2, stdout: "" });
      expect(result.stderr).toMatch(/^error: --database: /);
      expect(result.stderr).toMatch(/^hint: /m);
      expect(result.stderr).not.toContain(password);
    }
  });

  test("the role of appRole doesn't exist", async () => {
    const config = { appRole: "no_such_role" };
    const other = await createProject({ database, migrations: polls, tenants: { thor: {} }, config });
    for (const args of [["create-tenant", "odin"], ["migrate"], ["create-schemas"]]) {
      const result = await untouched(database, other, () => other.tenantctl(args));
      expectRefusal(result, { error: /"appRole" does not exist: "no_such_role"/, hint: /create role/ });
    }
  });
});

test("a server whose transactions are read-only by default is migrated all the same", async () => {
  const own = await createDatabase();
  await own.query(`alter database ${own.name} set default_transaction_read_only = on`);
  const other = await createProject({ database: own, migrations: polls, tenants: { thor: {} } });
  const result = await other.tenantctl(["migrate"]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  expect(await ledgerOf(own, "thor")).toHaveLength(3);
});

describe.skipIf(!pgbouncerAvailable)(`behind a transaction pooler${pgbouncerNote}`, () => {
  const migrations = {
    ...polls,
    "20260104000000_index.sql":
      "-- migrate:up transaction:false\ncreate index concurrently polls_q on polls (question);\n",
  };

  test("transaction:false is refused with a hint, and works with directDatabase", async () => {
    const own = await createDatabase();
    const { url } = await startPgbouncer(own);
    const pooled = await createProject({ database: { url }, migrations, tenants: { thor: {} } });
    for (const args of [["migrate"], ["create-tenant", "odin"]]) {
      const result = await untouched(own, pooled, () => pooled.tenantctl(args));
      expectRefusal(result, { error: /transaction pooler.*20260104000000_index\.sql/, hint: /directDatabase/ });
    }
    const config = { directDatabase: own.url };
    const direct = await createProject({ database: { url }, migrations, tenants: { thor: {} }, config });
    expect(await direct.tenantctl(["migrate"])).toMatchObject({ code: 0 });
    expect(await ledgerOf(own, "thor")).toHaveLength(4);
  });
});
