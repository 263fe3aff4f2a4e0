// The same polls with Fastify and Kysely: Kysely's pool is one that follows the current tenant.
import Fastify from "fastify";
import { Kysely, PostgresDialect } from "kysely";
import { createTenancy } from "tenantctl/runtime";

/**
 * The tables of a tenant. No schema is named anywhere.
 * @typedef {object} Tables
 * @property {{ id: import("kysely").Generated<string>, question: string }} polls
 * @property {{ id: import("kysely").Generated<string>, poll_id: string, text: string }} choices
 * @property {{ id: import("kysely").Generated<string>, choice_id: string, voter: string }} votes
 */

const tenancy = await createTenancy();
/** @type {Kysely<Tables>} */
const db = new Kysely({ dialect: new PostgresDialect({ pool: tenancy.pool }) });

const app = Fastify();
app.register(tenancy.fastify());
app.register(polls);
app.addHook("onClose", () => tenancy.close());

const text = { type: "string", minLength: 1, maxLength: 1000, pattern: "^[^\\u0000]*$" };
const id = { type: "string", pattern: "^\\d{1,18}$" };
const params = { type: "object", properties: { id } };
const newPoll = {
  type: "object",
  required: ["question", "choices"],
  properties: { question: text, choices: { type: "array", items: text, minItems: 2, uniqueItems: true } },
};
const newVote = { type: "object", required: ["choice", "voter"], properties: { choice: id, voter: text } };

/** @param {import("fastify").FastifyInstance} app */
async function polls(app) {
  app.get("/polls", () => db.selectFrom("polls").select(["id", "question"]).orderBy("id", "desc").limit(100).execute());

  app.post("/polls", { schema: { body: newPoll } }, async (request, reply) => {
    const { question, choices } = /** @type {{ question: string, choices: string[] }} */ (request.body);
    const poll = await db.transaction().execute(async (trx) => {
      const made = await trx
        .insertInto("polls")
        .values({ question })
        .returning(["id", "question"])
        .executeTakeFirstOrThrow();
      const rows = choices.map((choice) => ({ poll_id: made.id, text: choice }));
      await trx.insertInto("choices").values(rows).execute();
      return made;
    });
    return reply.code(201).header("location", `/polls/${poll.id}`).send(poll);
  });

  app.get("/polls/:id", { schema: { params } }, async (request, reply) => {
    const poll = /** @type {{ id: string }} */ (request.params);
    const choices = await db
      .selectFrom("choices")
      .leftJoin("votes", "votes.choice_id", "choices.id")
      .where("choices.poll_id", "=", poll.id)
      .select(({ cast, fn }) => ["choices.id", "choices.text", cast(fn.count("votes.id"), "integer").as("votes")])
      .groupBy("choices.id")
      .orderBy("choices.id")
      .execute();
    return choices.length > 0 ? { choices } : reply.code(404).send({ error: "no such poll" });
  });

  app.post("/polls/:id/votes", { schema: { params, body: newVote } }, async (request, reply) => {
    const poll = /** @type {{ id: string }} */ (request.params);
    const { choice, voter } = /** @type {{ choice: string, voter: string }} */ (request.body);
    const counted = await db.transaction().execute(async (trx) => {
      // One vote a voter and poll: who votes twice at once waits here, and the second vote replaces the first.
      await trx.selectFrom("polls").where("id", "=", poll.id).forNoKeyUpdate().select("id").execute();
      const choices = await trx.selectFrom("choices").where("poll_id", "=", poll.id).select("id").execute();
      const ids = choices.map((one) => one.id);
      if (!ids.includes(choice)) return false;
      await trx.deleteFrom("votes").where("voter", "=", voter).where("choice_id", "in", ids).execute();
      await trx.insertInto("votes").values({ choice_id: choice, voter }).execute();
      return true;
    });
    return counted ? reply.code(204).send() : reply.code(404).send({ error: "no such choice" });
  });
}

console.log(`listening on ${await app.listen({ port: Number(process.env.PORT ?? 3000) })}`);

process.once("SIGTERM", () => app.close());
