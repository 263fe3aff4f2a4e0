// The fleet room's face: what commands and applications may call.

export type { LintFinding, LintResult } from "../migrations/lint.js";
export { type Diagnosis, type ExamineOptions, examine, type Finding, type FindingGroup, type Fixed } from "./doctor.js";
export { type DryRun, planMigrate } from "./dry-run.js";
export { type ExecManyOptions, type ExecOptions, type ExecResult, exec, execOne, type ProgramResult } from "./exec.js";
export { defaultConcurrency, type Fleet, type FleetOptions, openFleet } from "./fleet.js";
export { type IsolateOptions, isolate } from "./isolate.js";
export { runJson } from "./json.js";
export { lint } from "./lint.js";
export { type ListedLogin, listLogins } from "./login-states.js";
export { createLogin, dropLogin, type Login, type LoginOptions, loginDefaults } from "./logins.js";
export { type BaselineOptions, baseline, createSchemas, repair } from "./mend.js";
export { type MigrateOptions, migrate } from "./migrate.js";
export { shortestPassword } from "./password.js";
export { type RollbackOptions, rollback } from "./rollback.js";
export type { Rollout } from "./rollout.js";
export { defaultLimits, type RunLimits, type RunResult, type Stopped } from "./run.js";
export { type RunRecord, readRuns } from "./runs.js";
export { newMigration, type ScaffoldOptions, scaffold } from "./scaffold.js";
export { parseLabel, type Selection, selectTenants } from "./select.js";
export { type Column, type SqlOptions, type SqlResult, sql } from "./sql.js";
export { type FleetStatus, type StatusOptions, status, type TenantStatus } from "./status.js";
export {
  type AddOptions,
  addTenant,
  createTenant,
  editTenant,
  findTenant,
  type NewTenant,
  type RemoveOptions,
  removeTenant,
  type TenantChange,
} from "./tenants.js";
export { exportTenants, type ImportOptions, importTenants } from "./transfer.js";
export { type Verification, type VerifyOptions, verifyIsolation } from "./verify-isolation.js";
export type { TenantResult } from "./workers.js";
