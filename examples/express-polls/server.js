// A polls application: the Host header says whose polls they are, and no query has to.
import express from "express";
import { createTenancy } from "tenantctl/runtime";

const tenancy = await createTenancy();
const app = express();

// First of all: an unknown host gets its 404 here, and whatever comes behind it has a current tenant.
app.use(tenancy.middleware());
app.use(express.json());

app.param("id", (_request, response, next, id) => {
  if (/^\d{1,18}$/.test(id)) next();
  else response.status(404).json({ error: "no such poll" });
});

app.get("/polls", async (_request, response) => {
  const { rows } = await tenancy.query("select id, question from polls order by id desc limit 100");
  response.json(rows);
});

app.post("/polls", async (request, response) => {
  const { question, choices } = request.body ?? {};
  if (!isText(question) || !Array.isArray(choices) || choices.length < 2 || !choices.every(isText)) {
    response.status(400).json({ error: "a question and two choices or more are needed" });
    return;
  }
  const poll = await tenancy.transaction(async (client) => {
    const { rows } = await client.query("insert into polls (question) values ($1) returning id, question", [question]);
    await client.query("insert into choices (poll_id, text) select $1, unnest($2::text[])", [
      rows[0].id,
      [...new Set(choices)],
    ]);
    return rows[0];
  });
  response.status(201).location(`/polls/${poll.id}`).json(poll);
});

app.get("/polls/:id", async (request, response) => {
  const { rows } = await tenancy.query(
    `select polls.question, choices.id, choices.text, count(votes.id)::int as votes
       from polls join choices on choices.poll_id = polls.id left join votes on votes.choice_id = choices.id
      where polls.id = $1 group by polls.id, choices.id order by choices.id`,
    [request.params.id],
  );
  if (rows.length === 0) response.status(404).json({ error: "no such poll" });
  else response.json({ question: rows[0].question, choices: rows.map(({ question: _, ...choice }) => choice) });
});

app.post("/polls/:id/votes", async (request, response) => {
  const { choice, voter } = request.body ?? {};
  if (!/^\d{1,18}$/.test(choice) || !isText(voter)) {
    response.status(400).json({ error: "a choice's id and a voter are needed" });
    return;
  }
  const counted = await tenancy.transaction(async (client) => {
    // One vote a voter and poll: who votes twice at once waits here, and the second vote replaces the first.
    const { rowCount } = await client.query(
      `select from polls join choices on choices.poll_id = polls.id
        where polls.id = $1 and choices.id = $2 for no key update of polls`,
      [request.params.id, choice],
    );
    if (rowCount === 0) return false;
    await client.query("delete from votes using choices where choices.id = choice_id and poll_id = $1 and voter = $2", [
      request.params.id,
      voter,
    ]);
    await client.query("insert into votes (choice_id, voter) values ($1, $2)", [choice, voter]);
    return true;
  });
  if (counted) response.status(204).end();
  else response.status(404).json({ error: "no such choice" });
});

/** @param {unknown} value */
function isText(value) {
  return typeof value === "string" && value.trim() !== "" && value.length <= 1000 && !value.includes("\0");
}

const server = app.listen(Number(process.env.PORT ?? 3000), (error) => {
  if (error) throw error;
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`listening on http://localhost:${port}`);
});

process.once("SIGTERM", () => {
  server.close(() => tenancy.close());
});
