// A config file that changes while the application runs, with the library as it is built: a thread of its own reads it.
import { rename, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { whenFileEnds } from "../support/ending.ts";
import { createProject } from "../support/project.ts";

test("is read in a thread: whole, with everything that is wrong with it, and never while it is unchanged", async () => {
  const built = pathToFileURL(new URL("../../dist/runtime/index.js", import.meta.url).pathname).href;
  const { createTenancy }: typeof import("../../src/runtime/index.js") = await import(built);
  const tenants = Object.fromEntries(
    Array.from({ length: 1_234 }, (_, at) => [`t${at}`, { hosts: [`t${at}.polls.local`], labels: { at: String(at) } }]),
  );
  const project = await createProject({ database: await createDatabase(), tenants });
  let threads = 0;
  const count = () => threads++;
  process.on("worker", count);
  whenFileEnds(async () => void process.off("worker", count));
  const errors: Error[] = [];
  const tenancy = await createTenancy({
    config: { config: project.configFile, env: {} },
    refreshMs: 1_000_000,
    missMs: 0,
    onError: (error) => errors.push(error),
  });
  whenFileEnds(() => tenancy.close());
  const text = await project.read("tenants.config.json");
  const replace = async (now: string) => {
    await writeFile(project.path("new"), now);
    await rename(project.path("new"), project.configFile);
  };
  expect(tenancy.tenants()).toHaveLength(1_234);
  expect(threads).toBe(0);

  await replace(text.replace('"t1233.polls.local"', '"loki.polls.local"'));
  expect(await tenancy.findHost("loki.polls.local")).toMatchObject({ name: "t1233", labels: { at: "1233" } });
  expect(tenancy.tenants()).toHaveLength(1_234);
  expect(threads).toBe(1);
  expect(await tenancy.findHost("nobody.polls.local")).toBeUndefined();
  expect(threads).toBe(1);

  await replace(text.replace('"hosts"', '"host"'));
  expect(await tenancy.findHost("nobody.polls.local")).toBeUndefined();
  expect(threads).toBe(2);
  expect(errors).toMatchObject([{ code: "CONFIG_INVALID", message: expect.stringContaining("host") }]);
  expect(tenancy.resolveHost("t0.polls.local")).toMatchObject({ name: "t0" });
});
