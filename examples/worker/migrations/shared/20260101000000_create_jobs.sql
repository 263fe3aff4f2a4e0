-- migrate:up
create table jobs (
  id bigint generated always as identity primary key,
  tenant text not null,
  kind text not null,
  payload jsonb not null default '{}',
  state text not null default 'queued' check (state in ('queued', 'done', 'failed')),
  result jsonb,
  reason text,
  queued_at timestamptz not null default now(),
  finished_at timestamptz
);

create index jobs_queued on jobs (id) where state = 'queued';

-- migrate:down
drop table jobs;
