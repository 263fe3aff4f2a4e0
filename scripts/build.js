// Builds dist/: beside the old one, then swapped in, so that a command that runs meanwhile finds a whole one.
import { execFileSync } from "node:child_process";
import { existsSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

/** @param {string[]} args */
function node(...args) {
  execFileSync(process.execPath, args, { cwd: root, stdio: "inherit" });
}

process.chdir(root);
for (const folder of [".build", ".build-old"]) rmSync(folder, { recursive: true, force: true });
try {
  node(tsc, "--outDir", ".build");
} catch {
  process.exit(1); // tsc has said why
}
if (existsSync("dist")) renameSync("dist", ".build-old");
renameSync(".build", "dist");
rmSync(".build-old", { recursive: true, force: true });
if (existsSync("scripts/config-schema.js")) node("scripts/config-schema.js");
