// What the examples ask npm for is what their tests ran with.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPackage, root } from "./example.ts";

const examples = (await readdir(join(root, "examples"), { withFileTypes: true })).filter((one) => one.isDirectory());

test.each(examples.map(({ name }) => name))("%s depends on what is tested, and on this tenantctl", async (name) => {
  const { dependencies } = await readPackage(join(root, "examples", name));
  for (const [dependency, range] of Object.entries(dependencies)) {
    if (dependency === "tenantctl") continue;
    const { version } = await readPackage<{ version: string }>(join(root, "node_modules", dependency));
    expect(`${dependency}@${range}`).toBe(`${dependency}@^${version}`);
  }
  expect(dependencies.tenantctl).toBe("file:../..");
});
