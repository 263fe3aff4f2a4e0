// The errors a caller meets: one class with a stable code, and the few that carry values.

/** Stable, machine-readable names of what can go wrong. They appear in `--json` output. */
export type ErrorCode =
  // the request can't be met as things are: nothing was touched
  | "USAGE"
  | "CONFIG_NOT_FOUND"
  | "CONFIG_INVALID"
  | "CONFIG_NOT_EDITABLE"
  | "CONFIG_UNTRUSTED"
  | "NAME_INVALID"
  | "NAME_RETIRED"
  | "TENANT_UNKNOWN"
  | "TENANT_SUSPENDED"
  | "TENANT_EXISTS"
  | "SCHEMA_EXISTS"
  | "SCHEMA_MISSING"
  | "SCHEMA_SHARED_OBJECTS"
  | "HOST_TAKEN"
  | "REGISTRY_MISSING"
  | "REGISTRY_INVALID"
  | "MIGRATIONS_INVALID"
  | "MIGRATION_UNKNOWN"
  | "OUTSIDE_SCHEMA"
  | "CATALOG_LOOKUP"
  | "ROLLBACK_REFUSED"
  | "RUN_UNKNOWN"
  | "UNCONFIRMED"
  | "FILE_EXISTS"
  | "ROLE_UNKNOWN"
  | "ROLE_UNSUITABLE"
  | "NOT_ISOLATED"
  | "SQL_REFUSED"
  | "NEEDS_SERVER"
  | "PROGRAM_UNKNOWN"
  | "PROGRAM_NOT_EXECUTABLE"
  // the database can't be reached, or refuses us
  | "DATABASE_UNREACHABLE"
  | "DATABASE_REFUSED"
  | "DATABASE_LOCKED"
  // in the application: which tenant a statement is for is unknown, or not what it was
  | "NO_TENANT"
  | "OTHER_TENANT"
  | "TEXT_CONTINUES"
  | "RELEASED"
  | "CLOSED"
  | "DRIVER"
  | "POOL_EXHAUSTED"
  // one tenant's failure, or a run's
  | "SQL"
  | "MODULE"
  | "LOCKED"
  | "LOCKED_BY_TENANT"
  | "CONNECTION_LOST"
  | "TRANSACTION_BROKEN"
  | "NEEDS_SESSION"
  | "CHANGED"
  | "AHEAD"
  | "UNMANAGED"
  | "PREFLIGHT"
  | "CANARY"
  | "GATE"
  | "MAX_FAILURES"
  | "PROGRAM_FAILED"
  | "PROGRAM_TIMEOUT"
  | "REGISTRY_WRITE"
  | "INTERNAL";

export interface ErrorOptionsWithHint {
  /** What the reader can do about it. */
  hint?: string;
  cause?: unknown;
}

// An application may load the library twice: by `import` and by `require`.
const brand = Symbol.for("tenantctl.error");

/** An expected error: one line for the user, a stable code for machines, a hint where there is one. */
export class TenantctlError extends Error {
  static override [Symbol.hasInstance](thing: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: a subclass asks for its own
    if (this !== TenantctlError) return Object.prototype.isPrototypeOf.call(this.prototype, thing as object);
    return typeof thing === "object" && thing !== null && brand in thing;
  }
  readonly [brand] = true;
  override readonly name: string = "TenantctlError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptionsWithHint = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** Several problems of one kind that are reported together (a config's, a migrations folder's). */
export class ProblemsError extends TenantctlError {
  override readonly name = "ProblemsError";
  /** One line for each problem, each with where it is. */
  readonly problems: readonly string[];

  constructor(code: ErrorCode, summary: string, problems: readonly string[], options: ErrorOptionsWithHint = {}) {
    const [first] = problems;
    super(code, problems.length === 1 && first !== undefined ? `${summary}: ${first}` : summary, options);
    this.problems = problems;
  }
}
