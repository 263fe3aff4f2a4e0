// The fleet room: create-login, a login role for one tenant, which can be nobody but that tenant whatever is sent through it.

import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { identifier, literal, searchPath } from "../database/quote.js";
import { tenantLogin, tenantRole } from "../database/roles.js";
import { withTransaction } from "../database/transaction.js";
import { TenantctlError } from "../errors.js";
import { dropRoleText } from "../migrations/grants.js";
import { type Fleet, schemasOf } from "./fleet.js";
import { isolationOf } from "./isolation.js";
import { requireWritable, roleExists } from "./preflight.js";
import { findTenant } from "./tenants.js";
import { notIsolated } from "./verify-isolation.js";

export interface Login {
  tenant: string;
  schema: string;
  /** The login role's name. */
  login: string;
  outcome: "created" | "changed" | "dropped" | "missing";
}

/**
 * Makes a login role that has the rights of one tenant's role and can take on no other; where it is there, it gets the new password.
 * @throws TenantctlError TENANT_UNKNOWN, NOT_ISOLATED, ROLE_UNKNOWN when the tenant has no role yet, ROLE_UNSUITABLE.
 */
export async function createLogin(fleet: Fleet, name: string, password: string): Promise<Login> {
  const tenant = await findTenant(fleet, name);
  const database = await fleet.database();
  const isolation = isolationOf(fleet, database);
  if (isolation === undefined) throw notIsolated();
  await requireWritable(fleet, database);
  const role = tenantRole(isolation.database, tenant.schema);
  if (!(await roleExists(database, role))) {
    throw new TenantctlError("ROLE_UNKNOWN", `${name} has no role yet`, { hint: `tenantctl migrate ${name} makes it` });
  }
  const login = tenantLogin(isolation.database, tenant.schema);
  const there = await roleExists(database, login);
  const options = isolation.membershipOptions ? " with inherit true, set false" : "";
  const texts = [
    `${there ? "alter" : "create"} role ${identifier(login)} login inherit password ${literal(verifierOf(password))}`,
    `grant ${identifier(role)} to ${identifier(login)}${options}`,
    `alter role ${identifier(login)} in database ${identifier(isolation.database)} set search_path to ${searchPath(schemasOf(fleet, tenant))}`,
  ];
  await withTransaction(database, async (client) => {
    for (const text of texts) await client.query(text);
  });
  return { tenant: name, schema: tenant.schema, login, outcome: there ? "changed" : "created" };
}

/**
 * Drops a tenant's login role. Who is connected with it stays so until the connection ends.
 * @throws TenantctlError TENANT_UNKNOWN; ROLE_UNSUITABLE when it owns something, and stays.
 */
export async function dropLogin(fleet: Fleet, name: string): Promise<Login> {
  const tenant = await findTenant(fleet, name);
  const database = await fleet.database();
  const { database: own, membershipOptions } = database.capabilities;
  const login = tenantLogin(own, tenant.schema);
  const there = await roleExists(database, login);
  if (there) {
    await withTransaction(database, (client) => client.query(dropRoleText(login, membershipOptions)));
    if (await roleExists(database, login)) {
      throw new TenantctlError(
        "ROLE_UNSUITABLE",
        `the role ${login} owns something, or has rights in other databases`,
        {
          hint: "reassign owned by, or drop, what it owns first",
        },
      );
    }
  }
  return { tenant: name, schema: tenant.schema, login, outcome: there ? "dropped" : "missing" };
}

/** What the server would make of the password itself: so it is in no statement, and in no log. */
function verifierOf(password: string): string {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password.normalize("NFKC"), salt, 4096, 32, "sha256");
  const hmac = (text: string) => createHmac("sha256", salted).update(text).digest();
  const stored = createHash("sha256").update(hmac("Client Key")).digest("base64");
  return `SCRAM-SHA-256$4096:${salt.toString("base64")}$${stored}:${hmac("Server Key").toString("base64")}`;
}
