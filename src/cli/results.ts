// The cli room: results in words and in the JSON shapes that are documented.

import type { DryRun, RunResult, TenantChange } from "../fleet/index.js";
import type { Tenant } from "../registry/index.js";
import { exitCodes } from "./exit.js";
import type { Style } from "./style.js";
import { countOf, grouped, milliseconds, visible } from "./words.js";

/** A run's summary: one line, and one more where something is left. */
export function runLines(result: RunResult, direction: string, style: Style, command: string): string[] {
  const { summary } = result;
  const parts = [
    `${grouped(summary.changed)} ${direction}`,
    `${grouped(summary.current)} ${direction === "migrated" ? "current" : "unchanged"}`,
    ...(summary.failed > 0 ? [style.bad(`${grouped(summary.failed)} failed`)] : []),
    ...(summary.skipped > 0 ? [style.warn(`${grouped(summary.skipped)} skipped`)] : []),
  ];
  const line = `${countOf(summary.tenants, "tenant")}: ${parts.join(", ")} (run ${result.run}, ${milliseconds(summary.durationMs)})`;
  const left = summary.failed + summary.skipped;
  if (result.ok || left === 0) return [result.ok ? style.good(line) : line];
  const first = summary.failed > 0 ? "mend what failed, then " : "";
  return [line, `${countOf(left, "tenant")} left: ${first}${command} goes on with ${left === 1 ? "it" : "them"}`];
}

export function runCode(result: RunResult): number {
  return result.ok ? exitCodes.done : exitCodes.failed;
}

export function changeJson({ tenant, applied }: TenantChange): object {
  return { tenant: tenantJson(tenant), applied };
}

export function tenantJson({ name, schema, hosts, labels, state }: Tenant): object {
  return { name, schema, hosts, labels, state };
}

/** Rows in columns, under their headings. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[], style: Style): string[] {
  const cells = rows.map((row) => row.map(visible));
  const widths = headings.map((heading, column) =>
    cells.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), heading.length),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [style.dim(line(headings)), ...cells.map(line)];
}

/** What migrate would do, tenant by tenant. */
export function planLines({ shared, tenants, summary, estimate, concerns }: DryRun, style: Style): string[] {
  const refused = ["unreadable", "unmanaged", "changed", "ahead"];
  const wordsOf = ({ state, pending }: { state: string; pending: string[] }) => {
    const what = refused.includes(state) ? "nothing: it is refused" : pending.join(", ");
    return what === "" ? "schema, ledger or rights" : what;
  };
  const rows = tenants.map((tenant) => [tenant.name, tenant.state, wordsOf(tenant)]);
  const lines =
    shared !== null && shared.state !== "current" ? [`${visible(shared.schema)} (shared)  ${wordsOf(shared)}`] : [];
  if (rows.length > 0) lines.push(...table(["TENANT", "STATE", "WOULD APPLY"], rows, style));
  lines.push(...concerns.map((concern) => `${style.warn("warning:")} ${concern}`));
  if (estimate) {
    const { tenant, tenantMs, totalMs, concurrency } = estimate;
    lines.push(
      `estimate: ${tenant} took ${milliseconds(tenantMs)} and was rolled back; ${countOf(summary.toDo, "tenant")} at ${concurrency} at once: at least ${milliseconds(totalMs)}`,
    );
  }
  lines.push(
    `${countOf(summary.tenants, "tenant")}: ${summary.toDo} to do, ${summary.refused} refused; nothing was touched`,
  );
  return lines;
}
