// Loaded into a process before its own code: at its end, it writes down how much memory it had at its peak.
import { writeFileSync } from "node:fs";

const report = process.env.BENCH_MEMORY_REPORT;
process.on("exit", () => {
  if (report !== undefined) writeFileSync(report, String(process.resourceUsage().maxRSS * 1024));
});
