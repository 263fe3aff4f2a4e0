// The cli room: tenantctl migrate.

import { TenantctlError } from "../../errors.js";
import { exitCodes } from "../exit.js";
import type { Program } from "../options.js";
import { count, fleetCommand, limitsOf, rolloutOf, selectionOf, withRollout } from "../options.js";
import { planLines, runCode, runLines } from "../results.js";
import { runCommand } from "../session.js";

export function addMigrate(program: Program): void {
  withRollout(
    fleetCommand(program, "migrate", "bring the shared schema, then tenants, up to date")
      .option("--to <migration>", "apply none after this one")
      .option("--steps <n>", "apply at most n migrations to each tenant", count)
      .option("--dry-run", "print the plan, touch nothing")
      .option("--estimate", "with --dry-run: time one tenant in a transaction that is rolled back")
      .option("--failed", "only the tenants that failed in the last run")
      .option("--allow-ahead", "migrate tenants that have migrations no file describes"),
  )
    .addHelpText(
      "after",
      `
Examples:
  tenantctl migrate                       all tenants
  tenantctl migrate thor 'a*' --except acme
  tenantctl migrate --dry-run             what it would do
  tenantctl migrate --to 20260401120000_add_votes
  tenantctl migrate --failed              after the mend: just those that failed
  tenantctl migrate --canary acme --waves 1%,10%,100% --gate ./healthy.sh --max-failures 5%
  tenantctl migrate --json --quiet        for CI; exit code 1 if any tenant failed`,
    )
    .action((tenants, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, print }) => {
        if (options.estimate && !options.dryRun)
          throw new TenantctlError("USAGE", "--estimate goes with --dry-run", {
            hint: "nothing was touched; tenantctl migrate --dry-run --estimate",
          });
        const selection = selectionOf(tenants, options);
        const wanted = {
          to: options.to,
          steps: options.steps,
          allowAhead: options.allowAhead ?? false,
          failed: options.failed ?? false,
          ...limitsOf(options, stop),
          ...rolloutOf(options),
        };
        if (options.dryRun) {
          const plan = await core.planMigrate(await fleet(), selection, {
            ...wanted,
            estimate: options.estimate ?? false,
          });
          print(plan, () => planLines(plan, style));
          return exitCodes.done;
        }
        const result = await core.migrate(await fleet(), selection, wanted);
        print(core.runJson(result, "migrated"), () => runLines(result, "migrated", style, "tenantctl migrate"));
        return runCode(result);
      }),
    );
}
