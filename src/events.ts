// What a run tells while it goes on: facts, not sentences. Commands draw them; the core only reports.

import type { ErrorCode } from "./errors.js";

/** A failure as it is reported: in JSON, in the runs that are remembered, and on a terminal. */
export interface Failure {
  code: ErrorCode;
  message: string;
  hint?: string;
  sqlState?: string;
  /** The migration's name, without its ending. */
  migration?: string;
  /** The migration's file; `line` and `column` count in it, from 1. */
  file?: string;
  line?: number;
  column?: number;
}

export type Outcome = "migrated" | "reverted" | "current" | "failed" | "skipped";

export type TenantctlEvent =
  /** The plan is made: of `tenants`, `toDo` are to be worked on. */
  | { type: "run-planned"; run: string; command: string; tenants: number; toDo: number; concurrency: number }
  | { type: "shared-finished"; schema: string; applied: string[] }
  | { type: "tenant-started"; name: string }
  | { type: "tenant-waiting"; name: string; failure: Failure }
  | {
      type: "tenant-finished";
      name: string;
      outcome: Outcome;
      migrations: string[];
      durationMs: number;
      error?: Failure;
      done: number;
      toDo: number;
    }
  /** It stops before its end; tenants that were not reached are skipped. */
  | { type: "run-stopped"; why: string; failure: Failure }
  | {
      type: "wave-finished";
      wave: number;
      waves: number;
      canary: boolean;
      changed: number;
      current: number;
      failed: number;
      skipped: number;
    }
  /** A program or a text of SQL is done with one tenant. */
  | { type: "tenant-done"; name: string; durationMs: number }
  | { type: "tenant-failed"; name: string; error: Failure }
  /** Not begun: the same job was under way there. */
  | { type: "tenant-overlaps"; name: string; job: string }
  | { type: "warning"; message: string; hint?: string };

/** Receives what a run tells. It must not throw. */
export type Reporter = (event: TenantctlEvent) => void;
