// The cli room: draws what a run tells while it goes on, as the reader's end of it wants.

import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import type { Ora } from "ora";
import type { Reporter, TenantctlEvent } from "../events.js";
import type { Style } from "./style.js";
import { failureLines, grouped, linesFor, milliseconds, oneLine, placeOf } from "./words.js";

export interface Drawing {
  report: Reporter;
  /** Takes the live line away, so that what follows stands alone. */
  clear(): void;
}

/** Draws nothing but failures, for cron. */
export function quietDrawing(style: Style): Drawing {
  return {
    report: (event) => {
      if (event.type === "tenant-finished" && event.error) writeLines(failureLines(event.name, event.error, style));
      if (event.type === "tenant-failed" || event.type === "run-stopped") writeLines(linesFor(event, style));
    },
    clear: () => {},
  };
}

// Above this many, a line for each tenant is no longer read: there is one for each step of the fleet.
const linesPerRun = 300;
const steps = 20;

/** One plain line for each finished tenant; for each step of a large fleet. Failures always. */
export function plainDrawing(style: Style): Drawing {
  const progress = createProgress();
  let nextStep = 0;
  return {
    clear: () => {},
    report(event) {
      progress.take(event);
      const { done, toDo } = progress.counts();
      if (event.type !== "tenant-finished" || event.error || toDo <= linesPerRun)
        return writeLines(linesFor(event, style));
      if (event.outcome === "skipped") return;
      if (done < nextStep) return;
      nextStep = done + Math.ceil(toDo / steps);
      writeLines([progress.words()]);
    },
  };
}

/** A live line with done, failed, rate, time left and the names under way; failures and warnings stay above it. */
export async function liveDrawing(style: Style): Promise<Drawing> {
  const { default: ora } = await import("ora");
  const progress = createProgress();
  let spinner: Ora | undefined;
  const clear = () => {
    spinner?.stop();
    spinner = undefined;
  };
  return {
    clear,
    report(event) {
      progress.take(event);
      const lines = event.type === "tenant-finished" && !event.error ? [] : linesFor(event, style);
      if (lines.length > 0) clear();
      writeLines(lines);
      const { done, toDo } = progress.counts();
      if (done >= toDo) return clear();
      spinner ??= ora({ stream: process.stderr, discardStdin: false }).start();
      spinner.text = `${progress.words()}  ${style.dim(progress.underWay().slice(0, 4).join(", "))}`;
    },
  };
}

/** For GitHub Actions: annotations at the failed migrations' lines, and a summary where `summaryFile` says. */
export function githubDrawing(style: Style, summaryFile: string | undefined): Drawing {
  const plain = plainDrawing(style);
  const failures: string[] = [];
  let cleared = false;
  let told = false;
  return {
    report(event) {
      told = true;
      plain.report(event);
      if (event.type === "warning") writeLines([`::warning::${escaped(event.message)}`]);
      if (event.type === "run-stopped") writeLines([`::error title=tenantctl::${escaped(event.failure.message)}`]);
      if (event.type !== "tenant-finished" || !event.error) return;
      const { message } = event.error;
      writeLines([annotation("error", event.name, message, event.error)]);
      failures.push(`| ${[event.name, placeOf(event.error), oneLine(message)].map(cell).join(" | ")} |`);
    },
    clear() {
      if (cleared || !told || summaryFile === undefined) return; // of what was no run there is no summary
      cleared = true;
      const words = `### tenantctl\n\n${failures.length === 0 ? "No tenant failed." : `${failures.length} failed:\n\n| tenant | where | why |\n|---|---|---|\n${failures.slice(0, 500).join("\n")}`}\n`;
      appendFileSync(summaryFile, words);
    },
  };
}

/** A line that GitHub Actions shows at a place in a file. */
export function annotation(
  severity: "error" | "warning",
  title: string,
  message: string,
  { file, line, column }: { file?: string; line?: number; column?: number },
): string {
  const at = [
    ...(file === undefined ? [] : [`file=${escapedProperty(relative(process.cwd(), file))}`]),
    ...(line === undefined ? [] : [`line=${line}`, `col=${column ?? 1}`]),
  ];
  return `::${severity} ${[...at, `title=${escapedProperty(title)}`].join(",")}::${escaped(message)}`;
}

// GitHub undoes these in messages, and the others in a place and a title only.
function escaped(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapedProperty(text: string): string {
  return escaped(text).replaceAll(",", "%2C").replaceAll(":", "%3A");
}

/** Text in a table of the summary, which is Markdown: shown as it is, whatever it holds. */
function cell(text: string): string {
  return text.replace(/[\\`*[\]<>&|]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function createProgress() {
  const names = new Set<string>();
  const now = { done: 0, toDo: 0, failed: 0, startedAt: Date.now() };
  return {
    take(event: TenantctlEvent) {
      if (event.type === "run-planned") Object.assign(now, { done: 0, toDo: event.toDo, startedAt: Date.now() });
      if (event.type === "tenant-started") names.add(event.name);
      if (event.type !== "tenant-finished") return;
      names.delete(event.name);
      now.done = event.done;
      if (event.outcome === "failed") now.failed++;
    },
    counts: () => now,
    underWay: () => [...names],
    words(): string {
      const seconds = (Date.now() - now.startedAt) / 1_000;
      const rate = now.done / Math.max(seconds, 0.001);
      const left =
        now.done === 0
          ? ""
          : `, ${rate.toFixed(rate < 10 ? 1 : 0)}/s, ${milliseconds(((now.toDo - now.done) / rate) * 1_000)} left`;
      const failed = now.failed === 0 ? "" : `, ${now.failed} failed`;
      return `${grouped(now.done)}/${grouped(now.toDo)} tenants${failed}${left}`;
    },
  };
}

function writeLines(lines: readonly string[]): void {
  for (const line of lines) process.stderr.write(`${line}\n`);
}
