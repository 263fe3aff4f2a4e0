// The cli room: events, failures and numbers in words.

import { relative } from "node:path";
import type { Failure, TenantctlEvent } from "../events.js";
import type { Style } from "./style.js";

/** An event in lines; none where it says nothing to a reader of lines. */
export function linesFor(event: TenantctlEvent, style: Style): string[] {
  switch (event.type) {
    case "run-planned":
      return [];
    case "tenant-started":
      return [];
    case "tenant-waiting":
      return [style.dim(`${event.name}  waits: ${oneLine(event.failure.message)}`)];
    case "shared-finished":
      return event.applied.length === 0
        ? []
        : [`${visible(event.schema)} (shared)  migrated  ${event.applied.join(", ")}`];
    case "tenant-finished": {
      if (event.error) return failureLines(event.name, event.error, style);
      if (event.outcome === "skipped") return [];
      const what = event.migrations.length === 0 ? "" : `  ${countOf(event.migrations.length, "migration")}`;
      return [`${event.name}  ${event.outcome}${what}  ${milliseconds(event.durationMs)}`];
    }
    case "wave-finished": {
      const name = event.canary ? "canary" : `wave ${event.wave} of ${event.waves}`;
      const failed = event.failed > 0 ? `, ${style.bad(`${event.failed} failed`)}` : "";
      return [`${name} finished: ${event.changed} changed${failed}`];
    }
    case "run-stopped":
      return failureLines("stopped", event.failure, style);
    case "tenant-done":
      return [`${event.name}  done  ${milliseconds(event.durationMs)}`];
    case "tenant-failed":
      return failureLines(event.name, event.error, style);
    case "tenant-overlaps":
      return [`${event.name}  skipped: the job ${JSON.stringify(event.job)} is still running there`];
    case "warning":
      return [
        `${style.warn("warning:")} ${oneLine(event.message)}`,
        ...(event.hint === undefined ? [] : [`${style.dim("hint:")} ${oneLine(event.hint)}`]),
      ];
  }
}

/** A tenant's failure: whose, what, where and the SQLSTATE; then what to do. */
export function failureLines(name: string, failure: Failure, style: Style): string[] {
  const where = placeOf(failure);
  const line = `${style.bad("error:")} ${name}: ${oneLine(failure.message)}${where === "" ? "" : ` (${where})`}`;
  return failure.hint === undefined ? [line] : [line, `${style.dim("hint:")} ${oneLine(failure.hint)}`];
}

/** `file.sql:line:column, SQLSTATE`, as much of it as is known. */
export function placeOf({ file, line, column, sqlState }: Failure): string {
  const path = file === undefined ? undefined : pathOf(file);
  const place = [path, line, column].filter((part) => part !== undefined).join(":");
  return [place, sqlState === undefined ? "" : `SQLSTATE ${sqlState}`].filter(Boolean).join(", ");
}

/** A file's path from the working directory, fit for a line: a file's name may hold any character. */
export function pathOf(file: string): string {
  return visible(relative(process.cwd(), file));
}

export function oneLine(text: string): string {
  return visible(text.replaceAll(/\s*\n\s*/g, " ").replaceAll("\t", " "));
}

/** In one line, and nothing in it that could command the terminal: a schema's name may hold any character. */
export function visible(text: string): string {
  return text.replaceAll("\n", "↵").replace(/\p{Cc}/gu, "�");
}

/** 12,345. By hand, since the first use of Intl costs as much as everything else that is printed. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function countOf(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** A duration in words: 250 ms, 3.2 s, 4 min 10 s. */
export function milliseconds(duration: number): string {
  if (duration < 1_000) return `${Math.round(duration)} ms`;
  if (duration < 100_000) return `${(duration / 1_000).toFixed(1)} s`;
  const seconds = Math.round(duration / 1_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
