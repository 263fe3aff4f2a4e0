import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { RunResult } from "../support/cli.ts";
import { createDatabase, newest, oldest, servers, type TestDatabase } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { createProject, type ProjectContents, type TestProject } from "../support/project.ts";
import { fleetOf } from "./polls.ts";
import { isAlive, pgDumpFor, psql, psycopg, untilGone } from "./programs.ts";
import { exec } from "./shapes.ts";
import { expectRefusal } from "./traces.ts";

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** Tenants whose schemas are there, each with a table `here` that says where it is. */
async function fleet(
  tenants: Record<string, { schema?: string }>,
  more: ProjectContents & { on?: TestDatabase } = {},
): Promise<{ database: TestDatabase; project: TestProject }> {
  const { on, ...contents } = more;
  const database = on ?? (await createDatabase());
  for (const [name, { schema = name }] of Object.entries(tenants)) {
    await database.query(`create schema ${quoted(schema)}`);
    await database.query(`create table ${quoted(schema)}.here (name text not null)`);
    await database.query(`insert into ${quoted(schema)}.here values ($1)`, [schema]);
  }
  return { database, project: await createProject({ database, tenants, ...contents }) };
}

/** The pids that programs wrote down in files of this ending. */
async function pidsIn(project: TestProject, ending: string): Promise<number[]> {
  const files = (await readdir(project.folder)).filter((file) => file.endsWith(ending));
  return (await Promise.all(files.map((file) => project.read(file)))).map(Number).filter((pid) => pid > 0);
}

async function untilPids(project: TestProject, ending: string, count: number): Promise<number[]> {
  for (;;) {
    const pids = await pidsIn(project, ending);
    if (pids.length >= count) return pids;
    await sleep(20);
  }
}

describe("a program lands in its tenant's schema", () => {
  // They finish in another order than they start.
  const inOrder = (result: RunResult) =>
    exec.parse(result.json()).tenants.sort((a, b) => Number(a.name.slice(1)) - Number(b.name.slice(1)));
  const hostile = [
    "a b",
    'Glo"bex',
    "back\\slash",
    "trailing\\",
    "it's",
    "日本 語 😀",
    "a,b",
    "tab\there\nand below",
    "%s%20&options=x#?/+",
    "-c role=nobody",
    "{}$(id)`id`",
  ];
  const tenants = Object.fromEntries(hostile.map((schema, index) => [`t${index}`, { schema }]));
  const where = `import pg from ${JSON.stringify(import.meta.resolve("pg"))};
    const { TENANT, TENANT_SCHEMA, DATABASE_URL } = process.env;
    const ask = async (client) => {
      await client.connect();
      const { rows } = await client.query("select name, current_schemas(false)::text[] as path from here");
      await client.end();
      return rows[0];
    };
    const byVariables = await ask(new pg.Client());
    for (const name of Object.keys(process.env)) if (name.startsWith("PG")) delete process.env[name];
    const byUrl = await ask(new pg.Client(DATABASE_URL));
    console.log(JSON.stringify({ TENANT, TENANT_SCHEMA, byVariables, byUrl }));`;
  const here = `psql -XAtc 'select name from here'; for v in $(env | sed -n 's/^\\(PG[A-Z]*\\)=.*/\\1/p'); do unset "$v"; done; psql -XAt "$DATABASE_URL" -c 'select name from here'`;

  describe("whatever the schema's name", () => {
    test.each(servers())("Node's pg, by variables and by URL, on PostgreSQL $major", async (server) => {
      const on = await createDatabase(server);
      await on.query('create schema "sh ared"');
      const { project } = await fleet(tenants, { on, config: { sharedSchemas: ["sh ared", "public"] } });
      await project.write("where.mjs", where);
      const result = await project.tenantctl([
        "exec",
        "--all",
        "--json",
        "--concurrency",
        "3",
        "--",
        "node",
        "where.mjs",
      ]);
      expect(result.code, result.stdout + result.stderr).toBe(0);
      const found = inOrder(result).map(({ stdout }) => JSON.parse(stdout ?? ""));
      expect(found).toEqual(
        hostile.map((schema, index) => {
          const place = { name: schema, path: [schema, "sh ared", "public"] };
          return { TENANT: `t${index}`, TENANT_SCHEMA: schema, byVariables: place, byUrl: place };
        }),
      );
    });

    test.skipIf(psql.missing)(`psql, by variables and by URL${psql.note}`, async () => {
      const { project } = await fleet(tenants);
      const result = await project.tenantctl(["exec", "t*", "--json", "--concurrency", "3", "--", "sh", "-c", here]);
      const found = inOrder(result).map(({ stdout, stderr }) => ({ stdout, stderr }));
      expect(found).toEqual(hostile.map((schema) => ({ stdout: `${schema}\n${schema}\n`, stderr: "" })));
    });
  });

  test.skipIf(psycopg.missing)(`Python's psycopg2 and psycopg, by variables and by URL${psycopg.note}`, async () => {
    const { project } = await fleet(tenants);
    const program = `import os, json, importlib
found = []
for module in ${JSON.stringify(psycopg.modules)}:
    for dsn in ("", os.environ["DATABASE_URL"]):
        connection = importlib.import_module(module).connect(dsn)
        cursor = connection.cursor()
        cursor.execute("select name from here")
        found.append(cursor.fetchone()[0])
        connection.close()
print(json.dumps(found))`;
    const result = await project.tenantctl(["exec", "--all", "--json", "--", psycopg.python, "-c", program]);
    expect(result.code, result.stdout + result.stderr).toBe(0);
    const found = exec.parse(result.json()).tenants.map(({ stdout }) => JSON.parse(stdout ?? ""));
    expect(found).toEqual(hostile.map((schema) => psycopg.modules.flatMap(() => [schema, schema])));
  });

  test("Prisma's client; and its command, as the docs have it, with a stand-in that reads the URL as it does", async () => {
    const { project, database } = await fleet({ thor: {}, loki: { schema: "Lo-ki" } });
    for (const schema of ["thor", "Lo-ki"])
      await database.query(
        `create table ${quoted(schema)}.notes as select 1 as id, name as owner from ${quoted(schema)}.here`,
      );
    await project.write(
      "bin/npx",
      `#!/usr/bin/env node
      Promise.all([import(${JSON.stringify(import.meta.resolve("jiti"))}), import(${JSON.stringify(import.meta.resolve("@prisma/adapter-pg"))})]).then(async ([{ createJiti }, { PrismaPg }]) => {
        const { PrismaClient } = await createJiti(__filename).import(${JSON.stringify(new URL("../runtime/prisma.ts", import.meta.url).pathname)});
        const { DATABASE_URL, TENANT_SCHEMA } = process.env;
        for (const schema of [TENANT_SCHEMA, new URL(DATABASE_URL).searchParams.get("schema")]) {
          const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: DATABASE_URL }, { schema }) });
          console.log((await prisma.notes.findMany()).map(({ owner }) => owner).join());
          await prisma.$disconnect();
        }
      });`,
    );
    await chmod(project.path("bin/npx"), 0o755);
    const docs = await readFile(new URL("../../docs/exec.md", import.meta.url), "utf8");
    const [, recipe = ""] = /^\| Prisma's command .*`sh -c '(.*?)'`/m.exec(docs) ?? [];
    const env = { PATH: `${project.path("bin")}:${process.env.PATH}` };
    const result = await project.tenantctl(["exec", "--all", "--json", "--", "sh", "-c", recipe], { env });
    expect(result.code, result.stdout).toBe(0);
    const found = exec.parse(result.json()).tenants.map(({ stdout }) => stdout);
    expect(found.sort()).toEqual(["Lo-ki\nLo-ki\n", "thor\nthor\n"]);
  });

  const dump = pgDumpFor(oldest().major);
  test.skipIf(dump.missing)(`pg_dump dumps its schema alone${dump.note}`, async () => {
    const { project } = await fleet({ thor: {}, loki: { schema: "lo ki" } }, { on: await createDatabase(oldest()) });
    const result = await project.tenantctl([
      "exec",
      "loki",
      "--",
      "sh",
      "-c",
      'pg_dump --schema="\\"$TENANT_SCHEMA\\""',
    ]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toMatch(/COPY "lo ki".here/);
    expect(result.stdout).not.toMatch(/thor/);
  });

  test("whatever our own environment says of databases", async () => {
    const { project, database } = await fleet({ thor: {} });
    await project.write("services", "[elsewhere]\ndbname=elsewhere\n");
    const env = {
      DATABASE_URL: "postgres://nobody:x@127.0.0.1:1/elsewhere",
      PGOPTIONS: "-c search_path=pg_catalog",
      PGPASSFILE: "/nonexistent",
      PGSERVICEFILE: project.path("services"),
      PGDATABASE: "elsewhere",
      PGAPPNAME: "digest",
    };
    await project.write("where.mjs", where);
    const run = await project.tenantctl(
      ["exec", "thor", "--", "sh", "-c", 'node where.mjs && env | grep "^PG" | sort'],
      { env },
    );
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout).toMatch(/"byVariables":\{"name":"thor".*"byUrl":\{"name":"thor"/);
    const variables = Object.fromEntries(
      run.stdout
        .split("\n")
        .slice(1, -1)
        .map((line) => line.split(/=(.*)/s).slice(0, 2)),
    );
    const { hostname, port, username, password } = new URL(database.url);
    expect(variables).toEqual({
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: username,
      PGPASSWORD: password,
      PGDATABASE: database.name,
      PGOPTIONS: '-c search_path="thor"',
      PGAPPNAME: "digest",
      PGCONNECT_TIMEOUT: "10",
    });
  });

  test("and tenantctl itself, started by it, works on the same database", async () => {
    const { project, database } = await fleet({ thor: {} }, { database: "postgres://127.0.0.1:1/elsewhere" });
    const own = new URL("../../bin/tenantctl.js", import.meta.url).pathname;
    const words = [
      "exec",
      "thor",
      "--database",
      database.url,
      "--",
      process.execPath,
      own,
      "sql",
      "thor",
      "table here",
      "--csv",
    ];
    expect(await project.tenantctl(words)).toMatchObject({ code: 0, stdout: "tenant,name\nthor,thor\n" });
  });
});

describe("one tenant", () => {
  test("has our stdin, stdout and stderr, and its program's exit code is ours", async () => {
    const { project } = await fleet({ thor: {} });
    const script = 'cat; echo "$TENANT" >&2; exit 7';
    expect(await project.tenantctl(["exec", "thor", "--", "sh", "-c", script], { input: "typed\n" })).toMatchObject({
      code: 7,
      stdout: "typed\n",
      stderr: "thor\n",
    });
    expect(await project.tenantctl(["exec", "thor", "--", "sh", "-c", "kill -KILL $$"])).toMatchObject({ code: 137 });
    const json = await project.tenantctl(["exec", "thor", "--json", "--", "sh", "-c", "echo out; exit 7"]);
    expect(json.code).toBe(7);
    expect(exec.parse(json.json())).toMatchObject({ ok: false, tenants: [{ name: "thor", code: 7, stdout: "out\n" }] });
  });

  test("options after -- are the program's", async () => {
    const { project } = await fleet({ thor: {} });
    const words = ["exec", "thor", "--", "echo", "--json", "--all", "--help", "-c", "--", "x"];
    expect(await project.tenantctl(words)).toMatchObject({
      code: 0,
      stdout: "--json --all --help -c -- x\n",
      stderr: "",
    });
  });

  test("a program that is not there is 127, one that is not executable 126; nothing runs", async () => {
    const { project } = await fleet({ thor: {}, loki: {} });
    await project.write("script.sh", "#!/bin/sh\n");
    for (const who of ["thor", "--all"]) {
      const missing = await project.tenantctl(["exec", who, "--", "no-such-program"]);
      expectRefusal(missing, { code: 127, error: /program not found: no-such-program/, hint: /PATH/ });
      const plain = await project.tenantctl(["exec", who, "--", "./script.sh"]);
      expectRefusal(plain, { code: 126, error: /not executable: .*script\.sh/, hint: /chmod/ });
    }
  });

  test("after --timeout its program and what that started are gone, and the code is 124", async () => {
    const { project } = await fleet({ thor: {} });
    const script =
      "trap '' TERM; (trap '' TERM; exec sleep 300) & echo $! >child.pid; echo $$ >own.pid; wait; sleep 300";
    const words = ["exec", "thor", "--timeout", "1s", "--kill-after", "200ms", "--", "sh", "-c", script];
    const result = await project.tenantctl(words);
    expect(result).toMatchObject({ code: 124, stdout: "" });
    expect(result.stderr).toBe("error: thor: not done after 1 s, and was ended\n");
    for (const pid of await untilPids(project, ".pid", 2)) await untilGone(pid);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("%s is passed on", async (signal, code) => {
    const { project } = await fleet({ thor: {} });
    const script = `trap 'echo heard; exit 0' ${signal.slice(3)}; echo $$ >own.pid; while :; do sleep 0.05; done`;
    const run = project.startTenantctl(["exec", "thor", "--", "sh", "-c", script]);
    const [pid = 0] = await untilPids(project, ".pid", 1);
    run.kill(signal);
    expect(await run.ended).toMatchObject({ code, stdout: "heard\n" });
    expect(isAlive(pid)).toBe(false);
  });

  test("the second signal kills who does not heed the first", async () => {
    const { project } = await fleet({ thor: {} });
    const script = "trap '' TERM; echo $$ >own.pid; while :; do sleep 0.05; done";
    const run = project.startTenantctl(["exec", "thor", "--", "sh", "-c", script]);
    const [pid = 0] = await untilPids(project, ".pid", 1);
    run.kill("SIGTERM");
    await run.waitFor(/again to kill/);
    expect(isAlive(pid)).toBe(true);
    run.kill("SIGTERM");
    expect(await run.ended).toMatchObject({ code: 143 });
    await untilGone(pid);
  });
});

describe("many tenants", () => {
  test("one fails, one hangs: the others are done, the code is 1, the names are right, nothing is left running", async () => {
    const { project } = await fleet(fleetOf(20));
    await project.write(
      "job.sh",
      `echo $$ >$TENANT.pid
       case $TENANT in
         t07) echo no luck >&2; exit 3;;
         t13) trap '' TERM; (trap '' TERM; exec sleep 300) & echo $! >$TENANT.child.pid; wait; sleep 300;;
         *) echo done;;
       esac`,
    );
    const words = [
      "exec",
      "--all",
      "--timeout",
      "4s",
      "--kill-after",
      "200ms",
      "--concurrency",
      "4",
      "--",
      "sh",
      "job.sh",
    ];
    const result = await project.tenantctl(words);
    expect(result.code).toBe(1);
    const others = Object.keys(fleetOf(20)).filter((name) => name !== "t07" && name !== "t13");
    expect(result.stdout.split("\n").slice(0, -1).sort()).toEqual(others.map((name) => `${name} | done`));
    const errors = result.stderr
      .split("\n")
      .filter((line) => line.startsWith("error: "))
      .sort();
    expect(errors).toEqual(["error: t07: exit code 3", "error: t13: not done after 4 s, and was ended"]);
    expect(result.stderr).toMatch(/^t07 \| no luck$/m);
    expect(result.stderr).toMatch(/^20 tenants: 18 done, 2 failed \(/m);
    const pids = await pidsIn(project, ".pid");
    expect(pids).toHaveLength(21);
    for (const pid of pids) await untilGone(pid);
  });

  test("lines of several tenants are never mixed", async () => {
    const { project } = await fleet(fleetOf(4));
    const script =
      'i=0; while [ $i -lt 200 ]; do printf %s "$TENANT"; printf "%s\\n" "-$i-$TENANT"; i=$((i+1)); done; printf "no end"';
    const result = await project.tenantctl(["exec", "--all", "--concurrency", "4", "--", "sh", "-c", script]);
    const lines = result.stdout.split("\n").slice(0, -1);
    expect(lines).toHaveLength(4 * 201);
    for (const name of Object.keys(fleetOf(4))) {
      const own = lines.filter((line) => line.startsWith(`${name} | `)).map((line) => line.slice(6));
      expect(own).toEqual([...Array.from({ length: 200 }, (_, at) => `${name}-${at}-${name}`), "no end"]);
    }
  });

  test("with --quiet only what failed is printed, with its output", async () => {
    const { project } = await fleet(fleetOf(3));
    const quiet = (script: string) => project.tenantctl(["exec", "--all", "--quiet", "--", "sh", "-c", script]);
    expect(await quiet("echo fine")).toMatchObject({ code: 0, stdout: "", stderr: "" });
    const result = await quiet('echo out; echo err >&2; [ "$TENANT" != t02 ]');
    expect(result).toMatchObject({ code: 1, stdout: "t02 | out\n" });
    expect(result.stderr).toMatch(/^t02 \| err\nerror: t02: exit code 1\n3 tenants: 2 done, 1 failed/);
  });

  test("a tenant whose schema is missing fails before its program starts: it could land in a shared schema", async () => {
    const { project, database } = await fleet(fleetOf(3), { config: { sharedSchemas: ["public"] } });
    await database.query("drop schema t02 cascade");
    const result = await project.tenantctl(["exec", "--all", "--json", "--", "sh", "-c", "echo $TENANT"]);
    expect(result.code).toBe(1);
    const found = exec.parse(result.json());
    expect(found.tenants.map(({ stdout }) => stdout)).toEqual(["t01\n", "", "t03\n"]);
    expect(found.tenants[1]).toMatchObject({ outcome: "failed", error: { code: "SCHEMA_MISSING" } });
    const one = await project.tenantctl(["exec", "t02", "--", "echo"]);
    expectRefusal(one, { error: /no schema "t02"/, hint: /migrate/ });
  });

  test("a signal is passed on, no more are started, and what is left is said", async () => {
    const { project } = await fleet(fleetOf(6));
    const script =
      "echo $$ >$TENANT.pid; case $TENANT in t01) exit 0;; esac; sleep 300 & echo $! >$TENANT.sleep.pid; wait";
    const run = project.startTenantctl(["exec", "--all", "--concurrency", "2", "--", "sh", "-c", script]);
    const pids = await untilPids(project, ".pid", 5);
    run.kill("SIGTERM");
    const result = await run.ended;
    expect(result.code).toBe(143);
    expect(result.stderr).toMatch(/^6 tenants: 1 done, 2 failed, 3 skipped/m);
    expect(result.stderr).toMatch(/^5 tenants left: t02, t03, t04, t05, t06$/m);
    for (const pid of pids) await untilGone(pid);
    expect(await pidsIn(project, ".pid")).toHaveLength(5);
  });

  test("when our reader has gone, nothing is left running", async () => {
    const { project } = await fleet(fleetOf(2));
    const own = new URL("../../bin/tenantctl.js", import.meta.url).pathname;
    const script = "echo $$ >$TENANT.pid; while :; do echo line; sleep 0.01; done";
    const { spawn } = await import("node:child_process");
    const child = spawn(process.execPath, [own, "exec", "--all", "--concurrency", "2", "--", "sh", "-c", script], {
      cwd: project.folder,
      stdio: ["ignore", "pipe", "ignore"],
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const pids = await untilPids(project, ".pid", 2);
    child.stdout?.destroy();
    await ended;
    for (const pid of pids) await untilGone(pid);
  });
});

describe("--no-overlap", () => {
  test("skips tenants where a job of that name is still running, says so, and lets others in", async () => {
    const { project } = await fleet(fleetOf(2));
    const script = "echo $$ >$TENANT.pid; while [ ! -e go ]; do sleep 0.05; done";
    const slow = project.startTenantctl(["exec", "t01", "--no-overlap", "digest", "--", "sh", "-c", script]);
    await untilPids(project, ".pid", 1);
    const again = (...words: string[]) => project.tenantctl(["exec", ...words, "--", "sh", "-c", "echo ran"]);

    const second = await again("--all", "--no-overlap", "digest");
    expect(second).toMatchObject({ code: 0, stdout: "t02 | ran\n" });
    expect(second.stderr).toMatch(/^t01 {2}skipped: the job "digest" is still running there\nt02 {2}done/);
    expect(second.stderr).toMatch(/2 tenants: 1 done, 1 skipped/);
    expect(await again("t01", "--no-overlap", "digest")).toMatchObject({ code: 0, stdout: "" });
    const json = exec.parse((await again("--all", "--no-overlap", "digest", "--json")).json());
    expect(json).toMatchObject({
      ok: true,
      summary: { skipped: 1 },
      tenants: [{ reason: "overlap" }, { outcome: "done" }],
    });
    expect(await again("t01", "--no-overlap", "other")).toMatchObject({ code: 0, stdout: "ran\n" });
    expect(await again("t01")).toMatchObject({ code: 0, stdout: "ran\n" });

    await writeFile(project.path("go"), "");
    expect(await slow.ended).toMatchObject({ code: 0 });
    expect(await again("t01", "--no-overlap", "digest")).toMatchObject({ code: 0, stdout: "ran\n" });
  });

  test("is over when tenantctl is killed by SIGKILL, which leaves its program alone", async () => {
    const { project } = await fleet(fleetOf(1));
    const exec = (script: string) => ["exec", "t01", "--no-overlap", "job", "--", "sh", "-c", script];
    const killed = project.startTenantctl(exec("echo $$ >it.pid; while [ ! -e go ]; do sleep 0.05; done"));
    const [left = 0] = await untilPids(project, ".pid", 1);
    process.kill(killed.pid, "SIGKILL");
    await expect
      .poll(async () => (await project.tenantctl(exec("echo ran"))).stdout, { timeout: 10_000 })
      .toBe("ran\n");
    expect(isAlive(left)).toBe(true);
    await writeFile(project.path("go"), "");
    await untilGone(left);
  });

  test("of many that start at once, one runs", async () => {
    const { project } = await fleet(fleetOf(1));
    const script = "echo ran >>ran; while [ ! -e go ]; do sleep 0.05; done";
    const runs = Array.from({ length: 4 }, () =>
      project.startTenantctl(["exec", "t01", "--no-overlap", "job", "--", "sh", "-c", script]),
    );
    const skips = runs.map((run) =>
      run.waitFor(/skipped/).then(
        () => 1,
        () => 0,
      ),
    );
    await Promise.race([untilSkipped(runs, 3)]);
    await writeFile(project.path("go"), "");
    for (const run of runs) expect(await run.ended).toMatchObject({ code: 0 });
    expect((await Promise.all(skips)).filter(Boolean)).toHaveLength(3);
    expect(await readFile(project.path("ran"), "utf8")).toBe("ran\n");
  });
});

async function untilSkipped(runs: { stderr(): string }[], count: number): Promise<void> {
  while (runs.filter((run) => /skipped/.test(run.stderr())).length < count) await sleep(20);
}

describe("is refused before anything runs:", () => {
  test("what makes no sense on the command line", async () => {
    const { project } = await fleet({ thor: {}, loki: {} });
    const refused = async (words: string[], error: RegExp, hint: RegExp) =>
      expectRefusal(await project.tenantctl(["exec", ...words]), { error, hint });
    await Promise.all([
      refused(["thor"], /which program/, /after --/),
      refused(["thor", "touch", "ran"], /which program/, /after --/),
      refused(["thor", "--"], /which program/, /after --/),
      refused(["--", "touch", "ran"], /which tenants/, /--all/),
      refused(["--all", "thor", "--", "touch", "ran"], /both --all and thor/, /one|--all/),
      refused(["thr", "--", "touch", "ran"], /no tenant is called "thr"/, /thor/),
      refused(["thor", "thr", "--", "touch", "ran"], /no tenant is called "thr"/, /thor/),
      refused(["x*", "--", "touch", "ran"], /no tenant's name matches/, /list/),
      refused(["thor", "--timeout", "3", "--", "touch", "ran"], /duration/, /--help/),
    ]);
    expect(await readdir(project.folder)).not.toContain("ran");
    expect(await project.tenantctl(["exec", "thor", "loki", "--", "touch", "ran"])).toMatchObject({ code: 0 });
    expect(await readdir(project.folder)).toContain("ran");
  });

  test.skipIf(!pgbouncerAvailable)(
    `behind a transaction pooler, unless directDatabase says how to get past it${pgbouncerNote}`,
    async () => {
      const { database, project } = await fleet({ thor: {} }, { on: await createDatabase(newest()) });
      const { url } = await startPgbouncer(database);
      const pooled = (config: object) => createProject({ database: url, tenants: { thor: {} }, config: { ...config } });
      const refused = await (await pooled({})).tenantctl(["exec", "thor", "--", "echo", "ran"]);
      expectRefusal(refused, { error: /session/, hint: /directDatabase/ });
      const words = ["exec", "thor", "--no-overlap", "job", "--", "sh", "-c", "echo $PGPORT"];
      const direct = await (await pooled({ directDatabase: database.url })).tenantctl(words);
      expect(direct).toMatchObject({ code: 0, stdout: `${new URL(database.url).port}\n` });
      expect(await project.tenantctl(words)).toMatchObject({ code: 0 });
    },
  );

  test("on the embedded database, which no other program can reach; it is not even opened", async () => {
    const project = await createProject({ database: "pglite:db", tenants: { thor: {} } });
    const env = { DATABASE_URL: "postgres://127.0.0.1:1/elsewhere" };
    for (const words of [
      ["exec", "thor", "--", "echo"],
      ["exec", "--all", "--", "echo"],
      ["shell", "thor"],
    ]) {
      expectRefusal(await project.tenantctl(words, { env }), {
        error: /embedded database pglite:db/,
        hint: /tenantctl sql/,
      });
    }
    expect(await readdir(project.folder)).not.toContain("db");
  });
});
