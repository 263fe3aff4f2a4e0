// Registry tests: a process of its own that adds tenants to a config, as another command would; as built, since that starts sooner.

const [config, built, ...names] = process.argv.slice(2);
const { openFleet } = (await import(built as string)) as typeof import("../../src/index.js");
const { registry } = await openFleet({ config, env: {} });
for (const name of names)
  await registry.add({ name, schema: name, hosts: [`${name}.polls.local`], labels: {}, state: "active" });

export {};
