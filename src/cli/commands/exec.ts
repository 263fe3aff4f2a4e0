// The cli room: tenantctl exec, any program in a tenant's context.

import { TenantctlError } from "../../errors.js";
import { exitCodes } from "../exit.js";
import { asOwnerHelp, count, duration, fleetCommand, isName, type Program, selectionOf, whose } from "../options.js";
import { execMany, onTerminal, programCode, splitWords } from "../programs.js";
import { runCommand } from "../session.js";

export function addExec(program: Program): void {
  fleetCommand(program, "exec", "run any program in a tenant's context")
    .usage("<tenant>|--all [options] -- <program> [arguments...]")
    .option("--all", "all tenants, or of them those that --except, --label, --state and --shard leave")
    .option("--concurrency <n>", "how many tenants at once (default: 1)", count)
    .option("--timeout <duration>", "end a tenant's program with SIGTERM after this time", duration)
    .option("--kill-after <duration>", "kill what does not heed a signal after this time (default: 10s)", duration)
    .option("--no-overlap <job>", "skip the tenants where a job of this name is still running")
    .option(...asOwnerHelp)
    .addHelpText(
      "after",
      `
The program finds TENANT, TENANT_SCHEMA, PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGOPTIONS and DATABASE_URL in its
environment: psql, pg_dump, Node's pg and Python's psycopg work in the tenant's schema.

Examples:
  tenantctl exec thor -- psql -c 'select count(*) from polls'
  tenantctl exec --all -- node scripts/digest.js
  tenantctl exec 'a*' --except acme --concurrency 4 --timeout 5m -- ./nightly.sh
  tenantctl exec --all --no-overlap digest --quiet -- node scripts/digest.js     for cron
  tenantctl exec --all --as-owner -- psql -c 'vacuum polls'
  tenantctl exec thor -- sh -c 'pg_dump -n "$TENANT_SCHEMA" -f thor.sql'

One tenant by name has the terminal to itself, and its program's exit code is ours; 124 after --timeout, 126 not executable,
127 not found, 128+n ended by signal n. Several: each line is prefixed with its tenant; 0, or 1 if any failed.`,
    )
    .action((words, options, command) => {
      const { before, after } = splitWords(command, words);
      const [name] = before.length === 1 && !options.all ? before.filter(isName) : [];
      const terminal = name !== undefined && onTerminal();
      return runCommand(
        command,
        async (session) => {
          if (after.length === 0) {
            throw new TenantctlError("USAGE", "which program?", {
              hint: "it comes after --, for example: tenantctl exec thor -- psql",
            });
          }
          const wanted = {
            command: after,
            timeoutMs: options.timeout,
            killAfterMs: options.killAfter,
            asOwner: options.asOwner,
            noOverlap: options.overlap === true ? undefined : options.overlap,
            stop: session.stop,
            force: session.force,
          };
          if (name !== undefined && !session.options.json) {
            const one = await session.core.execOne(await session.fleet(), name, { ...wanted, ownGroup: !terminal });
            return programCode(one, session.stop);
          }
          const selection = selectionOf(whose(before, options.all), options);
          const result = await execMany(session, selection, { ...wanted, concurrency: options.concurrency });
          const [only] = name === undefined ? [] : result.tenants;
          if (only !== undefined) return programCode(only, session.stop);
          return result.ok && !session.stop.aborted ? exitCodes.done : exitCodes.failed;
        },
        terminal ? "terminal" : "programs",
      );
    });
}
