// The cli room: tenantctl lint.

import { resolve } from "node:path";
import type { LintFinding, LintResult } from "../../fleet/index.js";
import { exitCodes } from "../exit.js";
import { type Program, reporter } from "../options.js";
import { annotation } from "../report.js";
import { runCommand } from "../session.js";
import type { Style } from "../style.js";
import { countOf, oneLine, pathOf } from "../words.js";

export function addLint(program: Program): void {
  program
    .command("lint")
    .summary("look through the migrations for what goes wrong across a fleet; needs no database")
    .description(
      "look through the migrations for what goes wrong across a fleet of schemas: hard-coded schemas, extensions, roles, what can't run in a transaction, …; needs no database",
    )
    .argument("[migrations...]", "names, paths or globs; none means all, the shared ones too")
    .option("--reporter <name>", "github: annotations at the findings' lines", reporter)
    .addHelpText(
      "after",
      `
Exit code 4 when there is an error among the findings; warnings alone are 0.
A comment on a statement's line, or on the line before it, allows a rule: -- tenantctl-lint: allow no-down

Examples:
  tenantctl lint
  tenantctl lint 20260401120000_add_votes '2027*'
  tenantctl lint migrations/tenant/20260401120000_add_votes.sql
  tenantctl lint --reporter github        in GitHub Actions
  tenantctl lint --json`,
    )
    .action((words, _options, command) =>
      runCommand(command, async ({ core, options, fleet, style, print }) => {
        const migrations = words.map((word) => (/[\\/]/.test(word) ? resolve(word) : word));
        const result = await core.lint(await fleet(), migrations);
        if (options.reporter === "github") {
          for (const finding of result.findings) process.stderr.write(`${annotationOf(finding)}\n`);
        } else if (options.quiet && !options.json) {
          const errors = result.findings.filter(({ severity }) => severity === "error");
          for (const line of errors.flatMap((finding) => findingLines(finding, style)))
            process.stderr.write(`${line}\n`);
        }
        print(result, () => [
          ...result.findings.flatMap((finding) => findingLines(finding, style)),
          total(result, style),
        ]);
        return result.ok ? exitCodes.done : exitCodes.checkFound;
      }),
    );
}

function annotationOf(finding: LintFinding): string {
  return annotation(finding.severity, finding.rule, `${finding.message}\n${finding.hint}`, finding);
}

function findingLines({ severity, rule, file, line, column, message, hint }: LintFinding, style: Style): string[] {
  const word = severity === "error" ? style.bad("error:") : style.warn("warning:");
  return [
    `${word} ${oneLine(message)} (${pathOf(file)}:${line}:${column}, ${rule})`,
    `${style.dim("hint:")} ${oneLine(hint)}`,
  ];
}

function total({ findings, files, modules }: LintResult, style: Style): string {
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const warnings = findings.length - errors;
  const found = [
    ...(errors > 0 ? [style.bad(countOf(errors, "error"))] : []),
    ...(warnings > 0 ? [style.warn(countOf(warnings, "warning"))] : []),
  ];
  const words = `${countOf(files, "file")}: ${found.length === 0 ? style.good("nothing found") : found.join(", ")}`;
  return modules === 0 ? words : `${words}; ${countOf(modules, "module")} not looked at`;
}
