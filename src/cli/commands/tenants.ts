// The cli room: tenantctl create-tenant, add-tenant, remove-tenant and list: tenants come and go.

import { TenantctlError } from "../../errors.js";
import type { Tenant } from "../../registry/index.js";
import { exitCodes } from "../exit.js";
import type { Program } from "../options.js";
import { duration, fleetCommand, gather, limitHelp, limitsOf, selectionOf, tenantState } from "../options.js";
import { ask } from "../prompt.js";
import { changeJson, table, tenantJson } from "../results.js";
import { type Core, runCommand } from "../session.js";
import type { Style } from "../style.js";
import { countOf, visible } from "../words.js";

const schemaHelp = ["--schema <name>", "the schema's name (default: the tenant's)"] as const;
const hostHelp = ["--host <host>", "a host that leads to this tenant; may be repeated"] as const;
const reuseHelp = ["--reuse-name", "take a schema name that another tenant gave up less than 10 minutes ago"] as const;
const labelHelp = ["--label <key=value>", "a label; may be repeated"] as const;

export function addCreateTenant(program: Program): void {
  program
    .command("create-tenant")
    .summary("register, create the schema, migrate: all of it or nothing")
    .description("register a tenant, create its schema and migrate it: all of it or nothing")
    .argument("<name>", "the tenant's name")
    .option(...schemaHelp)
    .option(...hostHelp, gather)
    .option(...labelHelp, gather)
    .option(...reuseHelp)
    .option(...limitHelp.lockTimeout, duration)
    .option(...limitHelp.statementTimeout, duration)
    .addHelpText(
      "after",
      "\nExamples:\n  tenantctl create-tenant loki --host loki.polls.local\n  tenantctl create-tenant acme --schema tenant_acme --label plan=free",
    )
    .action((name, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, print }) => {
        const limits = { ...limitsOf(options, stop), reuseName: options.reuseName ?? false };
        const change = await core.createTenant(await fleet(), newTenant(core, name, options), limits);
        print(changeJson(change), () => [
          style.good(
            `created ${name}: schema "${visible(change.tenant.schema)}", ${countOf(change.applied.length, "migration")}`,
          ),
        ]);
        return exitCodes.done;
      }),
    );
}

export function addAddTenant(program: Program): void {
  program
    .command("add-tenant")
    .summary("register a schema that exists")
    .description("register a schema that exists")
    .argument("<name>", "the tenant's name")
    .option(...schemaHelp)
    .option(...hostHelp, gather)
    .option(...labelHelp, gather)
    .option(...reuseHelp)
    .option("--baseline", "take all migrations as applied, without running them")
    .option("--baseline-to <migration>", "take the migrations up to this one as applied")
    .addHelpText(
      "after",
      "\nExamples:\n  tenantctl add-tenant acme\n  tenantctl add-tenant acme --baseline-to 20260101000000_create_polls",
    )
    .action((name, options, command) =>
      runCommand(command, async ({ core, fleet, style, print }) => {
        const baseline = {
          baseline: options.baseline ?? false,
          baselineTo: options.baselineTo,
          reuseName: options.reuseName ?? false,
        };
        const change = await core.addTenant(await fleet(), newTenant(core, name, options), baseline);
        const taken =
          change.applied.length === 0 ? "" : `, ${countOf(change.applied.length, "migration")} taken as applied`;
        print(changeJson(change), () => [
          style.good(`added ${name}: schema "${visible(change.tenant.schema)}"${taken}`),
        ]);
        return exitCodes.done;
      }),
    );
}

export function addRemoveTenant(program: Program): void {
  program
    .command("remove-tenant")
    .summary("unregister; the data stays, unless --drop-schema")
    .description("strike a tenant out of the registry; its data stays, unless --drop-schema")
    .argument("<name>", "the tenant's name")
    .option("--drop-schema", "drop its schema and everything in it; asks for the name to be typed")
    .option("--yes", "don't ask: needed with --drop-schema where there is no terminal")
    .option(...limitHelp.lockTimeout, duration)
    .addHelpText(
      "after",
      "\nExamples:\n  tenantctl remove-tenant loki\n  tenantctl remove-tenant loki --drop-schema --yes",
    )
    .action((name, options, command) =>
      runCommand(command, async ({ core, fleet, stop, style, print }) => {
        const opened = await fleet();
        const tenant = await core.findTenant(opened, name);
        if (options.dropSchema && !options.yes) await confirmDrop(tenant);
        const change = await core.removeTenant(opened, name, {
          dropSchema: options.dropSchema ?? false,
          ...limitsOf(options, stop),
        });
        const what = options.dropSchema
          ? `dropped its schema "${visible(tenant.schema)}"`
          : `its schema "${visible(tenant.schema)}" stays`;
        print(changeJson(change), () => [style.good(`removed ${name}; ${what}`)]);
        return exitCodes.done;
      }),
    );
}

export function addEditTenant(program: Program): void {
  program
    .command("edit-tenant")
    .summary("change a tenant's state, hosts, labels")
    .description("change what the registry says of a tenant: its state, hosts and labels; what is not named stays")
    .argument("<tenant>", "the tenant's name")
    .option("--state <state>", "active, suspended or archived", tenantState)
    .option("--label <key=value>", "a label that it gets, or with another value; may be repeated", gather)
    .option("--remove-label <key>", "a label that it loses; may be repeated", gather)
    .option("--host <host>", "a host that leads to it besides; may be repeated", gather)
    .option("--remove-host <host>", "a host that no longer does; may be repeated", gather)
    .addHelpText(
      "after",
      `
A suspended tenant is not served, and is kept up to date; an archived one is left out of every command but list, unless it is named.
An application that follows the registry heeds it within seconds. Its schema can't be changed: the data would stay behind.

Examples:
  tenantctl edit-tenant loki --state suspended
  tenantctl edit-tenant loki --state active --label plan=paid --remove-label trial
  tenantctl edit-tenant loki --host loki.example.com --remove-host loki.polls.local`,
    )
    .action((name, options, command) =>
      runCommand(command, async ({ core, fleet, style, print }) => {
        const { tenant, changed } = await core.editTenant(await fleet(), name, {
          state: options.state,
          labels: Object.fromEntries((options.label ?? []).map(core.parseLabel)),
          removeLabels: options.removeLabel,
          hosts: options.host,
          removeHosts: options.removeHost,
        });
        const now = {
          state: tenant.state,
          hosts: tenant.hosts.join(" ") || "none",
          labels: words(tenant.labels) || "none",
        };
        print({ tenant: tenantJson(tenant), changed }, () => [
          changed.length === 0
            ? `${name}: nothing to change`
            : style.good(`changed ${name}: ${changed.map((key) => visible(`${key} ${now[key]}`)).join(", ")}`),
        ]);
        return exitCodes.done;
      }),
    );
}

export function addList(program: Program): void {
  fleetCommand(program, "list", "tenants, schemas, hosts, labels; archived ones too")
    .addHelpText(
      "after",
      "\nExamples:\n  tenantctl list\n  tenantctl list --label plan=free --json\n  tenantctl list --state suspended",
    )
    .action((names, options, command) =>
      runCommand(command, async ({ core, fleet, style, print }) => {
        const selection = selectionOf(names, { ...options, state: options.state ?? ["all"] });
        const tenants = await core.selectTenants(await (await fleet()).registry.tenants(), selection);
        print({ tenants: tenants.map(tenantJson) }, () => listLines(tenants, style));
        return exitCodes.done;
      }),
    );
}

// The state is a column of its own where somebody is not active.
function listLines(tenants: readonly Tenant[], style: Style): string[] {
  if (tenants.length === 0) return ["no tenants"];
  const states = tenants.some(({ state }) => state !== "active");
  const rows = tenants.map(({ name, schema, hosts, labels, state }) => [
    name,
    schema,
    ...(states ? [state] : []),
    hosts.join(" "),
    words(labels),
  ]);
  return table(["TENANT", "SCHEMA", ...(states ? ["STATE"] : []), "HOSTS", "LABELS"], rows, style);
}

function newTenant(core: Core, name: string, options: { schema?: string; host?: string[]; label?: string[] }) {
  return {
    name,
    ...(options.schema === undefined ? {} : { schema: options.schema }),
    hosts: options.host ?? [],
    labels: Object.fromEntries((options.label ?? []).map(core.parseLabel)),
  };
}

function words(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

async function confirmDrop(tenant: Tenant): Promise<void> {
  const typed = await ask(
    `This drops the schema "${visible(tenant.schema)}" and everything in it. Type the tenant's name to go on: `,
  );
  if (typed === tenant.name) return;
  throw new TenantctlError(
    "UNCONFIRMED",
    typed === undefined ? "dropping a schema needs --yes where there is no terminal" : "that is not the tenant's name",
    {
      hint: "nothing was touched",
    },
  );
}
