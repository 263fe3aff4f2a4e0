// The runtime room: the current tenant, and a database whose every statement is that tenant's.

import { AsyncLocalStorage } from "node:async_hooks";
import type { IncomingMessage } from "node:http";
import type { DatabaseSettings } from "../config/connection.js";
import { databaseAt, type LoadOptions, loadConfig } from "../config/load.js";
import type { Turn } from "../database/checkout.js";
import { type Driver, driverOf } from "../database/driver.js";
import type { Client, Pool, PoolClient } from "../database/follow.js";
import type { Scope } from "../database/guard.js";
import { searchPath } from "../database/quote.js";
import { tenantRole } from "../database/roles.js";
import { TenantctlError } from "../errors.js";
import type { Tenant } from "../registry/index.js";
import { checkIdentifier, shown } from "../registry/names.js";
import type { Tenants } from "./choose.js";
import { type ConnectMiddleware, type ConnectOptions, connectMiddleware } from "./connect.js";
import { type Directory, type DirectoryOptions, type Listed, openDirectory, type TenantFilter } from "./directory.js";
import {
  type FastifyOptions,
  type FastifyPlugin,
  type FastifyReplyLike,
  type FastifyRequestLike,
  fastifyPlugin,
} from "./fastify.js";
import {
  type FetchHandler,
  type FetchOptions,
  fetchHandler,
  type HonoContextLike,
  type HonoMiddleware,
  type HonoOptions,
  honoMiddleware,
} from "./fetch.js";
import { type PerTenantOptions, perTenant } from "./per-tenant.js";
import { type FollowTarget, openPool, type PoolSettings, Pools } from "./pools.js";
import { configRegistry, givenRegistry, type TenantSource } from "./registry.js";
import { inTransaction, type TransactionOptions } from "./transaction.js";

export interface TenancyOptions extends DirectoryOptions, PoolSettings {
  /** The config file, or where and how to look for it. Default: as the command looks for it. */
  config?: string | LoadOptions;
  /** A database URL that goes before the config's: the application's role is seldom the owner's. */
  database?: string;
  /** A pool of pg that is there already. `close()` leaves it open. */
  pool?: Pool;
  /** Who the tenants are, in place of the config's file. With it and `pool` or `database` no config is needed. */
  registry?: TenantSource;
  /** Schemas that follow the tenant's in the search_path. Default: the config's. */
  sharedSchemas?: readonly string[];
  /**
   * What keeps tenants apart: the search_path alone, or a database role for each, which every statement takes on. Default: the
   * config's; `schema` where none is needed.
   */
  isolation?: "schema" | "role";
}

/** The tenants of an application, and its database. */
export interface Tenancy {
  /**
   * The tenant that a Host header leads to, from what was read of the registry last, one that is suspended too; undefined for whatever else
   * it holds. Costs a look into a map.
   */
  resolveHost(host: string): Tenant | undefined;
  /** The same; where none is known, the registry is read again first (once for all who ask, and not more often than `missMs`). */
  findHost(host: string): Promise<Tenant | undefined>;
  /**
   * Runs `fn`, and all that it awaits, with this current tenant. A tenant's name or what `resolveHost` gave; its schema is always
   * the registry's.
   *
   * @throws TenantctlError TENANT_UNKNOWN, TENANT_SUSPENDED, before `fn` runs.
   */
  withTenant<T>(tenant: string | Pick<Tenant, "name">, fn: () => T | Promise<T>): Promise<T>;
  /** All tenants as they were read last, for jobs: the active ones, unless `state` says otherwise, that have all of these labels. */
  tenants(filter?: TenantFilter): Tenant[];
  /** Undefined outside of `withTenant` and of requests. (A statement there is refused: NO_TENANT.) */
  currentTenant(): Tenant | undefined;
  /**
   * One statement, for the current tenant, as `pool.query` takes it.
   *
   * @throws TenantctlError NO_TENANT, TENANT_UNKNOWN when it was removed, TENANT_SUSPENDED; nothing is sent then.
   */
  query: PoolClient["query"];
  /**
   * Runs `fn` in a transaction of the current tenant: committed when it ends, rolled back when it throws.
   *
   * @throws what `fn` throws; TenantctlError NO_TENANT, TENANT_UNKNOWN; TRANSACTION_BROKEN when a failure in it was swallowed, so
   * that nothing could be committed.
   */
  transaction<T>(fn: (client: PoolClient) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** A pool of pg, to look at, that follows the current tenant: for Kysely, Drizzle, Knex. For Prisma's adapter see `perTenant`. */
  readonly pool: Pool;
  /**
   * A client of pg, to look at, that connects at its first statement, for the tenant that is current then, and whose connection goes
   * back to the pool when nothing is under way and no transaction is open. SET, LISTEN and temporary tables last no longer.
   */
  client(): Client;
  /** The module pg, to look at, whose clients are such: for ORMs that open clients of their own (Sequelize, TypeORM, MikroORM). */
  readonly driver: Driver;
  /**
   * A second pool with the same guards, such as one of a read replica: it has the tenants' schemas too, and under roles the same
   * roles.
   *
   * @throws as `createTenancy`; TenantctlError USAGE where neither a URL nor a pool is given, or both.
   */
  follow(target: FollowTarget): Promise<Pool>;
  /**
   * For what must not be shared by tenants, such as a Prisma client, which writes the schema's name into its SQL, and a loader that
   * collects what is asked for: the function that it returns gives the current tenant's own.
   */
  perTenant<T>(make: (tenant: Tenant) => T, options?: PerTenantOptions<T>): () => T;
  /** For Express, Connect, NestJS and alike: `app.use(tenancy.middleware())`. */
  middleware<Request extends IncomingMessage = IncomingMessage>(
    options?: ConnectOptions<Request>,
  ): ConnectMiddleware<Request>;
  /** For Fastify: `app.register(tenancy.fastify())`. */
  fastify<Request extends FastifyRequestLike = FastifyRequestLike, Reply extends FastifyReplyLike = FastifyReplyLike>(
    options?: FastifyOptions<Request, Reply>,
  ): FastifyPlugin;
  /** For Hono: `app.use(tenancy.hono())`. */
  hono<Context extends HonoContextLike = HonoContextLike>(options?: HonoOptions<Context>): HonoMiddleware<Context>;
  /** For whatever takes a `Request` and gives a `Response`. */
  fetch<Rest extends unknown[]>(handler: FetchHandler<Rest>, options?: FetchOptions): FetchHandler<Rest>;
  /** Ends the pools of our own when all their connections are back; a pool that was given stays open. */
  close(): Promise<void>;
}

/**
 * Opens the database and reads the registry.
 *
 * @throws TenantctlError CONFIG_NOT_FOUND, CONFIG_INVALID, DATABASE_UNREACHABLE, DATABASE_REFUSED, DATABASE_LOCKED; DRIVER for a
 * pool that can't be followed.
 */
export async function createTenancy(options: TenancyOptions = {}): Promise<Tenancy> {
  const { source, sharedSchemas, isolation, settings, closeSource } = await settle(options);
  const directory = await openDirectory(source, sharedSchemas, options).catch(async (error: unknown) => {
    await closeSource();
    throw error;
  });
  const close = async () => {
    directory.close();
    await closeSource();
  };
  const current = new AsyncLocalStorage<string>();
  let database: string | undefined; // known before anybody's turn it is
  const turn = turnOf(directory, current, ({ schema }) => ({
    path: searchPath([schema, ...sharedSchemas]),
    role: database === undefined ? undefined : tenantRole(database, schema),
  }));
  // They are nobody's, whoever asks for them.
  const pools = new Pools((target, at) => current.exit(() => openPool(target, at, turn)));
  try {
    const following = await pools.open(options, settings);
    if (isolation === "role") {
      database = await following.databaseName().catch(async (error: unknown) => {
        await following.close();
        throw error;
      });
    }
    return tenancyOf(directory, current, following.pool, {
      follow: (target) => pools.follow(target),
      async close() {
        await close();
        await pools.close();
      },
    });
  } catch (error) {
    await close();
    throw error;
  }
}

function tenancyOf(
  directory: Directory,
  current: AsyncLocalStorage<string>,
  pool: Pool,
  pools: Pick<Tenancy, "follow" | "close">,
): Tenancy {
  const driver = driverOf(pool);
  const tenants: Tenants = {
    run: (tenant, fn) => current.run(tenant.name, fn),
    resolveHost: directory.byHost,
    findHost: directory.findByHost,
    findName: directory.findByName,
  };
  async function findAndRun<T>(name: string, fn: () => Promise<T>): Promise<T> {
    const found = await directory.findByName(name);
    return await current.run(served(name, found).name, fn);
  }
  return {
    resolveHost: directory.byHost,
    findHost: directory.findByHost,
    withTenant(tenant, fn) {
      const name = typeof tenant === "string" ? tenant : tenant?.name; // undefined is nobody's name
      // Awaited within: the queries of Knex, Drizzle and Prisma begin when somebody waits for them.
      const within = async () => await fn();
      const found = directory.byName(name);
      return found?.state === "active" ? current.run(found.name, within) : findAndRun(name, within);
    },
    currentTenant() {
      const name = current.getStore();
      return name === undefined ? undefined : directory.byName(name);
    },
    tenants: directory.list,
    query: pool.query as PoolClient["query"],
    transaction: (fn, options) => inTransaction(pool, fn, options),
    pool,
    client: () => new driver.Client(),
    driver,
    perTenant: (make, options) =>
      perTenant(
        () => {
          const name = current.getStore();
          if (name === undefined) throw noTenant();
          return served(name, directory.byName(name));
        },
        make,
        options,
      ),
    middleware: (options) => connectMiddleware(tenants, options),
    fastify: (options) => fastifyPlugin(tenants, options),
    hono: (options) => honoMiddleware(tenants, options),
    fetch: (handler, options) => fetchHandler(tenants, handler, options),
    ...pools,
  };
}

interface Settled {
  source: Listed;
  sharedSchemas: readonly string[];
  isolation: "schema" | "role";
  settings(): DatabaseSettings;
  closeSource(): Promise<void>;
}

/** What the options say, and where they are silent the config; it is not looked for when they say it all. */
async function settle({
  config,
  database,
  pool,
  registry,
  sharedSchemas,
  isolation,
}: TenancyOptions): Promise<Settled> {
  const load: LoadOptions = {
    ...(typeof config === "string" ? { config } : config),
    ...(database === undefined ? {} : { database }),
  };
  for (const schema of sharedSchemas ?? []) checkIdentifier("schema name", schema);
  if (registry !== undefined && (pool !== undefined || load.database !== undefined) && load.config === undefined) {
    return {
      source: givenRegistry(registry),
      sharedSchemas: sharedSchemas ?? [],
      isolation: isolation ?? "schema",
      settings: () => databaseAt(load),
      closeSource: nothing,
    };
  }
  const found = await loadConfig(load);
  const own = configRegistry(found, load);
  return {
    source: registry === undefined ? own : givenRegistry(registry),
    sharedSchemas: sharedSchemas ?? found.sharedSchemas,
    isolation: isolation ?? found.isolation,
    settings: found.database,
    closeSource: registry === undefined ? own.close : nothing,
  };
}

async function nothing(): Promise<void> {}

// Looked up for each statement: a tenant that was removed is refused wherever its name still is the current one.
function turnOf(
  directory: Directory,
  current: AsyncLocalStorage<string>,
  wordsFor: (tenant: Tenant) => Pick<Scope, "path" | "role">,
): Turn {
  const scopes = new WeakMap<Tenant, Scope>();
  const scopeOf = (tenant: Tenant) => {
    const known = scopes.get(tenant);
    if (known !== undefined) return known;
    const { name, schema } = tenant;
    const refusal = () => {
      const now = directory.byName(name);
      if (now?.schema !== schema) return unknownTenant(name);
      return now.state === "active" ? undefined : suspendedTenant(name);
    };
    const scope: Scope = { ...wordsFor(tenant), refusal };
    scopes.set(tenant, scope);
    return scope;
  };
  const look = () => {
    const name = current.getStore();
    if (name === undefined) return undefined;
    return scopeOf(served(name, directory.byName(name)));
  };
  return {
    look,
    take() {
      const scope = look();
      if (scope !== undefined) return scope;
      throw noTenant();
    },
  };
}

function noTenant(): TenantctlError {
  return new TenantctlError("NO_TENANT", "there is no current tenant, so nothing was sent to the database", {
    hint: "call it within withTenant(…), or behind the middleware",
  });
}

/** @throws TenantctlError TENANT_UNKNOWN, TENANT_SUSPENDED. */
function served(name: string, tenant: Tenant | undefined): Tenant {
  if (tenant === undefined) throw unknownTenant(name);
  if (tenant.state !== "active") throw suspendedTenant(name);
  return tenant;
}

function suspendedTenant(name: string): TenantctlError {
  return new TenantctlError("TENANT_SUSPENDED", `tenant ${shown(name)} is suspended`, {
    hint: `tenantctl edit-tenant ${name} --state active serves it again`,
  });
}

function unknownTenant(name: string): TenantctlError {
  return new TenantctlError("TENANT_UNKNOWN", `no tenant ${shown(name)}`, { hint: "tenantctl list shows them" });
}
