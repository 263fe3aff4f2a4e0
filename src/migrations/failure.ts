// The migrations room: a migration's failure, with the place in its file.

import { errorField, sqlState, wantsOneStatement } from "../database/errors.js";
import type { StatementError } from "../database/message.js";
import { roleInTheWay } from "../database/own-roles.js";
import { type ErrorCode, type ErrorOptionsWithHint, TenantctlError } from "../errors.js";
import type { Migration } from "./files.js";
import { lineAndColumnIn } from "./places.js";
import type { Section } from "./sections.js";
import type { SectionStatement } from "./statements.js";

/** Where a statement comes from. */
export interface Origin {
  migration: Migration;
  section: Section;
  statement: SectionStatement;
}

/** Where in a migration something failed. Lines and columns count from 1; a column counts characters. */
export interface Place {
  migration: string;
  file: string;
  line?: number;
  column?: number;
}

/** A migration that failed: which, where in its file, and the server's SQLSTATE where it was SQL. */
export class MigrationFailure extends TenantctlError {
  override readonly name = "MigrationFailure";
  readonly sqlState: string | undefined;
  readonly place: Place | undefined;
  /** The statement's text from where the server pointed, where it did. */
  readonly text: string | undefined;
  /** Some of its statements stay: it runs outside of a transaction. */
  readonly partly: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    options: ErrorOptionsWithHint & {
      sqlState?: string | undefined;
      place?: Place | undefined;
      text?: string | undefined;
      partly?: boolean;
    },
  ) {
    super(code, message, options);
    this.sqlState = options.sqlState;
    this.place = options.place;
    this.text = options.text;
    this.partly = options.partly ?? false;
  }
}

/** Puts a refused statement at the line and column of its migration's file. */
export function failureOf(error: StatementError<Origin>): MigrationFailure {
  const { origin } = error.statement;
  const state = sqlState(error.cause);
  return new MigrationFailure(state === roleInTheWay ? "ROLE_UNSUITABLE" : "SQL", serverMessage(error.cause), {
    sqlState: state,
    place: origin && placeOf(origin, error.offset ?? 0),
    text: error.offset === undefined ? undefined : error.statement.text.slice(error.offset, error.offset + 200),
    hint: hintFor(state, error.cause),
    cause: error.cause,
  });
}

/** The place of an offset in a statement's text. */
export function placeOf({ migration, section, statement }: Origin, offset: number): Place {
  const { line, column } = lineAndColumnIn(section.text)(statement.start + offset);
  return { migration: migration.name, file: migration.file, line: section.line - 1 + line, column };
}

/** What the server said, with the first line of its detail. */
export function serverMessage(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  const detail = errorField(cause, "detail");
  return detail === undefined ? message : `${message}: ${detail.split("\n")[0]}`;
}

function hintFor(state: string | undefined, cause: unknown): string | undefined {
  switch (state) {
    case "25001":
      return "it can't run in a transaction: write -- migrate:up transaction:false";
    case "55P04":
      return "a new enum value can be used only after a commit: put its use into a migration of its own";
    case "55P03":
      return "somebody else holds a lock on it; try again, or raise --lock-timeout";
    case "42501":
      return (
        errorField(cause, "hint") ?? "the role that migrates lacks a right: it must own the schema and what is in it"
      );
    default:
      return errorField(cause, "hint");
  }
}

/** Why a ledger could not be read: we may not, or it is none of ours. */
export function ledgerFailure(cause: unknown): MigrationFailure {
  const state = sqlState(cause);
  return new MigrationFailure("SQL", `its ledger can't be read: ${serverMessage(cause)}`, {
    sqlState: state,
    hint: hintFor(state, cause),
    cause,
  });
}

const oneStatementHint = "one statement a query, where it sends several: some servers refuse them in one message";

/** A migration that failed as a whole: with its own error, with the server's, or with ours where it broke the transaction. */
export function moduleFailure(migration: Migration, cause: unknown): MigrationFailure {
  const state = sqlState(cause);
  const ours = cause instanceof TenantctlError ? cause : undefined;
  return new MigrationFailure(ours?.code ?? (state === undefined ? "MODULE" : "SQL"), serverMessage(cause), {
    sqlState: state,
    place: { migration: migration.name, file: migration.file },
    hint: ours?.hint ?? hintFor(state, cause) ?? (wantsOneStatement(cause) ? oneStatementHint : undefined),
    cause,
  });
}
