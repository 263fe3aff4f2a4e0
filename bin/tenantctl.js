#!/usr/bin/env node
import { existsSync } from "node:fs";
import module from "node:module";

// Node 22 and later keep what they compiled, and start sooner the next time.
/** @type {{ enableCompileCache?: () => void }} */ (module).enableCompileCache?.();

const cli = new URL("../dist/cli/main.js", import.meta.url);

if (existsSync(cli)) {
  const { main } = await import(cli.href);
  process.exitCode = await main(process.argv);
} else {
  console.error(
    "error: tenantctl is not built (no dist/ in its folder)\nhint: run `npm install` or `npm run build` there",
  );
  process.exitCode = 2;
}
