// The cli room: tenantctl status, where the fleet stands.

import type { FleetStatus, TenantStatus } from "../../fleet/index.js";
import { exitCodes } from "../exit.js";
import type { Program } from "../options.js";
import { fleetCommand, selectionOf } from "../options.js";
import { table } from "../results.js";
import { runCommand } from "../session.js";
import type { Style } from "../style.js";
import { countOf, grouped, oneLine, placeOf, visible } from "../words.js";

export function addStatus(program: Program): void {
  fleetCommand(program, "status", "where the fleet stands, grouped by version")
    .option("--check", "exit with 4 when anyone is not current")
    .option("--list", "list every tenant, also those that are current")
    .option("--verify", "read every ledger and compare it with its stamp")
    .addHelpText(
      "after",
      `
Examples:
  tenantctl status
  tenantctl status --check --quiet     for CI: 0 all current, 4 not
  tenantctl status thor --list --json

Exit code: 1 when a ledger can't be read, which is that tenant's failure alone; with --check, it is not current.`,
    )
    .action((tenants, options, command) =>
      runCommand(command, async ({ core, fleet, style, print }) => {
        const found = await core.status(await fleet(), selectionOf(tenants, options), {
          verify: options.verify ?? false,
        });
        const isListed = (tenant: TenantStatus) => options.list || tenant.state !== "current";
        const { wrongStamps, ...shape } = found;
        const value = { ...shape, tenants: found.tenants.filter(isListed), ...(options.verify ? { wrongStamps } : {}) };
        print(value, () => statusLines(found, options.list ?? false, style));
        if (options.check && !isCurrent(found)) return exitCodes.checkFound;
        return isReadable(found) ? exitCodes.done : exitCodes.failed;
      }),
    );
}

function isCurrent({ summary, shared, wrongStamps }: FleetStatus): boolean {
  return (
    summary.current === summary.tenants && (shared === null || shared.state === "current") && wrongStamps.length === 0
  );
}

function isReadable({ summary, shared }: FleetStatus): boolean {
  return summary.unreadable === 0 && shared?.state !== "unreadable";
}

// At thousands of tenants a person reads groups; names only of those that need somebody.
const namesShown = 5;

function statusLines(found: FleetStatus, list: boolean, style: Style): string[] {
  const { summary, shared, wrongStamps } = found;
  const lines: string[] = [];
  if (shared && shared.state !== "current")
    lines.push(
      `shared schema ${visible(shared.schema)}: ${style.warn(shared.state)}${shared.pending.length > 0 ? `, ${shared.pending.length} behind` : ""}`,
    );
  if (list)
    lines.push(...table(["TENANT", "SCHEMA", "STATE", "VERSION", "PENDING"], found.tenants.map(rowOf), style), "");
  for (const group of groups(found)) {
    const shown = group.state === "current" ? "" : style.dim(`  ${firstOf(group.names)}`);
    lines.push(`${grouped(group.names.length).padStart(7)}  ${colour(group.state, style)(group.words)}${shown}`);
  }
  lines.push(...failures(found, style));
  const total = `${countOf(summary.tenants, "tenant")}, ${grouped(summary.current)} current`;
  lines.push(summary.current === summary.tenants ? style.good(total) : style.bold(total));
  if (wrongStamps.length > 0)
    lines.push(
      `${style.warn("warning:")} stamp and ledger disagree: ${wrongStamps.join(", ")}; tenantctl migrate mends it`,
    );
  return lines;
}

/** Why they failed last, once for all whom it happened to. */
function failures({ tenants }: FleetStatus, style: Style): string[] {
  const found = new Map<string, string[]>();
  for (const { name, lastError } of tenants) {
    if (lastError === undefined) continue;
    const where = placeOf(lastError);
    const words = `${oneLine(lastError.message)}${where === "" ? "" : ` (${where})`}`;
    const names = found.get(words) ?? [];
    names.push(name);
    found.set(words, names);
  }
  return [...found].map(([words, names]) => `${style.bad("failed last:")} ${words}${style.dim(`  ${firstOf(names)}`)}`);
}

function firstOf(names: readonly string[]): string {
  return `${names.slice(0, namesShown).join(", ")}${names.length > namesShown ? ", …" : ""}`;
}

function rowOf(tenant: TenantStatus): string[] {
  return [tenant.name, tenant.schema, tenant.state, tenant.version ?? "-", String(tenant.pending.length)];
}

interface Group {
  state: TenantStatus["state"];
  words: string;
  names: string[];
}

const order: TenantStatus["state"][] = ["current", "pending", "ahead", "changed", "unmanaged", "unreadable", "missing"];

function groups({ tenants }: FleetStatus): Group[] {
  const found = new Map<string, Group>();
  for (const tenant of tenants) {
    const words = wordsOf(tenant);
    const group = found.get(words) ?? { state: tenant.state, words, names: [] };
    group.names.push(tenant.name);
    found.set(words, group);
  }
  return [...found.values()].sort(
    (a, b) => order.indexOf(a.state) - order.indexOf(b.state) || b.names.length - a.names.length,
  );
}

function wordsOf({ state, version, pending }: TenantStatus): string {
  const at = version === null ? "" : ` at ${version}`;
  if (state === "current") return `current${at}`;
  if (state === "pending")
    return `${pending.length === 1 ? "one" : pending.length} behind${at === "" ? ", none applied" : at}`;
  return `${state}${at}`;
}

function colour(state: TenantStatus["state"], style: Style): (text: string) => string {
  if (state === "current") return style.good;
  return state === "pending" ? style.warn : style.bad;
}
