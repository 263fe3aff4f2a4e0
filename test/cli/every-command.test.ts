// Command tests: each command of --help, by an owner that is no superuser, with a role for each tenant, on every server and behind a pooler.
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { createProgram } from "../../src/cli/program.js";
import { startProgram } from "../support/cli.ts";
import { createDatabase, type Server, servers, type TestDatabase } from "../support/database.ts";
import { pgbouncerAvailable, pgbouncerNote, startPgbouncer } from "../support/pgbouncer.ts";
import { createProject } from "../support/project.ts";
import { psql } from "./programs.ts";

type Step = [command: string, expected: object | RegExp, code?: number];

const migrated = { ok: true, summary: { failed: 0 } };
const tell = `node -e "console.log(process.env.TENANT_SCHEMA)"`;

/** In this order. Those that print JSON are asked for it; those that a pattern is for are not. */
const steps: Step[] = [
  ["init --registry table", { kept: ["tenants.config.json"] }],
  [
    "create-tenant thor --host thor.polls.local",
    { tenant: { name: "thor" }, applied: ["20260101000000_create_polls"] },
  ],
  ['create-tenant loki --schema Lo"ki', { tenant: { schema: 'Lo"ki' } }],
  ["edit-tenant thor --label plan=free", { tenant: { name: "thor", labels: { plan: "free" } } }],
  ["list", { tenants: [{ name: "loki" }, { name: "thor" }] }],
  ["export --out tenants.json", { tenants: 2 }],
  ["import tenants.json", { added: [], changed: [], unchanged: 2 }],
  ["new-migration add_tags", { file: expect.stringMatching(/_add_tags\.sql$/) }],
  ["lint", { ok: true }],
  ["status --check", { summary: { pending: 2 } }, 4],
  ["migrate", { ...migrated, summary: { migrated: 2 } }],
  ["rollback thor --steps 1", { ok: true, summary: { reverted: 1 } }],
  ["migrate", { ...migrated, summary: { migrated: 1 } }],
  ["repair", { ok: true }],
  ["create-schemas", { ok: true }],
  ["baseline odin", { ok: true, tenants: [{ name: "odin", outcome: "migrated" }] }],
  ["isolate", { ok: true, summary: { tenants: 3 } }],
  ["verify-isolation", { ok: true, tenants: 3, leaks: [], lacks: [], attempts: { unexpected: [] } }],
  ["status --check --verify", { summary: { current: 3 }, wrongStamps: [] }],
  ["sql --all select_current_schema()", { rows: [{ tenant: "loki", current_schema: 'Lo"ki' }, {}, {}], errors: [] }],
  ["sql thor delete_from_polls --write", { errors: [] }],
  [`exec thor -- ${tell}`, /^thor\n$/],
  [`exec --all -- ${tell}`, { ok: true, tenants: [{ stdout: 'Lo"ki\n' }, {}, {}] }],
  ...(psql.missing
    ? []
    : [["shell thor -- -XAtc select_current_schema(),current_user", /^thor\|tenant_\w+\n$/] satisfies Step]),
  ["create-login thor --connection-limit 5 --valid-until 2099-01-31", { tenant: "thor", outcome: "created" }],
  ["create-login thor --rotate --statement-timeout 30s", { tenant: "thor", outcome: "created" }],
  ["logins", { logins: [{ tenant: "thor", connectionLimit: 5, canLogin: true }, { tenant: "thor" }] }],
  ["create-login thor --drop-old", { outcome: "dropped" }],
  ["create-login thor --drop", { outcome: "dropped" }],
  ["runs", { runs: expect.arrayContaining([expect.objectContaining({ command: "migrate" })]) }],
  ["remove-tenant odin", { tenant: { name: "odin" } }],
  ["add-tenant odin", { tenant: { name: "odin" } }],
  ["doctor", { ok: true }],
  ["-c plain.json isolate --undo", { ok: true }],
  ["remove-tenant thor --drop-schema --yes", { tenant: { name: "thor" } }],
  ["complete bash", /tenantctl/],
];

const words = (command: string) =>
  (command.match(/"[^"]*"(?=$| )|\S+/g) ?? []).map((word) => word.replace(/^"(.*)"$/, "$1"));

// The command's own code, once, as often as there are commands: what a process costs is measured elsewhere.
const walk = `
const { main } = await import(${JSON.stringify(pathToFileURL(new URL("../../dist/cli/main.js", import.meta.url).pathname).href)});
for (const args of JSON.parse(process.env.STEPS)) {
  process.exitCode = undefined;
  const code = await main(["node", "tenantctl", ...args]);
  process.stdout.write("\\0" + code + "\\0");
  process.stderr.write("\\0");
}
process.exitCode = 0;`;

async function everyCommand(database: TestDatabase, viaPooler = false): Promise<void> {
  const owner = await database.createRole("login createrole");
  const app = await database.createRole("login noinherit");
  await database.query(
    `alter database ${database.name} owner to ${owner.name}; alter schema public owner to ${owner.name}`,
  );
  const url = new URL(owner.url);
  if (viaPooler) {
    const pooler = await startPgbouncer(database, { poolSize: 4, users: { [owner.name]: owner.password } });
    url.port = new URL(pooler.url).port;
  }
  const settings = {
    appRole: app.name,
    ...(viaPooler ? { directDatabase: owner.url } : {}),
    migrations: { shared: "migrations/shared" },
  };
  const tenants = { table: "public.tenants" };
  const project = await createProject({ database: url.href, tenants, config: { ...settings, isolation: "role" } });
  await project.write("plain.json", JSON.stringify({ database: url.href, ...settings, tenants }));
  const own = await database.connectAs(owner.url);

  const run = async (part: Step[]) => {
    const asked = part.map(([command, expected]) => {
      const [before, ...after] = command.split(" -- ");
      const json = expected instanceof RegExp ? [] : ["--json"];
      const spaced = (list: string[]) =>
        list.map((word) => word.replace(/^(select|delete)_(from_)?/, (found) => found.replaceAll("_", " ")));
      return [...spaced(words(before ?? "")), ...json, ...after.flatMap((rest) => ["--", ...spaced(words(rest))])];
    });
    const env = { STEPS: JSON.stringify(asked), TENANTCTL_LOGIN_PASSWORD: "open-sesame-1" };
    const { stdout, stderr, code } = await startProgram(process.execPath, ["--input-type=module", "-e", walk], {
      cwd: project.folder,
      env,
      timeoutMs: 100_000,
    }).ended;
    expect(code, stderr).toBe(0);
    const told = stdout.split("\0");
    const errors = stderr.split("\0");
    for (const [at, [command, expected, wanted = 0]] of part.entries()) {
      const [text = "", ended] = told.slice(2 * at, 2 * at + 2);
      expect(ended, `${command}\n${text}${errors[at]}`).toBe(String(wanted));
      if (expected instanceof RegExp) expect(text).toMatch(expected);
      else expect(JSON.parse(text)).toMatchObject(expected);
    }
  };
  const unmanaged = steps.findIndex(([command]) => command === "baseline odin");
  await run(steps.slice(0, unmanaged));
  await own.query(
    "create schema odin; create table odin.polls (); insert into tenants (name, schema) values ('odin', 'odin')",
  );
  await run(steps.slice(unmanaged));
  const strangers = await database.query(
    "select nspname from pg_namespace where nspname !~ '^pg_|^information_schema$' and pg_get_userbyid(nspowner) <> $1",
    [owner.name],
  );
  expect(strangers).toEqual([]);
}

test("none of --help is left out", () => {
  const covered = new Set(steps.map(([command]) => words(command.replace(/^-c \S+ /, ""))[0]));
  const all = createProgram("0").commands.map((command) => command.name());
  expect(all.filter((name) => !covered.has(name) && !(name === "shell" && psql.missing))).toEqual([]);
});

test.each(servers())(`on PostgreSQL $major${psql.note}`, async (server: Server) => {
  await everyCommand(await createDatabase(server));
});

test.skipIf(!pgbouncerAvailable)(`behind pgbouncer in transaction mode${pgbouncerNote}`, async () => {
  await everyCommand(await createDatabase(), true);
});
