-- migrate:up
create table votes (
  id bigint generated always as identity primary key,
  choice_id bigint not null references choices on delete cascade,
  voter text not null,
  voted_at timestamptz not null default now(),
  unique (choice_id, voter)
);

create function votes_of(poll bigint) returns bigint language sql stable as $$
  select count(*) from votes join choices on choices.id = votes.choice_id where choices.poll_id = poll;
$$;

-- migrate:down
drop function votes_of(bigint);
drop table votes;
