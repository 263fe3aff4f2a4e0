// The fleet room: what init and new-migration write.

import { mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TenantctlError } from "../errors.js";
import { createMigration } from "../migrations/create.js";
import type { Fleet } from "./fleet.js";

const firstMigration = `-- migrate:up
create table polls (
  id bigint generated always as identity primary key,
  question text not null,
  created_at timestamptz not null default now()
);

-- migrate:down
drop table polls;
`;

// As strict as our own rules where SQL can be, so that an application's own sign-up can't list what tenantctl refuses.
const tenantsTable = `-- The registry: which tenants there are. tenants.config.json names this table.
-- migrate:up
create table tenants (
  name text primary key check (
    name ~ '^[[:alnum:]][[:alnum:]_.-]*$' and octet_length(name) <= 63
    and name !~ '^pg_' and name not in ('public', 'information_schema', 'tenantctl')),
  schema text not null unique check (
    octet_length(schema) between 1 and 63
    and schema !~ '^pg_' and schema not in ('public', 'information_schema', 'tenantctl', '$user')),
  hosts text[] not null default '{}',
  labels jsonb not null default '{}' check (
    jsonb_typeof(labels) = 'object'
    and not jsonb_path_exists(labels, 'strict $.* ? (@.type() != "string")', '{}', true)),
  state text not null default 'active' check (state in ('active', 'suspended', 'archived')),
  created_at timestamptz not null default now()
);
-- Who writes hosts looks into it at once: what were set aside for later would be looked through each time.
create index tenants_hosts on tenants using gin (hosts) with (fastupdate = off);

-- A host leads to one tenant. No index looks into arrays for that, so who writes hosts does it one after the other.
create function tenants_hosts_check() returns trigger language plpgsql
  set search_path from current set enable_seqscan = off as $$ -- a plan made while the table was small would never use the index
declare
  wrong text;
  label constant text := '[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?';
begin
  select h into wrong from unnest(new.hosts) h
    where h is null or h !~ ('^([*][.])?' || label || '([.]' || label || ')*$') and h !~ '^[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*$' limit 1;
  if found then
    raise check_violation using message = format('%L of %s is no host: lower case, without port and path', wrong, new.name);
  end if;
  perform pg_advisory_xact_lock(hashtextextended('tenants.hosts', 0));
  select h into wrong from unnest(new.hosts) h group by h having count(*) > 1
    union all select t.name from tenants t where t.hosts && new.hosts and t.name <> new.name limit 1;
  if found then
    raise unique_violation using message = format('a host of %s is there twice: %s', new.name, wrong);
  end if;
  return new;
end $$;
create trigger tenants_hosts_check before insert or update of hosts on tenants
  for each row when (new.hosts <> '{}') execute function tenants_hosts_check();

-- The application reads it: grant select on tenants to <its role>;

-- migrate:down
drop table tenants;
drop function tenants_hosts_check();
`;

function configText({ embedded, registry }: ScaffoldOptions): string {
  const config = {
    $schema: "./node_modules/tenantctl/tenants.config.schema.json",
    database: embedded ? "pglite:.tenantctl/db" : "$" + "{DATABASE_URL}",
    migrations: {
      tenant: "migrations/tenant",
      ...(registry === "table" ? { shared: "migrations/shared" } : {}),
    },
    tenants: registry === "table" ? { table: "public.tenants" } : {},
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

export interface ScaffoldOptions {
  /** The embedded database, for a first try. */
  embedded: boolean;
  /** Where the tenants are to be listed. Default: the file. */
  registry?: "file" | "table";
}

/** Writes a config and first migrations into a folder; what is there already is kept. Paths are relative to the folder. @throws TenantctlError CONFIG_NOT_EDITABLE. */
export async function scaffold(
  folder: string,
  options: ScaffoldOptions,
): Promise<{ created: string[]; kept: string[] }> {
  const created: string[] = [];
  const kept = (await readdir(folder)).filter((name) => name.startsWith("tenants.config."));
  const files: [string, string][] = kept.length === 0 ? [["tenants.config.json", configText(options)]] : [];
  const migrations: [string, string, string][] = [
    ["migrations/tenant", "20260101000000_create_polls.sql", firstMigration],
    ...(options.registry === "table"
      ? [["migrations/shared", "20260101000000_create_tenants.sql", tenantsTable] satisfies [string, string, string]]
      : []),
  ];
  for (const [below, name, text] of migrations) {
    const found = await readdir(join(folder, below)).catch(() => [] as string[]);
    if (found.length > 0) kept.push(below);
    else files.push([`${below}/${name}`, text]);
  }
  for (const [name, text] of files) {
    await write(join(folder, name), text).catch((error: unknown) => {
      throw unwritable(name, error);
    });
    created.push(name);
  }
  return { created, kept };
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text, { flag: "wx" });
}

/** Writes a file that is not there yet. @throws TenantctlError FILE_EXISTS. */
export async function writeNewFile(file: string, text: string): Promise<void> {
  await write(file, text).catch((error: NodeJS.ErrnoException) => {
    const exists = error.code === "EEXIST";
    const reason = exists ? "it exists already" : (error.code ?? error.message);
    throw new TenantctlError("FILE_EXISTS", `can't write ${file}: ${reason}`, {
      hint: exists ? "a file that is there is not overwritten" : "may this user write there?",
      cause: error,
    });
  });
}

function unwritable(name: string, error: unknown): TenantctlError {
  const reason = error instanceof Error ? error.message : String(error);
  return new TenantctlError("CONFIG_NOT_EDITABLE", `can't write ${name}: ${reason}`, {
    hint: "tenantctl init writes into the folder that it is called in",
    cause: error,
  });
}

/**
 * Writes an empty migration, and resolves to its path.
 * @throws TenantctlError USAGE for a name that makes no file name, or for a shared one where the config has no folder for them.
 */
export async function newMigration(
  fleet: Fleet,
  name: string,
  options: { kind: "sql" | "ts"; shared: boolean },
): Promise<string> {
  const { tenant, shared } = fleet.config.migrations;
  if (!options.shared) return await createMigration(tenant, name, options.kind);
  if (shared === undefined) {
    throw new TenantctlError("USAGE", "the config names no folder for shared migrations", {
      hint: '"migrations": { "shared": "migrations/shared" }',
    });
  }
  return await createMigration(shared, name, options.kind);
}
