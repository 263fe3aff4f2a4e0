// The cli room: tenantctl shell, psql in a tenant's context.

import { asOwnerHelp, type Program, unexpectedWords } from "../options.js";
import { onTerminal, programCode, splitWords } from "../programs.js";
import { runCommand } from "../session.js";

export function addShell(program: Program): void {
  program
    .command("shell")
    .summary("psql in a tenant's context")
    .description("psql in a tenant's context: connected to its database, with its schema in the search_path")
    .usage("<tenant> [options] [-- psql's arguments...]")
    .argument("<tenant>", "the tenant's name")
    .argument("[arguments...]", "after --: for psql")
    .option(...asOwnerHelp)
    .addHelpText(
      "after",
      `
Examples:
  tenantctl shell thor
  tenantctl shell thor --as-owner
  tenantctl shell thor -- --no-psqlrc -c '\\d polls'
  tenantctl shell thor -- -f report.sql

Exit code: psql's; 127 where psql is not installed.`,
    )
    .action((tenant, words, options, command) => {
      const { before, after } = splitWords(command, words);
      const terminal = onTerminal();
      return runCommand(
        command,
        async ({ core, fleet, stop, force }) => {
          if (before.length > 0) throw unexpectedWords(before);
          // A ~/.psqlrc that sets them comes later, and wins.
          const prompts = ["PROMPT1", "PROMPT2"].map((prompt) => `--set=${prompt}=${tenant} %/%R%x%# `);
          const result = await core.execOne(await fleet(), tenant, {
            command: ["psql", ...prompts, ...after],
            asOwner: options.asOwner,
            ownGroup: !terminal,
            hint: "install PostgreSQL's client, for example: apt-get install postgresql-client",
            stop,
            force,
          });
          return programCode(result, stop);
        },
        terminal ? "terminal" : "programs",
      );
    });
}
