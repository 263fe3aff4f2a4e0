-- migrate:up
create table polls (
  id bigint generated always as identity primary key,
  question text not null,
  published_at timestamptz not null default now()
);

create index polls_published_at on polls (published_at);

-- migrate:down
drop table polls;
