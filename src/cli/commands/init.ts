// The cli room: tenantctl init and new-migration, which write files.

import { relative } from "node:path";
import { Option } from "@commander-js/extra-typings";
import { exitCodes } from "../exit.js";
import type { Program } from "../options.js";
import { runCommand } from "../session.js";

export function addInit(program: Program): void {
  program
    .command("init")
    .summary("scaffold tenants.config.json and migrations/; overwrites nothing")
    .description("scaffold tenants.config.json and a first migration in this folder; overwrites nothing")
    .option("--embedded", "use the embedded database, for a first try without a server")
    .addOption(
      new Option(
        "--registry <where>",
        "where the tenants are listed: in the config, or in a table that a shared migration creates",
      )
        .choices(["file", "table"])
        .default("file" as const),
    )
    .addHelpText(
      "after",
      "\nExamples:\n  tenantctl init\n  tenantctl init --embedded\n  tenantctl init --registry table",
    )
    .action((options, command) =>
      runCommand(command, async ({ core, style, print }) => {
        const { created, kept } = await core.scaffold(process.cwd(), {
          embedded: options.embedded ?? false,
          registry: options.registry,
        });
        const config = kept.find((name) => name.startsWith("tenants.config."));
        const next =
          config !== undefined && created.some((file) => file.startsWith("migrations/shared/"))
            ? `in ${config}: "tenants": { "table": "public.tenants" }, and in its migrations "shared": "migrations/shared"`
            : `${options.embedded ? "" : "set DATABASE_URL (.env counts), then "}tenantctl create-tenant <name>`;
        print({ created, kept }, () => [
          ...created.map((file) => `${style.good("created")} ${file}`),
          ...kept.map((file) => `${style.dim("kept")}    ${file}`),
          `next: ${next}`,
        ]);
        return exitCodes.done;
      }),
    );
}

export function addNewMigration(program: Program): void {
  program
    .command("new-migration")
    .summary("a new file with the next timestamp")
    .description("write an empty migration with the next timestamp")
    .argument("<name>", "what it does, in words")
    .option("--ts", "a TypeScript module in place of SQL")
    .option("--shared", "for the shared schema")
    .addHelpText(
      "after",
      "\nExamples:\n  tenantctl new-migration add_votes\n  tenantctl new-migration backfill_slugs --ts",
    )
    .action((name, options, command) =>
      runCommand(command, async ({ core, fleet, print }) => {
        const file = await core.newMigration(await fleet(), name, {
          kind: options.ts ? "ts" : "sql",
          shared: options.shared ?? false,
        });
        const path = relative(process.cwd(), file);
        print({ file: path }, () => [path]);
        return exitCodes.done;
      }),
    );
}
