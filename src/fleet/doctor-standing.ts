// The fleet room: what doctor has to say of where tenants stand: schema, ledger, stamp and rights.

import type { Finding, Noted } from "./doctor-findings.js";
import type { Surveyed } from "./survey.js";

/** Says what is wrong with where a tenant, or the shared schema, stands. */
export function reportStanding(findings: Noted[], one: Surveyed, shared = false): void {
  const { tenant, standing } = one;
  const add = (
    severity: Finding["severity"],
    check: string,
    message: string,
    hint: string,
    more: Partial<Noted> = {},
  ) => findings.push({ severity, check, where: tenant.name, message, hint, ...more });
  const { state } = standing;
  const migrate = shared ? "tenantctl migrate" : `tenantctl migrate ${tenant.name}`;
  const alike = (hint: string, message?: string) => ({
    alike: { hint: hint.replace(migrate, "tenantctl migrate"), ...(message === undefined ? {} : { message }) },
  });
  if (state === "missing") {
    const hint = `${migrate} creates it`;
    add("error", "schema", `its schema "${tenant.schema}" is missing`, hint, alike(hint, "its schema is missing"));
  }
  if (state === "unmanaged") {
    const hint = "if they are what the migrations make: tenantctl baseline";
    const message = (schema: string) => `its ${schema} holds objects and no ledger`;
    add(
      "error",
      "schema",
      message(`schema "${tenant.schema}"`),
      `${hint} ${tenant.name}`,
      alike(hint, message("schema")),
    );
  }
  if (standing.unreadable !== undefined) {
    const { message, hint = "" } = standing.unreadable;
    add("error", "ledger", message, hint, alike(hint, message.replace(/ for schema .*/, " for its schema")));
  }
  if (state === "changed")
    add(
      "error",
      "ledger",
      `edited after it was applied: ${standing.changed.join(", ")}`,
      "restore the file, or tenantctl repair",
    );
  if (state === "ahead")
    add(
      "error",
      "ledger",
      `applied, and no file describes it: ${standing.unknown.join(", ")}`,
      "deploy the release that has the file",
    );
  const target = { name: tenant.name, schema: tenant.schema };
  if (one.interrupted !== undefined) {
    const hint = one.interrupted.startsWith("running")
      ? `${migrate} goes on`
      : "tenantctl rollback, as before, goes on";
    const message = `a transaction:false migration was interrupted, or is under way: ${one.interrupted}`;
    add("warning", "ledger", message, hint, alike(hint));
  } else if (one.stampDiffers) {
    const hint = `tenantctl doctor --fix, or ${migrate}, mends it`;
    add("warning", "ledger", "its stamp is not that of its ledger", hint, {
      ...alike(hint),
      mend: { what: "stamp", tenant: target, done: "its stamp was written anew, from its ledger" },
    });
  }
  // Without a ledger the rights come with it.
  if (one.lacksGrants && one.hasLedger) {
    const hint = `tenantctl doctor --fix, or ${migrate}, puts them right`;
    add("warning", "role", "its role, or the app role, lacks rights in its schema, or has too many", hint, {
      ...alike(hint),
      mend: { what: "rights", tenant: target, done: "the rights in its schema were given anew" },
    });
  }
}
