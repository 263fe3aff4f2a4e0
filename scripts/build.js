// Builds dist/: beside the old one, then swapped in, so that a command that runs meanwhile finds a whole one.
// Node takes about a millisecond for each module file that it loads: the code goes into a few, the types stay a file a module.
import { execFileSync } from "node:child_process";
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createJiti } from "jiti";
import { rolldown } from "rolldown";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
for (const folder of [".build", ".build-old"]) rmSync(folder, { recursive: true, force: true });
checkTypes(".build");
await bundle(".build");
await bundleCommonJs(".build");
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
 * The library once more for `require`: Jest and TypeScript's node16 take no ES module there. The command needs none of it.
 * @param {string} folder
 */
async function bundleCommonJs(folder) {
  const build = await rolldown({
    input: {
      index: "src/index.ts",
      "runtime/index": "src/runtime/index.ts",
      "runtime/file-thread": "src/runtime/file-thread.ts",
    },
    external: /^[^./]/,
    platform: "node",
    plugins: [{ name: "require what is installed", renderChunk: requireInstalled }],
  });
  const output = await build.write({
    dir: `${folder}/cjs`,
    format: "cjs",
    exports: "named",
    chunkFileNames: "chunks/[name].js",
    minify: { compress: false, mangle: false },
  });
  await build.close();
  writeFileSync(`${folder}/cjs/package.json`, '{ "type": "commonjs" }\n');
  for (const chunk of output.output) {
    if (chunk.type === "chunk" && chunk.isEntry && chunk.exports.length > 0)
      await writeCommonJsTypes(folder, chunk.name, chunk.exports);
  }
}

/**
 * The types are those of the ES module, whose values are declared once more.
 * @param {string} folder
 * @param {string} entry
 * @param {string[]} names what it exports
 */
async function writeCommonJsTypes(folder, entry, names) {
  const module = await import(pathToFileURL(`${folder}/${entry}.js`).href);
  const from = `"${entry.includes("/") ? "../.." : ".."}/${entry}.js"`;
  const face = `import(${from}, { with: { "resolution-mode": "import" } })`;
  const lines = [`export type * from ${from} with { "resolution-mode": "import" };`, `type Face = typeof ${face};`];
  for (const name of names) {
    lines.push(`export declare const ${name}: Face["${name}"];`);
    if (/^class\b/.test(String(module[name]))) lines.push(`export type ${name} = ${face}.${name};`);
  }
  writeFileSync(`${folder}/cjs/${entry}.d.ts`, `${lines.join("\n")}\n`);
}

// Jest runs no `import()`. One whose address is known only when it runs, of a config or a migration, stays as it is.
/** @param {string} code */
function requireInstalled(code) {
  const load = (/** @type {string} */ name) =>
    `{ const it = require(${name}); return it.__esModule ? it : { ...it, default: it }; }`;
  return code.replace(/\bimport\(("[^"]+")\)/g, (_, name) => `Promise.resolve().then(() => ${load(name)})`);
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
