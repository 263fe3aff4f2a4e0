// The crontab: its own lines, read as cron reads them and run by its shell.
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, dirname } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type RunResult, startProgram } from "../support/cli.ts";
import type { TestDatabase } from "../support/database.ts";
import { type Example, migratedExample } from "./example.ts";

let example: Example;
let database: TestDatabase;
let text: string;
let variables: Record<string, string>;
let commands: string[];

beforeAll(async () => {
  ({ example, database } = await migratedExample("crontab"));
  text = await readFile(example.path("crontab"), "utf8");
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const assignment = /^(\w+)=(.*)$/;
  variables = Object.fromEntries(
    lines.flatMap((line) => [assignment.exec(line)?.slice(1) ?? []]).filter(([name]) => name),
  );
  commands = lines.filter((line) => !assignment.test(line));
});

/** The one line that has this word, run as cron would on a machine where the application is in the example's folder. */
function cron(word: string): Promise<RunResult> {
  const [line = "", ...others] = commands.filter((command) => command.includes(word));
  expect(others).toEqual([]);
  const command = /^(?:\S+\s+){5}(.*)$/.exec(line)?.[1] ?? "";
  const { SHELL = "", PATH = "", POLLS = "" } = variables;
  const here = { POLLS: example.folder, DATABASE_URL: database.url };
  const path = [PATH.replaceAll(POLLS, example.folder), dirname(process.execPath)].join(delimiter);
  return startProgram(SHELL, ["-c", command], { env: { ...variables, ...here, PATH: path } }).ended;
}

const silence = { code: 0, stdout: "", stderr: "" };

test("cron can read it", () => {
  expect(text.endsWith("\n")).toBe(true);
  expect(Object.keys(variables)).toEqual(["SHELL", "PATH", "MAILTO", "POLLS", "DATABASE_URL"]);
  expect(new URL(variables.DATABASE_URL ?? "").password).toBe("");
  expect(commands).toHaveLength(3);
  for (const line of commands) {
    expect(line).toMatch(/^(([\d*/,-]+)\s+){5}cd "\$POLLS" && /);
    expect(line).not.toMatch(/(?<!\\)%/);
  }
});

describe("while all is well it mails nothing:", () => {
  test("every tenant gets its own digest", async () => {
    for (const [schema, voters] of Object.entries({ thor: ["odin", "loki"], potter: ["ron"] }))
      await database.query(`
        insert into ${schema}.polls (question) values ('of ${schema}');
        insert into ${schema}.choices (poll_id, text) values (1, 'yes');
        insert into ${schema}.votes (choice_id, voter) select 1, unnest('{${voters}}'::text[]);
        insert into ${schema}.votes (choice_id, voter, voted_at) values (1, 'long ago', now() - interval '2 days')`);
    expect(await cron("digest.js")).toMatchObject(silence);
    expect(await readFile(example.path("digests/thor.txt"), "utf8")).toBe("2  of thor\n");
    expect(await readFile(example.path("digests/potter.txt"), "utf8")).toBe("1  of potter\n");
  });

  test("nothing is to migrate, everybody is current", async () => {
    expect(await cron("tenantctl migrate")).toMatchObject(silence);
    expect(await cron("tenantctl status")).toMatchObject(silence);
  });
});

describe("the mail says what is wrong:", () => {
  test("who is not current; and the migration brings it up to date", async () => {
    await writeFile(
      `${example.folder}/../../migrations/tenant/20260301000000_add_closed.sql`,
      "alter table polls add closed bool;",
    );
    const behind = await cron("tenantctl status");
    expect(behind.stdout).toMatch(/2 {2}one behind at \S+create_votes {2}thor, potter\n/);
    expect(await cron("tenantctl migrate")).toMatchObject(silence);
    expect(await cron("tenantctl status")).toMatchObject(silence);
  });

  test("whose digest failed; the others have theirs", async () => {
    await database.query(
      "alter table thor.votes rename to elsewhere; insert into potter.polls (question) values ('more')",
    );
    const { code, stdout, stderr } = await cron("digest.js");
    expect(code).toBe(1);
    expect(`${stdout}${stderr}`).toMatch(/thor.*relation "votes" does not exist/);
    expect(`${stdout}${stderr}`).not.toMatch(/^potter/m);
  });
});
