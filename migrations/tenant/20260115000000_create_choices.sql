-- migrate:up
create table choices (
  id bigint generated always as identity primary key,
  poll_id bigint not null references polls on delete cascade,
  text text not null,
  unique (poll_id, text)
);

-- migrate:down
drop table choices;
