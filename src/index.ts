// The library's public face: what an application or a script may call.

export { type ErrorCode, ProblemsError, TenantctlError } from "./errors.js";
export type { Failure, Outcome, Reporter, TenantctlEvent } from "./events.js";
export * from "./fleet/index.js";
export type { Merged, Registry, Tenant, TenantEdit, TenantEdited, TenantState } from "./registry/index.js";
