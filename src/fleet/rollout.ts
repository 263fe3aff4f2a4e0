// The fleet room: how a run goes through the fleet: a canary, waves, a gate between them, and a budget of failures.

import { spawn } from "node:child_process";
import { TenantctlError } from "../errors.js";
import type { Failure } from "../events.js";
import type { Job } from "./workers.js";

/** When a run looks whether to go on. All of it is optional; without any, the fleet is one wave. */
export interface Rollout {
  /** A first wave: tenants' names, separated by commas, or how many. If one of them fails, the run stops. */
  canary?: string;
  /** Where waves end, rising, as parts of what is to do: `1%,10%,100%`, or numbers of tenants. */
  waves?: string;
  /** A command for the shell, run between waves with the wave's result as JSON on its stdin; unless it exits with 0 the run stops. */
  gate?: string;
  /** How many tenants may fail, `n` or `n%` of the fleet, before the run stops. */
  maxFailures?: string;
}

export interface Wave {
  jobs: Job[];
  canary: boolean;
}

/** Cuts what is to do into waves. @throws TenantctlError USAGE, TENANT_UNKNOWN. */
export function planWaves(jobs: readonly Job[], rollout: Rollout, selected: ReadonlySet<string>): Wave[] {
  if (rollout.gate !== undefined && rollout.canary === undefined && rollout.waves === undefined) {
    throw new TenantctlError("USAGE", "a gate stands between waves, and there is only one", {
      hint: "add --canary or --waves, for example --waves 1%,10%,100%",
    });
  }
  const first = rollout.canary === undefined ? new Set<Job>() : canaryOf(jobs, rollout.canary, selected);
  const canary = jobs.filter((job) => first.has(job));
  const others = jobs.filter((job) => !first.has(job));
  const ends = (rollout.waves ?? "100%").split(",").map((text) => amount(text.trim(), others.length, "--waves"));
  if (ends.some((end, index) => end < (ends[index - 1] ?? 0))) {
    throw new TenantctlError("USAGE", `waves must rise, and these do not: ${rollout.waves}`, {
      hint: "--waves 1%,10%,100%",
    });
  }
  if (ends.at(-1) !== others.length) ends.push(others.length);
  const waves = ends.map((end, index) => ({ jobs: others.slice(ends[index - 1] ?? 0, end), canary: false }));
  return [{ jobs: canary, canary: true }, ...waves].filter((wave) => wave.jobs.length > 0);
}

function canaryOf(jobs: readonly Job[], canary: string, selected: ReadonlySet<string>): Set<Job> {
  const names = canary.split(",").map((name) => name.trim());
  if (/^\d+$/.test(canary) && !selected.has(canary)) return new Set(jobs.slice(0, Number(canary)));
  const stranger = names.find((name) => !selected.has(name));
  if (stranger !== undefined) {
    throw new TenantctlError(
      "TENANT_UNKNOWN",
      `the canary ${JSON.stringify(stranger)} is none of the selected tenants`,
      {
        hint: "--canary takes names of selected tenants, or how many",
      },
    );
  }
  return new Set(jobs.filter((job) => names.includes(job.tenant.name)));
}

/** How many failures a run may have, of so many tenants; Infinity without a budget. @throws TenantctlError USAGE. */
export function failureBudget(rollout: Rollout, tenants: number): number {
  return rollout.maxFailures === undefined
    ? Number.POSITIVE_INFINITY
    : amount(rollout.maxFailures, tenants, "--max-failures", Math.floor);
}

function amount(text: string, whole: number, option: string, round: (value: number) => number = Math.ceil): number {
  const match = /^(\d{1,7}(?:\.\d{1,4})?)(%?)$/.exec(text);
  const value = Number(match?.[1]);
  if (!match || (match[2] === "%" ? value > 100 : !Number.isInteger(value))) {
    throw new TenantctlError("USAGE", `${option} takes numbers or percentages, not ${JSON.stringify(text)}`, {
      hint: "for example 5 or 5%",
    });
  }
  return match[2] === "%" ? round((whole * value) / 100) : Math.min(value, whole);
}

/** What a gate is told. */
export interface WaveReport {
  run: string;
  wave: number;
  waves: number;
  canary: boolean;
  summary: { tenants: number; current: number; failed: number; skipped: number } & Partial<
    Record<"migrated" | "reverted", number>
  >;
  tenants: object[];
}

/** Asks a gate. Resolves to why it said no, or undefined. What it prints goes to stderr. */
export async function askGate(command: string, report: WaveReport): Promise<Failure | undefined> {
  const ended = await new Promise<string | undefined>((resolve) => {
    const child = spawn(command, { shell: true, stdio: ["pipe", 2, 2] });
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) =>
      resolve(code === 0 ? undefined : signal === null ? `exit code ${code}` : `ended by ${signal}`),
    );
    // A gate that does not read its input closes it under us, and that is its right.
    child.stdin?.on("error", () => {});
    child.stdin?.end(JSON.stringify(report));
  });
  if (ended === undefined) return undefined;
  return {
    code: "GATE",
    message: `the gate stopped the run after wave ${report.wave} of ${report.waves}: ${ended} (${command})`,
  };
}
