-- migrate:up
create table plans (
  name text primary key,
  max_polls integer not null check (max_polls > 0)
);

insert into plans (name, max_polls) values ('free', 10), ('pro', 1000);

-- migrate:down
drop table plans;
