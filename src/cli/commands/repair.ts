// The cli room: tenantctl repair, and tenantctl baseline.

import type { Program } from "../options.js";
import { fleetCommand, selectionOf } from "../options.js";
import { runCode, runLines } from "../results.js";
import { runCommand } from "../session.js";

export function addRepair(program: Program): void {
  fleetCommand(program, "repair", "take edited migration files as they are: rewrites checksums, runs nothing")
    .addHelpText("after", "\nExamples:\n  tenantctl repair\n  tenantctl repair thor")
    .action((tenants, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, print }) => {
        const result = await core.repair(await fleet(), selectionOf(tenants, options), { stop });
        print(core.runJson(result, "migrated"), () => runLines(result, "repaired", style, "tenantctl repair"));
        return runCode(result);
      }),
    );
}

export function addBaseline(program: Program): void {
  fleetCommand(program, "baseline", "take migrations as applied in schemas that have no ledger: runs nothing")
    .option("--to <migration>", "those up to this one; without it, all")
    .addHelpText(
      "after",
      `
For a fleet that was there before tenantctl: list its tenants in the config, then take what they have as applied. Tenants that
have a ledger stay as they are.

Examples:
  tenantctl baseline
  tenantctl baseline 'a*' --to 20260101000000_create_polls`,
    )
    .action((tenants, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, print }) => {
        const limits = { to: options.to, stop };
        const result = await core.baseline(await fleet(), selectionOf(tenants, options), limits);
        print(core.runJson(result, "migrated"), () =>
          runLines(result, "taken as applied", style, "tenantctl baseline"),
        );
        return runCode(result);
      }),
    );
}
