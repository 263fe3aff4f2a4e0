// The fleet room: what tenants' roles have in common: the use of the shared schemas, and the rights there that the config lists.

import type { Client, Database } from "../database/database.js";
import { identifier, qualified } from "../database/quote.js";
import { sharedRole } from "../database/roles.js";
import { lockKey, withTransaction } from "../database/transaction.js";
import { createRoleText } from "../migrations/grants.js";
import type { Fleet } from "./fleet.js";
import { isolationOf } from "./isolation.js";
import { type AccessChanges, type Change, compareAccess } from "./shared-access.js";

export interface ShareOptions {
  /** Takes away what the config's `sharedAccess` does not list; without it, it is only told. Undefined: earlier releases' rights are not told of either. */
  again?: boolean;
}

/**
 * Lets the tenants' roles use the shared schemas, and of what is in them what the config lists; takes from them the registry and the ledgers, and from PUBLIC the right to
 * create there. One look, where all is as it should be.
 * @throws ProblemsError CONFIG_INVALID for what `sharedAccess` can't be.
 */
export async function shareSchemas(fleet: Fleet, database: Database, { again }: ShareOptions = {}): Promise<void> {
  const isolation = isolationOf(fleet, database);
  if (isolation === undefined) return;
  const { config } = fleet;
  const role = sharedRole(isolation.database);
  const look = async (client: Client) => {
    const schemas = await lackingSchemas(client, config.sharedSchemas, role);
    const access = await compareAccess(client, config, role);
    const texts = [
      ...schemaTexts(schemas, role),
      ...accessTexts(access, role, (again ?? false) && config.sharedAccess !== undefined),
    ];
    return { access, texts };
  };
  const found = await database.withClient(look);
  tell(fleet, found.access, again);
  if (found.texts.length === 0) return;
  await withTransaction(database, async (client) => {
    // Two that change one schema's rights at once would be "tuple concurrently updated"; the second finds it done.
    await client.query(`select pg_advisory_xact_lock(${lockKey("\0share")})`);
    for (const text of (await look(client)).texts) await client.query(text);
  });
}

interface LackingSchema {
  schema: string;
  /** The tenants' roles can't use it. */
  share: boolean;
  /** PUBLIC may create in it, and we may take that away. */
  close: boolean;
}

async function lackingSchemas(
  client: Client,
  sharedSchemas: readonly string[],
  role: string,
): Promise<LackingSchema[]> {
  const { rows } = await client.query<LackingSchema>(
    `select * from (
      select n.nspname as schema, n.nspname = any($1::text[]) and (r.oid is null or not has_schema_privilege(r.oid, n.oid, 'usage')) as share,
        pg_has_role(n.nspowner, 'usage') and exists (
          select from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x where x.grantee = 0 and x.privilege_type = 'CREATE') as close
      from pg_namespace n left join pg_roles r on r.rolname = $2
      where n.nspname = any($1::text[] || array['public'])
    ) found where share or close`,
    [sharedSchemas, role],
  );
  return rows;
}

function schemaTexts(lacking: readonly LackingSchema[], role: string): string[] {
  return lacking.flatMap(({ schema, share, close }) => [
    ...(share ? [createRoleText(role), `grant usage on schema ${identifier(schema)} to ${identifier(role)}`] : []),
    ...(close ? [`revoke create on schema ${identifier(schema)} from public`] : []),
  ]);
}

function accessTexts(changes: AccessChanges, role: string, again: boolean): string[] {
  const { grants, extra, exposed, promised } = changes;
  const of = identifier(role);
  const on = ({ isSequence, schema, name }: Change) =>
    `${isSequence ? "sequence" : "table"} ${qualified(schema, name)}`;
  const grant = (change: Change, privileges: readonly string[]) =>
    privileges.length === 0 ? [] : [`grant ${privileges.join(", ")} on ${on(change)} to ${of}`];
  return [
    ...(grants.length === 0 ? [] : [createRoleText(role)]),
    ...exposed.map((change) => `revoke all on ${on(change)} from ${of}`),
    ...(again
      ? [
          // All of it, since rights on columns go only so; what is wanted is given again.
          ...extra.flatMap((change) => [`revoke all on ${on(change)} from ${of}`, ...grant(change, change.wanted)]),
          ...promised
            .filter(({ ours }) => ours)
            .flatMap(({ schema, maker }) =>
              ["tables", "sequences"].map(
                (kind) =>
                  `alter default privileges for role ${maker} in schema ${identifier(schema)} revoke all on ${kind} from ${of}`,
              ),
            ),
        ]
      : []),
    ...grants.flatMap((change) => grant(change, change.privileges)),
  ];
}

/** What is to be said: what tenants may beyond the config, what it lists and is not there. */
function tell({ config, report }: Fleet, access: AccessChanges, again: boolean | undefined): void {
  const warn = (message: string, hint?: string) =>
    report({ type: "warning", message, ...(hint === undefined ? {} : { hint }) });
  for (const name of access.absent) warn(`"sharedAccess" lists ${name}, and there is no such table`);
  const rights = [
    ...access.extra.map(({ schema, name, privileges }) => `${privileges.join(", ") || "columns"} of ${schema}.${name}`),
    ...access.promised.map(({ schema }) => `what will be created in ${schema}`),
  ];
  if (rights.length === 0) return;
  const some = `${rights.slice(0, 3).join("; ")}${rights.length > 3 ? `; and ${rights.length - 3} more` : ""}`;
  if (config.sharedAccess === undefined) {
    if (again !== undefined)
      warn(
        `all tenants may read the shared tables that an earlier release let them read: ${some}`,
        'list in "sharedAccess" what they may, then: tenantctl isolate --again',
      );
  } else if (again) warn(`taken from the tenants, since "sharedAccess" does not list it: ${some}`);
  else
    warn(
      `the tenants may do more with shared tables than "sharedAccess" lists: ${some}`,
      "tenantctl isolate --again takes it away",
    );
}
