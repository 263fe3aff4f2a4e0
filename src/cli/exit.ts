// The cli room: what an error's code means to the shell.

import type { ErrorCode } from "../errors.js";

/** The documented exit codes. */
export const exitCodes = { done: 0, failed: 1, refused: 2, database: 3, checkFound: 4 } as const;

const failed: readonly ErrorCode[] = [
  "SQL",
  "MODULE",
  "LOCKED",
  "LOCKED_BY_TENANT",
  "CONNECTION_LOST",
  "TRANSACTION_BROKEN",
  "PROGRAM_FAILED",
  "REGISTRY_WRITE",
  "INTERNAL",
];
const database: readonly ErrorCode[] = ["DATABASE_UNREACHABLE", "DATABASE_REFUSED", "DATABASE_LOCKED"];

// As env and timeout say them.
const programCodes: Partial<Record<ErrorCode, number>> = {
  PROGRAM_TIMEOUT: 124,
  PROGRAM_NOT_EXECUTABLE: 126,
  PROGRAM_UNKNOWN: 127,
};

/** 1 for what failed, 3 for what the database refused, 2 for what was not even begun. */
export function exitCodeOf(code: ErrorCode): number {
  const program = programCodes[code];
  if (program !== undefined) return program;
  if (failed.includes(code)) return exitCodes.failed;
  return database.includes(code) ? exitCodes.database : exitCodes.refused;
}
