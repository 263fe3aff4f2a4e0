// The cli room: tenantctl rollback.

import type { Program } from "../options.js";
import { count, fleetCommand, limitsOf, rolloutOf, selectionOf, withRollout } from "../options.js";
import { runCode, runLines } from "../results.js";
import { runCommand } from "../session.js";

export function addRollback(program: Program): void {
  withRollout(
    fleetCommand(program, "rollback", "undo migrations: exactly one of --steps, --to and --run says which")
      .option("--steps <n>", "undo the last n migrations of each tenant", count)
      .option("--to <migration>", "undo all that came after this one, which stays; 0 undoes all")
      .option("--run <id>", "undo just what that run applied, tenant by tenant"),
  )
    .addHelpText(
      "after",
      `
Nothing is touched when one tenant can't be rolled back: a migration without a down section, an edited
one, or a newer one on top of what --run names. The shared schema is never rolled back.

Examples:
  tenantctl rollback --steps 1
  tenantctl rollback thor --to 20260401120000_add_votes
  tenantctl rollback --run 20261124215959-3f9a1c`,
    )
    .action((tenants, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, print }) => {
        const which = { steps: options.steps, to: options.to, run: options.run };
        const result = await core.rollback(await fleet(), selectionOf(tenants, options), {
          ...which,
          ...limitsOf(options, stop),
          ...rolloutOf(options),
        });
        print(core.runJson(result, "reverted"), () => runLines(result, "reverted", style, "the same command"));
        return runCode(result);
      }),
    );
}
