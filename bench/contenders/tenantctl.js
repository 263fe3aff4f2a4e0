// tenantctl itself, as a user runs it: the built binary.
const binary = new URL("../../bin/tenantctl.js", import.meta.url).pathname;

/** @param {...string} args @returns {import("../measure.js").Command} */
export const tenantctlCommand = (...args) => ({ file: process.execPath, args: [binary, ...args] });

/** @param {number} [concurrency] its default where none is given @returns {import("./contender.js").Contender} */
export function tenantctl(concurrency) {
  const options = concurrency === undefined ? [] : ["--concurrency", String(concurrency)];
  return {
    name: concurrency === undefined ? "tenantctl" : `tenantctl --concurrency ${concurrency}`,
    tool: "tenantctl",
    migrate: ({ config, url }) => [tenantctlCommand("migrate", "--config", config, "--database", url, ...options)],
    status: ({ config, url }) => [tenantctlCommand("status", "--config", config, "--database", url)],
    create: ({ config, url }, tenant) => [
      tenantctlCommand("create-tenant", tenant, "--config", config, "--database", url),
    ],
  };
}
