// Command tests: the migrations of a small polls application.
export const polls = {
  "20260101000000_polls.sql":
    "-- migrate:up\ncreate table polls (id bigint primary key, question text not null);\n-- migrate:down\ndrop table polls;\n",
  "20260102000000_choices.sql":
    "-- migrate:up\ncreate table choices (id bigint primary key, poll bigint references polls);\n-- migrate:down\ndrop table choices;\n",
  "20260103000000_votes.sql":
    "-- migrate:up\ncreate table votes (choice bigint references choices);\n-- migrate:down\ndrop table votes;\n",
};

export const names = ["20260101000000_polls", "20260102000000_choices", "20260103000000_votes"] as const;

/** `count` tenants called t01, t02, … */
export function fleetOf(count: number): Record<string, object> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`t${String(index + 1).padStart(2, "0")}`, {}]),
  );
}
