// The cli room: tenantctl export and import: tenants from the registry into a text, and from a file into the registry's table.

import type { Merged } from "../../registry/index.js";
import { exitCodes } from "../exit.js";
import type { Program } from "../options.js";
import { runCommand } from "../session.js";
import { countOf, grouped } from "../words.js";

export function addExport(program: Program): void {
  program
    .command("export")
    .summary("the registry as JSON, as a config lists tenants")
    .description("print all tenants as JSON, in the form in which a config file lists them")
    .option("--out <file>", "write it there; overwrites nothing")
    .addHelpText("after", "\nExamples:\n  tenantctl export\n  tenantctl export --out tenants.json")
    .action((options, command) =>
      runCommand(command, async ({ core, fleet, print }) => {
        const { out } = options;
        const listing = await core.exportTenants(await fleet(), { out });
        const tenants = Object.keys(listing.tenants).length;
        if (out === undefined) print(listing, () => [JSON.stringify(listing, null, 2)]);
        else print({ file: out, tenants }, () => [`${out}: ${countOf(tenants, "tenant")}`]);
        return exitCodes.done;
      }),
    );
}

export function addImport(program: Program): void {
  program
    .command("import")
    .summary("list a file's tenants in the registry's table")
    .description(
      "list the tenants of an export, or of another config, in the registry's table: all of them or none. Those that are new are added, those that are there become as the file has them, and others stay. Schemas are created by migrate.",
    )
    .argument("<file>", "what export wrote, or a config of any format")
    .option("--dry-run", "say what it would do, write nothing")
    .option("--reuse-name", "take schema names that other tenants gave up less than 10 minutes ago")
    .addHelpText(
      "after",
      "\nExamples:\n  tenantctl import tenants.json --dry-run\n  tenantctl import ../old/tenants.config.yaml",
    )
    .action((file, options, command) =>
      runCommand(command, async ({ core, fleet, print }) => {
        const merged = await core.importTenants(await fleet(), file, {
          dryRun: options.dryRun ?? false,
          reuseName: options.reuseName ?? false,
        });
        const { added, changed, unchanged } = merged;
        const dryRun = options.dryRun ? { dryRun: true } : {};
        print({ ...dryRun, added, changed, unchanged: unchanged.length }, () =>
          mergedLines(merged, options.dryRun ?? false),
        );
        return exitCodes.done;
      }),
    );
}

function mergedLines({ added, changed, unchanged }: Merged, dryRun: boolean): string[] {
  const counts = `${grouped(added.length)} added, ${grouped(changed.length)} changed, ${grouped(unchanged.length)} unchanged`;
  const names = [...added.map((name) => `add     ${name}`), ...changed.map((name) => `change  ${name}`)];
  return dryRun ? [...names, `${counts}; nothing was written`] : [counts];
}
