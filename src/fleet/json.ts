// The fleet room: a run's result in the JSON shape that is documented: for --json, and for a gate.

import type { RunResult } from "./run.js";
import { tenantJson } from "./workers.js";

/** A run's result: `migrated` and `applied`, or `reverted` twice. */
export function runJson(result: RunResult, direction: "migrated" | "reverted"): object {
  const { tenants, changed, ...counts } = result.summary;
  return {
    run: result.run,
    ok: result.ok,
    stopped: result.stopped,
    ...(result.error === undefined ? {} : { error: result.error }),
    summary: { tenants, [direction]: changed, ...counts },
    shared: result.shared,
    tenants: result.tenants.map((tenant) => tenantJson(tenant, direction)),
  };
}
