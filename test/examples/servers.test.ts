// The examples that serve HTTP, each as its README starts it.
import { beforeAll, describe, expect, test } from "vitest";
import type { RunningTenantctl } from "../support/cli.ts";
import type { TestDatabase } from "../support/database.ts";
import { copyExample, type Example, migratedExample } from "./example.ts";
import { ask, statusOf } from "./http.ts";

interface Poll {
  id: string;
  question: string;
}

interface Results {
  choices: { id: string; text: string; votes: number }[];
}

const thor = "thor.polls.local";
const potter = "potter.polls.local";
const hammer = { question: "Who lifts the hammer?", choices: ["Thor", "Nobody"] };
const house = { question: "Which house?", choices: ["Gryffindor", "Slytherin"] };

async function startServer(example: Example): Promise<{ server: RunningTenantctl; port: number }> {
  const server = example.start("node", "server.js");
  const listening = /listening on \S+:(\d+)/;
  await server.waitFor(listening);
  return { server, port: Number(listening.exec(server.stdout())?.[1]) };
}

describe.each(["express-polls", "fastify-kysely"])("%s", (name) => {
  let database: TestDatabase;
  let server: RunningTenantctl;
  let port: number;

  beforeAll(async () => {
    const migrated = await migratedExample(name, { PORT: "0" });
    ({ database } = migrated);
    ({ server, port } = await startServer(migrated.example));
  });

  test("a host sees its own tenant's polls, and no other's", async () => {
    const made = await ask<Poll>(port, thor, "/polls", hammer);
    expect(made).toEqual({ status: 201, body: { id: "1", question: hammer.question } });
    expect(await ask(port, thor, "/polls")).toEqual({ status: 200, body: [made.body] });
    expect(await ask(port, potter, "/polls")).toEqual({ status: 200, body: [] });
    expect(await ask(port, potter, "/polls/1")).toMatchObject({ status: 404 });

    expect(await ask(port, potter, "/polls", house)).toMatchObject({ status: 201 });
    const texts = async (host: string) =>
      (await ask<Results>(port, host, "/polls/1")).body.choices.map(({ text }) => text);
    expect(await texts(thor)).toEqual(hammer.choices);
    expect(await texts(potter)).toEqual(house.choices);
    const rows = "select (select question from thor.polls) as thor, (select question from potter.polls) as potter";
    expect(await database.query(rows)).toEqual([{ thor: hammer.question, potter: house.question }]);
  });

  test("both at once, many times, each get their own", async () => {
    const hosts = Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? thor : potter));
    const answers = await Promise.all(hosts.map((host) => ask<Poll[]>(port, host, "/polls")));
    expect(answers.map(({ body }) => body.map(({ question }) => question))).toEqual(
      hosts.map((host) => [host === thor ? hammer.question : house.question]),
    );
  });

  test("a poll that can't be stored whole is not stored", async () => {
    for (const body of [{}, { ...hammer, choices: ["Thor"] }, { ...hammer, question: "" }, { ...hammer, choices: 2 }])
      expect(await ask(port, thor, "/polls", body)).toMatchObject({ status: 400 });
    expect((await ask<Poll[]>(port, thor, "/polls")).body).toHaveLength(1);
  });

  test("a voter has one vote in a poll, for a choice of that poll", async () => {
    expect(await ask(port, thor, "/polls", house)).toMatchObject({ status: 201, body: { id: "2" } });
    const vote = async (choice: string, voter: string, poll = 1) =>
      (await ask(port, thor, `/polls/${poll}/votes`, { choice, voter })).status;
    const votes = async (host: string) =>
      (await ask<Results>(port, host, "/polls/1")).body.choices.map(({ votes }) => votes);

    expect(await vote("1", "odin")).toBe(204);
    expect(await vote("2", "odin")).toBe(204);
    expect(await votes(thor)).toEqual([0, 1]);
    expect(await Promise.all(["1", "2", "1", "2"].map((choice) => vote(choice, "loki")))).toEqual([204, 204, 204, 204]);
    expect((await votes(thor)).reduce((sum, count) => sum + count)).toBe(2);
    expect(await vote("1", "odin", 2)).toBe(404);
    expect(await vote("1 or true", "odin")).toBe(400);
    expect(await votes(potter)).toEqual([0, 0]);
  });

  test.each([
    ["an unknown host", "Host: loki.polls.local\r\n", 404],
    ["a tenant's name alone", "Host: thor\r\n", 404],
    ["one below a tenant's", "Host: x.thor.polls.local\r\n", 404],
    ["300 bytes", `Host: ${"a".repeat(300 - thor.length)}${thor}\r\n`, 404],
    ["SQL", 'Host: x"; drop schema public cascade; --\r\n', 404],
    ["SQL behind a tenant's", 'Host: thor.polls.local"; drop schema thor cascade; --\r\n', 404],
    ["bytes that are no text", "Host: thor\xff\xfe.polls.local\r\n", 404],
    ["control bytes", "Host: thor.polls.local\x00\r\n", 400],
    ["two hosts", "Host: thor.polls.local\r\nHost: potter.polls.local\r\n", 404],
    ["two hosts in one", "Host: thor.polls.local, potter.polls.local\r\n", 404],
    ["an empty one", "Host:\r\n", 404],
    ["a port only", "Host: :3000\r\n", 404],
    ["none", "", 400],
    ["one that a client claims was forwarded", `Host: loki.polls.local\r\nX-Forwarded-Host: ${thor}\r\n`, 404],
  ])("is not taken in by %s as host", async (_, headers, status) => {
    expect(await statusOf(port, headers)).toBe(status);
  });

  test("knows a tenant's host however it is written", async () => {
    for (const host of ["THOR.Polls.Local", "thor.polls.local:8080", "thor.polls.local."])
      expect((await ask<Poll[]>(port, host, "/polls")).body).toHaveLength(2);
  });

  test("SIGTERM ends it, after all that", async () => {
    server.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: 0, stderr: "" });
  });
});

test("express-polls needs no server: without DATABASE_URL its database is embedded", async () => {
  const example = await copyExample("express-polls", { PORT: "0" });
  expect(await example.run("tenantctl", "migrate", "--quiet")).toMatchObject({ code: 0 });
  const { server, port } = await startServer(example);
  expect(await ask(port, thor, "/polls", hammer)).toMatchObject({ status: 201 });
  expect(await ask(port, thor, "/polls")).toMatchObject({ body: [{ question: hammer.question }] });
  expect(await ask(port, potter, "/polls")).toEqual({ status: 200, body: [] });
  server.kill("SIGTERM");
  expect(await server.ended).toMatchObject({ code: 0 });
});
