// The cli room: tenantctl doctor.

import { isAbsolute } from "node:path";
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Diagnosis, FindingGroup, Fixed } from "../../fleet/index.js";
import { exitCodes } from "../exit.js";
import { limitsOf, type Program, withLimits } from "../options.js";
import { runCommand } from "../session.js";
import type { Style } from "../style.js";
import { grouped, oneLine, pathOf, visible } from "../words.js";

export function addDoctor(program: Program): void {
  withLimits(
    program
      .command("doctor")
      .summary("config, registry, migrations, database: what is wrong and how to mend it")
      .description(
        "look at config, registry, migrations, database and all tenants' schemas: what is wrong and how to mend it; touches nothing without --fix",
      )
      .option(
        "--check [severity]",
        "exit with 4 when there is an error among the findings, or, with `warning`, anything at all",
        severity,
      )
      .option(
        "--fix",
        "put right what is safe: stamps and rights, each tenant in one transaction; what is left is found",
      ),
  )
    .addHelpText(
      "after",
      `
What several tenants have in common is one line; --json has each finding. It never drops, rebuilds or hands over anything, and asks the catalog
for all tenants at once. docs/doctor.md has the table of what it looks for. Times, tries and concurrency are --fix's.

Examples:
  tenantctl doctor
  tenantctl doctor --fix                        stamps written anew, rights given anew; then what is left
  tenantctl doctor --check --quiet              for cron: the errors alone; 4 when there is one
  tenantctl doctor --check warning --json       for CI: 4 when there is anything

Exit code: without --check 1 when there is an error among the findings; with --fix, among those that are left.`,
    )
    .action((options, command) =>
      runCommand(command, async ({ core, options: common, style, drawing, stop, print }) => {
        const diagnosis = await core.examine({
          config: common.config,
          database: common.database,
          concurrency: options.concurrency,
          report: drawing.report,
          fix: options.fix,
          limits: limitsOf(options, stop),
        });
        const { groups, ...shape } = diagnosis;
        const counted = groups.filter(({ severity }) => severity === "error" || options.check === "warning");
        if (common.quiet && !common.json) {
          for (const line of counted.flatMap((group) => groupLines(group, style))) process.stderr.write(`${line}\n`);
        }
        print(shape, () => linesOf(diagnosis, style));
        if (counted.length === 0) return exitCodes.done;
        return options.check === undefined ? exitCodes.failed : exitCodes.checkFound;
      }),
    );
}

function severity(text: string): "error" | "warning" {
  if (text === "error" || text === "warning") return text;
  throw new InvalidArgumentError("a severity is error or warning.");
}

const placesShown = 5;

function linesOf({ findings, groups, fixed = [] }: Diagnosis, style: Style): string[] {
  const lines = [...fixedLines(fixed, style), ...groups.flatMap((group) => groupLines(group, style))];
  if (fixed.length > 0) lines.push(style.good(`${grouped(fixed.length)} fixed`));
  return [...lines, findings.length === 0 ? style.good("all is well") : `${grouped(findings.length)} found`];
}

function groupLines({ severity, message, hint, where }: FindingGroup, style: Style): string[] {
  const word = severity === "error" ? style.bad("error:") : style.warn("warning:");
  const isSaid = where.length === 1 && message.includes(`(${where[0]}`);
  return [
    `${word} ${oneLine(message)}${isSaid ? "" : ` (${places(where)})`}`,
    ...(hint === "" ? [] : [`${style.dim("hint:")} ${oneLine(hint)}`]),
  ];
}

function fixedLines(fixed: readonly Fixed[], style: Style): string[] {
  const groups = new Map<string, string[]>();
  for (const { done, where } of fixed) groups.set(done, [...(groups.get(done) ?? []), where]);
  return [...groups].map(([done, where]) => `${style.good("fixed:")} ${done} (${places(where)})`);
}

/** One place, or how many and the first few. */
function places(where: readonly string[]): string {
  const names = where.slice(0, placesShown).map((one) => (isAbsolute(one) ? pathOf(one) : visible(one)));
  if (where.length === 1) return names.join();
  return `${grouped(where.length)}: ${names.join(", ")}${where.length > placesShown ? ", …" : ""}`;
}
