// node-pg-migrate's API, a call a tenant. Its lock is one for the database, so more than one at once means without it.
import { runner } from "node-pg-migrate";
import { forEachTenant } from "./job.js";

const silent = () => {};

/** @param {import("./job.js").Job} job */
export const migrate = (job) =>
  forEachTenant(job, (tenant) =>
    runner({
      databaseUrl: job.url,
      dir: job.migrations,
      direction: "up",
      schema: tenant,
      createSchema: true,
      migrationsTable: "pgmigrations",
      noLock: job.concurrency > 1,
      logger: { debug: silent, info: silent, warn: silent, error: console.error },
    }),
  );
