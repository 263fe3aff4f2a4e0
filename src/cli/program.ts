// The cli room: the commands and what they have in common.

import { Command } from "@commander-js/extra-typings";
import { addCreateSchemas } from "./commands/create-schemas.js";
import { addDoctor } from "./commands/doctor.js";
import { addExec } from "./commands/exec.js";
import { addInit, addNewMigration } from "./commands/init.js";
import { addIsolate, addVerifyIsolation } from "./commands/isolate.js";
import { addLint } from "./commands/lint.js";
import { addCreateLogin, addLogins } from "./commands/logins.js";
import { addMigrate } from "./commands/migrate.js";
import { addBaseline, addRepair } from "./commands/repair.js";
import { addRollback } from "./commands/rollback.js";
import { addRuns } from "./commands/runs.js";
import { addShell } from "./commands/shell.js";
import { addSql } from "./commands/sql.js";
import { addStatus } from "./commands/status.js";
import { addAddTenant, addCreateTenant, addEditTenant, addList, addRemoveTenant } from "./commands/tenants.js";
import { addExport, addImport } from "./commands/transfer.js";
import type { Program } from "./options.js";

/** All commands, with the options that each of them has. */
export function createProgram(version: string): Program {
  const program: Program = new Command();
  program
    .name("tenantctl")
    .description("Operate PostgreSQL applications that keep each tenant in a schema of its own.")
    .version(version)
    .option("-c, --config <file>", "the config file (default: found from here upwards)")
    .option("--database <url>", "the database, in place of the config's")
    .option("--json", "print the result as JSON on stdout, and nothing else there")
    .option("--quiet", "print nothing on success")
    .option("--verbose", "say more when something fails")
    .option("--no-color", "no colour (NO_COLOR is heeded too)")
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .addHelpText(
      "after",
      `
Examples:
  tenantctl init                          a config and a first migration
  tenantctl create-tenant thor --host thor.polls.local
  tenantctl migrate                       bring everybody up to date
  tenantctl status                        where the fleet stands

Exit codes: 0 done, 1 a tenant failed, 2 bad usage or config, 3 no database, 4 --check found something, 130/143 stopped.`,
    );
  const add = [
    addInit,
    addCreateTenant,
    addAddTenant,
    addEditTenant,
    addRemoveTenant,
    addList,
    addExport,
    addImport,
    addCreateSchemas,
    addMigrate,
    addRollback,
    addStatus,
    addRepair,
    addBaseline,
    addNewMigration,
    addLint,
    addExec,
    addSql,
    addShell,
    addIsolate,
    addVerifyIsolation,
    addCreateLogin,
    addLogins,
    addRuns,
    addDoctor,
  ];
  for (const one of add) one(program);
  return program;
}
