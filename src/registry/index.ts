// The registry room's face: who the tenants are.

export type { Merged, Registry, Tenant, TenantEdit, TenantEdited, TenantState } from "./registry.js";
