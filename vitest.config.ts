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

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    environment: "node",
    globalSetup: "test/support/servers.ts",
    setupFiles: "test/support/each-file.ts",
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    maxWorkers: 2,
    // Starting a process and loading everything for each file is a third of the time. What a test changes in the process it takes back.
    isolate: false,
    // as the command has them: most files load a parser or a database in WebAssembly, and none lives long enough to gain by its optimisation
    execArgv: ["--wasm-lazy-compilation", "--no-wasm-tier-up", "--no-wasm-dynamic-tiering"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    reporters: ["default", "json"],
    outputFile: { json: ".vitest/report.json" },
  },
});
