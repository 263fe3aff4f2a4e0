// The cli room: tenantctl create-schemas.

import type { Program } from "../options.js";
import { count, duration, fleetCommand, limitHelp, limitsOf, selectionOf } from "../options.js";
import { runCode, runLines } from "../results.js";
import { runCommand } from "../session.js";

export function addCreateSchemas(program: Program): void {
  fleetCommand(program, "create-schemas", "create the schemas that are missing, migrate nothing")
    .option(...limitHelp.concurrency, count)
    .option(...limitHelp.lockTimeout, duration)
    .addHelpText("after", "\nExamples:\n  tenantctl create-schemas\n  tenantctl create-schemas thor potter")
    .action((tenants, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, print }) => {
        const result = await core.createSchemas(await fleet(), selectionOf(tenants, options), limitsOf(options, stop));
        print(core.runJson(result, "migrated"), () => runLines(result, "created", style, "tenantctl create-schemas"));
        return runCode(result);
      }),
    );
}
