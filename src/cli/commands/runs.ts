// The cli room: tenantctl runs, what past runs did.

import type { RunRecord } from "../../fleet/index.js";
import { exitCodes } from "../exit.js";
import type { Program } from "../options.js";
import { count } from "../options.js";
import { table } from "../results.js";
import { runCommand } from "../session.js";
import { oneLine, placeOf } from "../words.js";

export function addRuns(program: Program): void {
  program
    .command("runs")
    .summary("past runs: counts, failures")
    .description("past runs, newest first: counts, failures; a run that found everything current is not remembered")
    .option("--limit <n>", "how many to show (default: 20)", count)
    .addHelpText("after", "\nExamples:\n  tenantctl runs\n  tenantctl runs --limit 1 --json")
    .action((options, command) =>
      runCommand(command, async ({ core, fleet, style, print }) => {
        const runs = await core.readRuns(await (await fleet()).database(), options.limit ?? 20);
        print({ runs }, () => {
          if (runs.length === 0) return ["no runs yet"];
          const [last] = runs;
          return [
            ...table(["RUN", "COMMAND", "STARTED", "FINISHED", "CHANGED", "FAILED", "SKIPPED"], runs.map(rowOf), style),
            ...(last?.failures ?? []).map(({ name, error }) => {
              const place = placeOf(error);
              return `${style.bad("failed:")} ${name}: ${oneLine(error.message)}${place === "" ? "" : ` (${place})`}`;
            }),
          ];
        });
        return exitCodes.done;
      }),
    );
}

function rowOf(run: RunRecord): string[] {
  const counts = [run.migrated, run.failed, run.skipped].map(String);
  return [run.run, run.command, run.startedAt, run.finishedAt ?? "not finished", ...counts];
}
