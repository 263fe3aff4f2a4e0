// The runtime room's face, `tenantctl/runtime`: what an application follows the current tenant with.

export type { PoolMode } from "../database/guard.js";
export { ProblemsError, TenantctlError } from "../errors.js";
export type { Tenant } from "../registry/index.js";
export type { Choice } from "./choose.js";
export type { ConnectMiddleware, ConnectOptions } from "./connect.js";
export type { FastifyOptions, FastifyPlugin } from "./fastify.js";
export type { FetchHandler, FetchOptions, HonoMiddleware, HonoOptions } from "./fetch.js";
export type { PerTenantOptions } from "./per-tenant.js";
export type { FollowTarget, PoolSettings } from "./pools.js";
export type { ListedTenant, TenantSource } from "./registry.js";
export { createTenancy, type Tenancy, type TenancyOptions } from "./tenancy.js";
export type { TransactionOptions } from "./transaction.js";
