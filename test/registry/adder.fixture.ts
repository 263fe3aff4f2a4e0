// Registry tests: a process of its own that adds tenants to a config, as another command would.

const [config, dist, ...names] = process.argv.slice(2);
const { loadConfig } = await import(`${dist}/config/load.js`);
const { openRegistry } = await import(`${dist}/registry/registry.js`);
const registry = openRegistry(await loadConfig({ config, env: {} }), () => Promise.reject(new Error("no database")));
for (const name of names)
  await registry.add({ name, schema: name, hosts: [`${name}.polls.local`], labels: {}, state: "active" });

export {};
