// Builds dist/: beside the old one, then swapped in, so that a command that runs meanwhile finds a whole one.
// Node takes about a millisecond for each module file that it loads: the code goes into a few, the types stay a file a module.
import { execFileSync } from "node:child_process";
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { createJiti } from "jiti";
import { rolldown } from "rolldown";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
for (const folder of [".build", ".build-old"]) rmSync(folder, { recursive: true, force: true });
checkTypes(".build");
await bundle(".build");
if (existsSync("dist")) renameSync("dist", ".build-old");
renameSync(".build", "dist");
rmSync(".build-old", { recursive: true, force: true });
await writeConfigSchema("tenants.config.schema.json");

/** @param {string} folder where the declarations go */
function checkTypes(folder) {
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  try {
    execFileSync(process.execPath, [tsc, "--emitDeclarationOnly", "--outDir", folder], { stdio: "inherit" });
  } catch {
    process.exit(1); // tsc has said why
  }
}

/** @param {string} folder */
async function bundle(folder) {
  const build = await rolldown({
    input: {
      "cli/main": "src/cli/main.ts",
      index: "src/index.ts",
      "runtime/index": "src/runtime/index.ts",
      "runtime/file-thread": "src/runtime/file-thread.ts",
    },
    external: /^[^./]/, // what is installed stays where npm puts it
    platform: "node",
  });
  await build.write({ dir: folder, format: "esm", chunkFileNames: "chunks/[name].js" });
  await build.close();
}

/**
 * What editors read, from the zod schema.
 * @param {string} file
 */
async function writeConfigSchema(file) {
  /** @type {typeof import("../src/config/schema.ts")} */
  const { configJsonSchema } = await createJiti(import.meta.url, { fsCache: false }).import("../src/config/schema.ts");
  const json = JSON.stringify(configJsonSchema(), null, 2);
  // short lists on one line, as the formatter has them
  const formatted = json.replace(
    /\[\n([^[\]{}]*)\n\s*\]/g,
    (_, items) => `[${items.trim().replace(/\s*\n\s*/g, " ")}]`,
  );
  writeFileSync(file, `${formatted}\n`);
}
