// The cli room: tenantctl isolate and verify-isolation.

import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Verification } from "../../fleet/index.js";
import { exitCodes } from "../exit.js";
import { fleetCommand, gather, limitsOf, type Program, selectionOf, withLimits } from "../options.js";
import { runCode, runLines, table } from "../results.js";
import { runCommand } from "../session.js";
import type { Style } from "../style.js";
import { countOf, grouped, visible } from "../words.js";

export function addIsolate(program: Program): void {
  withLimits(
    fleetCommand(program, "isolate", "give each tenant a database role that may use its own schema alone")
      .option("--undo", "back again: the app role gets its rights, and the tenants' roles are dropped")
      .option("--keep", "the app role keeps the rights that it has, until the application takes on the tenants' roles")
      .option(
        "--again",
        'also where nothing seems to lack: takes away what was granted to others, table by table, and what "sharedAccess" does not list',
      ),
  )
    .addHelpText(
      "after",
      `
For a fleet that was there before "isolation": "role" was in the config; later, create-tenant and migrate do it. Each tenant is one
transaction. docs/isolation.md says what it guards against, and what it does not.

Examples:
  tenantctl isolate --keep      the roles are there, and the application goes on as before
  tenantctl isolate             when the application takes them on: without them it has no rights
  tenantctl isolate --undo      with "isolation" taken out of the config`,
    )
    .action((tenants, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, print }) => {
        const { undo, keep, again } = options;
        const limits = { undo, keep, again, ...limitsOf(options, stop) };
        const result = await core.isolate(await fleet(), selectionOf(tenants, options), limits);
        const what = undo ? "no longer isolated" : "isolated";
        print(core.runJson(result, "migrated"), () =>
          runLines(result, what, style, `tenantctl isolate${undo ? " --undo" : ""}`),
        );
        return runCode(result);
      }),
    );
}

const linesShown = 50;

export function addVerifyIsolation(program: Program): void {
  fleetCommand(program, "verify-isolation", "look whether the database keeps tenants apart, and try")
    .option(
      "--attempts <n|all>",
      "for how many tenants it is tried, besides what the catalog says of all (default: 10)",
      attempts,
    )
    .option(
      "--allow <right>",
      'a right that is wanted, as it is told here: "insert shared.plans"; * is anything; may be repeated',
      gather,
    )
    .addHelpText(
      "after",
      `
Looks for every right with which a tenant's role, or the application's without one, reaches what is not the tenant's own; then takes on
the roles of a sample and tries to read, write, create and look up. Nothing that it tries stays. What is wanted all the same is listed in the
config, "isolationAllows": ["insert shared.plans", "execute *.sign_up() to PUBLIC"], where a warning tells of what is no longer there.

Examples:
  tenantctl verify-isolation
  tenantctl verify-isolation --allow 'insert shared.plans'
  tenantctl verify-isolation thor --attempts all
  tenantctl verify-isolation --quiet            for cron: what gets through, or nothing
  tenantctl verify-isolation --json

Exit code: 4 when anything gets through, or a tenant's role lacks a right in its own schema.`,
    )
    .action((tenants, options, command) =>
      runCommand(command, async ({ core, fleet, options: common, style, print }) => {
        const found = await core.verifyIsolation(await fleet(), selectionOf(tenants, options), options);
        const lines = () => verificationLines(found, style);
        if (common.quiet && !common.json && !found.ok) for (const line of lines()) process.stderr.write(`${line}\n`);
        print(found, lines);
        return found.ok ? exitCodes.done : exitCodes.checkFound;
      }),
    );
}

function verificationLines(found: Verification, style: Style): string[] {
  const { leaks, lacks, allowed, attempts } = found;
  const rows = [
    ...leaks.map(({ role, object, privilege, how, hint }) => [role, "has", privilege, object, how, hint]),
    ...lacks.map(({ role, object, privilege, how, hint }) => [role, "lacks", privilege, object, how, hint]),
  ];
  const tried = attempts.unexpected.map(({ tenant, statement, outcome }) =>
    visible(`${tenant}: ${statement}: ${outcome}`),
  );
  const heading = ["ROLE", "", "PRIVILEGE", "OBJECT", "HOW", "HINT"];
  const more = ({ length }: readonly unknown[]) =>
    length <= linesShown ? [] : [`… and ${grouped(length - linesShown)} more: --json has all of them`];
  const summary = `${countOf(found.tenants, "tenant")}: ${grouped(leaks.length)} too many, ${grouped(lacks.length)} lacking${allowed.length === 0 ? "" : `, ${grouped(allowed.length)} allowed`}; ${countOf(attempts.tried, "attempt")} in ${grouped(attempts.tenants)} of them, ${grouped(tried.length)} unexpected`;
  return [
    ...(rows.length === 0 ? [] : table(heading, rows.slice(0, linesShown), style)),
    ...more(rows),
    ...tried.slice(0, linesShown),
    ...more(tried),
    found.ok ? style.good(summary) : style.bad(summary),
  ];
}

function attempts(text: string): number | "all" {
  if (text === "all") return text;
  if (/^\d{1,7}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it is a whole number, or all.");
}
