import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// What takes longest begins first, so that no worker is left alone with it in the end.
const longest = ["drills/kill", "cli/everywhere", "cli/exec", "database/connect", "cli/refused-config", "drills/crash"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = longest.findIndex((name) => moduleId.endsWith(`${name}.test.ts`));
      return at === -1 ? longest.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

// What is imported before all else, to change what others import, needs a process of its own.
const alone = ["test/runtime/tracing.test.ts"];

/** How each file is run. */
export const files = {
  environment: "node",
  setupFiles: "test/support/each-file.ts",
  pool: "forks" as const,
  // as the command has them: most files load a parser or a database in WebAssembly, and none lives long enough to gain by its optimisation
  execArgv: ["--wasm-lazy-compilation", "--no-wasm-tier-up", "--no-wasm-dynamic-tiering"],
  testTimeout: 120_000,
  hookTimeout: 120_000,
};

export const globalSetup = "test/support/servers.ts";

export default defineConfig({
  test: {
    globalSetup,
    sequence: { sequencer: LongestFirst },
    maxWorkers: 2,
    teardownTimeout: 30_000,
    reporters: ["default", "json"],
    outputFile: { json: ".vitest/report.json" },
    projects: [
      // Starting a process and loading everything for each file is a third of the time. What a test changes in its process it takes back.
      { test: { ...files, name: "kept", include: ["test/**/*.test.ts"], exclude: alone, isolate: false } },
      { test: { ...files, name: "alone", include: alone, isolate: true } },
    ],
  },
});
