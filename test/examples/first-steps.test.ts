// docs/first-steps.md, word for word: its SQL as a superuser, its commands in one shell, all of it, and what it says of the output.
import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startProgram } from "../support/cli.ts";
import { newestAtLeast } from "../support/database.ts";
import { root } from "./example.ts";

/** What each block of commands prints, in the page's order. */
const outputs: RegExp[][] = [
  [/tenants\.config\.json/, /migrations\/tenant\/20260101000000_create_polls\.sql/],
  [/^created thor: schema "thor", 1 migration$/m, /^created potter: schema "potter", 1 migration$/m],
  [
    /2 {2}one behind at 20260101000000_create_polls/,
    /^2 tenants: 2 migrated/m,
    /2 {2}current at 20260201000000_create_choices/,
  ],
  [
    /migrations\/shared\/20260101000000_create_tenants\.sql/,
    /2 (tenants )?added|added 2/,
    /^potter +potter +potter\.polls\.local +plan=free$/m,
  ],
  [/^2 tenants: 2 isolated/m, /^2 tenants: 0 too many, 0 lacking; .* 0 unexpected$/m],
  [/'asked at thor\.polls\.local' \]\n\[ 'asked at potter\.polls\.local' \]\npermission denied for schema potter$/m],
  [/^created loki: schema "loki", 2 migrations$/m, /3 {2}current at 20260201000000_create_choices/],
];

const page = await readFile(join(root, "docs/first-steps.md"), "utf8");
const blocks = [...page.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = "", text = ""]) => ({
  language,
  text,
}));

// The registry has no tenantctl to install yet: these put this one in its place, and run it without npm's own second.
const npm = `#!/bin/sh
[ "$*" = "install tenantctl" ] && mkdir node_modules && ln -s "${root}" node_modules/tenantctl
`;
const npx = `#!/bin/sh
[ "$1" = tenantctl ] && shift && exec node node_modules/tenantctl/bin/tenantctl.js "$@"
`;

test("the page has commands, what a superuser does before, and nothing that is not run", () => {
  expect(blocks.map(({ language }) => language)).toEqual(["sql", ...outputs.map(() => "sh")]);
  expect(page.split("```")).toHaveLength(2 * blocks.length + 1);
});

describe.each(newestAtLeast())("PostgreSQL $major", (server) => {
  const name = `first_steps_${randomBytes(4).toString("hex")}`;
  const address = new URL(server.url);
  // names are the whole cluster's, and the server is where it is; all else stays as it is written
  const here = (text: string) =>
    text
      .replaceAll("localhost:5432/polls", `${address.host}/${name}`)
      .replaceAll(/\bpolls_(owner|app)\b/g, `${name}_$1`);
  let superuser: pg.Client;
  let folder: string;

  const inIt = async (statement: string) => {
    const url = new URL(`/${name}`, server.url);
    const client = new pg.Client({
      connectionString: Object.assign(url, { username: address.username, password: address.password }).href,
    });
    await client.connect();
    await client.query(statement).finally(() => client.end());
  };

  beforeAll(async () => {
    superuser = new pg.Client({ connectionString: server.url });
    await superuser.connect();
    folder = await mkdtemp(join(tmpdir(), "tenantctl-steps-"));
    await mkdir(join(folder, "bin"));
    for (const [file, text] of Object.entries({ npm, npx })) {
      await writeFile(join(folder, "bin", file), text);
      await chmod(join(folder, "bin", file), 0o755);
    }
  });
  afterAll(async () => {
    await superuser.query(`drop database if exists ${name} with (force)`);
    // the tenants' roles before those that granted and have them
    const { rows } = await superuser.query(
      "select rolname as role from pg_roles where strpos(rolname, $1) > 0 order by 1 desc",
      [name],
    );
    for (const { role } of rows) await superuser.query(`drop role ${pg.escapeIdentifier(role)}`);
    await superuser.end();
    await rm(folder, { recursive: true, force: true });
  });

  test("each step does what the page says", async () => {
    const [first, ...steps] = blocks;
    for (const statement of here(first?.text ?? "")
      .split(/;\n/)
      .filter(Boolean))
      await superuser.query(statement.replace("create database polls", `create database ${name}`));
    if (server.major < 15) await inIt(here("alter schema public owner to polls_owner"));
    const script = steps.map(({ text }, at) => `echo "-- ${at}"\n${here(text)}`).join("\n");
    const path = [join(folder, "bin"), dirname(process.execPath), process.env.PATH].join(delimiter);
    const env = { PATH: path, NO_COLOR: "1" };
    const { code, stdout } = await startProgram("sh", ["-ec", `exec 2>&1\n${script}`], {
      cwd: folder,
      env,
      timeoutMs: 100_000,
    }).ended;
    const told = stdout.split(/^-- \d+\n/m).slice(1);
    for (const [at, patterns] of outputs.entries())
      for (const pattern of patterns) expect(told[at], stdout).toMatch(pattern);
    expect(code, stdout).toBe(0);
    expect(stdout).not.toMatch(/^(error|warning):/m);
  });
});
