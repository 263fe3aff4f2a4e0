// Questions to the catalog are not compiled: over many schemas they look costly, and compiling them takes the server far longer than answering them.
import { tmpdir } from "node:os";
import pg from "pg";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { examine, migrate, status, verifyIsolation } from "../../src/fleet/index.js";
import { createDatabase, servers } from "../support/database.ts";
import { type IsolatedFleet, isolatedFleet } from "./isolated.ts";

// What is there once for each tenant, or more often. A look at one role by its name is nothing that a server would compile.
const catalogs = /\b(pg_class|pg_proc|pg_namespace|pg_depend|pg_rewrite|pg_inherits)\b/;

describe.each(servers())("PostgreSQL $major", (server) => {
  let made: IsolatedFleet;
  beforeAll(async () => {
    const database = await createDatabase(server);
    made = await isolatedFleet(database, ["thor", "loki"]);
    expect(await migrate(made.fleet, {})).toMatchObject({ ok: true });
    // The server sends the plan of each statement, with the settings that it was made under.
    for (const setting of [
      "session_preload_libraries = auto_explain",
      "auto_explain.log_min_duration = 0",
      "auto_explain.log_level = notice",
      "auto_explain.log_settings = on",
      "jit = on",
      "jit_above_cost = 0",
    ])
      await database.query(`alter database ${database.name} set ${setting}`);
  });

  const plans: string[] = [];
  const listen = () => {
    plans.length = 0;
    const { connect } = pg.Client.prototype;
    vi.spyOn(pg.Client.prototype, "connect").mockImplementation(function (this: pg.Client, ...args: unknown[]) {
      this.on("notice", ({ message = "" }) => plans.push(message));
      return Reflect.apply(connect, this, args);
    } as typeof connect);
  };
  afterEach(() => vi.restoreAllMocks());

  test.each([
    ["verify-isolation", 10, async () => verifyIsolation(await made.again(), {}, { attempts: 0 })],
    ["doctor", 10, () => examine({ config: made.project.configFile, env: { HOME: tmpdir() } })],
    ["status", 1, async () => status(await made.again(), {})],
  ])("%s asks without compiling", async (_command, least, run) => {
    listen();
    await run();
    const ofCatalogs = plans.filter((plan) => /plan:/.test(plan) && catalogs.test(plan));
    expect(ofCatalogs.length).toBeGreaterThanOrEqual(least);
    expect(ofCatalogs.filter((plan) => !/Settings:.*jit = 'off'/.test(plan) || /^JIT:/m.test(plan))).toEqual([]);
  });
});
