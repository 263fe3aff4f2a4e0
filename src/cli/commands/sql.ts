// The cli room: tenantctl sql, one text of SQL in many tenants, the results in one table.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { text as readStream } from "node:stream/consumers";
import { TenantctlError } from "../../errors.js";
import type { SqlResult } from "../../fleet/index.js";
import { exitCodes } from "../exit.js";
import {
  asOwnerHelp,
  count,
  duration,
  gather,
  gatherState,
  limitHelp,
  type Program,
  selectionOf,
  stateHelp,
  unexpectedWords,
  whose,
} from "../options.js";
import { leftLine } from "../programs.js";
import { jsonWriter, tableWriter } from "../rows.js";
import { runCommand } from "../session.js";
import { countOf, milliseconds } from "../words.js";

export function addSql(program: Program): void {
  program
    .command("sql")
    .summary("run SQL per tenant, results in one table")
    .description("run SQL for one tenant, for those of a glob, or for all; read-only unless --write is given")
    .usage("<tenant>|--all [options] [text]")
    .argument("[tenant]", "a name or a glob; not with --all")
    .argument("[text]", "the SQL, one statement or several")
    .argument("[words...]")
    .option("-f, --file <file>", "read the SQL from this file; - is stdin")
    .option("--all", "all tenants, or of them those that --except, --label, --state and --shard leave")
    .option("--except <glob>", "leave out these tenants; may be repeated", gather)
    .option("--label <key=value>", "only tenants with this label; may be repeated", gather)
    .option(...stateHelp, gatherState)
    .option("--shard <i/n>", "only the i-th of n parts of the fleet, by a hash of the name")
    .option("--write", "let it write: one transaction a tenant, all of the statements or none")
    .option(...asOwnerHelp)
    .option("--csv", "print CSV")
    .option(...limitHelp.concurrency, count)
    .option(...limitHelp.lockTimeout, duration)
    .option(...limitHelp.statementTimeout, duration)
    .addHelpText(
      "after",
      `
Of several statements, the last one that answers with rows is shown. What would leave the tenant's transaction is refused:
COMMIT, SET ROLE, search_path, COPY, psql's \\ lines.

Examples:
  tenantctl sql thor 'select count(*) from polls'
  tenantctl sql --all 'select count(*) as polls, max(created_at) from polls'
  tenantctl sql --all --csv -f report.sql > report.csv
  tenantctl sql --all --write --as-owner 'analyze polls'
  tenantctl sql 'a*' --write "update polls set closed = true where ends_at < now()"
  echo 'select version()' | tenantctl sql thor -f -`,
    )
    .action((tenant, typed, words, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, options: common }) => {
        const before = [tenant, typed, ...words].filter((word) => word !== undefined);
        const text = options.all ? before : before.slice(1);
        const selection = selectionOf(whose(options.all ? [] : before.slice(0, 1), options.all), options);
        const given = await givenText(text, options.file);
        if (options.csv && common.json)
          throw new TenantctlError("USAGE", "both --csv and --json", { hint: "choose one" });
        const silent = common.quiet && !options.csv && !common.json;
        const writer = common.json ? jsonWriter() : tableWriter(options.csv ? "csv" : "table", style);
        const result = await core.sql(await fleet(), selection, {
          ...given,
          write: options.write ?? false,
          asOwner: options.asOwner ?? false,
          ...(options.lockTimeout === undefined ? {} : { lockTimeoutMs: options.lockTimeout }),
          ...(options.statementTimeout === undefined ? {} : { statementTimeoutMs: options.statementTimeout }),
          stop,
          rows: (...batch) => (silent ? undefined : writer.rows(...batch)),
        });
        writer.end({ errors: result.errors });
        for (const lost of writer.lost)
          process.stderr.write(`error: ${lost}: this column came after the table was begun\n`);
        if (writer.lost.length > 0) process.stderr.write("hint: --json has room for it\n");
        if (!common.json && !(common.quiet && result.ok))
          for (const line of summaryLines(result)) process.stderr.write(`${line}\n`);
        return result.ok && writer.lost.length === 0 ? exitCodes.done : exitCodes.failed;
      }),
    );
}

async function givenText(words: string[], file: string | undefined): Promise<{ text: string; file?: string }> {
  if (words.length > (file === undefined ? 1 : 0)) throw unexpectedWords(words.slice(file === undefined ? 1 : 0));
  const [text] = words;
  if (text !== undefined) return { text };
  if (file === "-") return { text: await readStream(process.stdin) };
  if (file === undefined) {
    throw new TenantctlError("USAGE", "which SQL?", {
      hint: "tenantctl sql --all 'select …', or -f report.sql, or -f - for stdin",
    });
  }
  try {
    return { text: (await readFile(file, "utf8")).replace(/^\ufeff/, ""), file: resolve(file) };
  } catch (error) {
    throw new TenantctlError("USAGE", `${file} can't be read: ${(error as NodeJS.ErrnoException).code}`, {
      hint: "-f names a file of SQL; - is stdin",
      cause: error,
    });
  }
}

function summaryLines({ summary, left }: SqlResult): string[] {
  const failed = summary.failed > 0 ? `, ${summary.failed} failed` : "";
  const skipped = summary.skipped > 0 ? `, ${summary.skipped} skipped` : "";
  const line = `${countOf(summary.tenants, "tenant")}: ${summary.done} done${failed}${skipped}, ${countOf(summary.rows, "row")} (${milliseconds(summary.durationMs)})`;
  return left.length === 0 ? [line] : [line, leftLine(left)];
}
