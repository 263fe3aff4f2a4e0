// What can be done, for whichever tenant is the current one. It may be done twice (the worker may die before it is written down).

/** @typedef {import("tenantctl/runtime").Tenancy} Tenancy */

/** @type {Record<string, (tenancy: Tenancy, payload: Record<string, unknown>) => Promise<unknown>>} */
export const jobs = {
  async tally(tenancy, { poll }) {
    const { rows } = await tenancy.query(
      `select choices.text, count(votes.id)::int as votes
         from choices left join votes on votes.choice_id = choices.id
        where choices.poll_id = $1 group by choices.id order by choices.id`,
      [poll],
    );
    return rows;
  },
};
