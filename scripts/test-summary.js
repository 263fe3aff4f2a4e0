// Prints `N passed, N failed` (and `, N skipped`) from vitest's JSON report. Fails unless all went well.
import { readFileSync } from "node:fs";

/** @typedef {{ status: string, assertionResults: { status: string }[] }} TestFile */

/** @returns {TestFile[]} */
function readReport() {
  try {
    return JSON.parse(readFileSync(new URL("../.vitest/report.json", import.meta.url), "utf8")).testResults;
  } catch {
    return [{ status: "failed", assertionResults: [] }]; // vitest ended before it reported, or never started
  }
}

const files = readReport();
const statuses = files.flatMap((file) => file.assertionResults.map((result) => result.status));
/** @param {string[]} wanted */
const count = (...wanted) => statuses.filter((status) => wanted.includes(status)).length;

// a file that could not be loaded, or whose hooks failed, is a failure though none of its tests is one
const brokenFiles = files.filter(
  (file) => file.status === "failed" && !file.assertionResults.some((result) => result.status === "failed"),
);
const passed = count("passed");
const failed = count("failed") + brokenFiles.length;
const skipped = count("skipped", "pending", "todo", "disabled");

console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed > 0 ? 1 : 0;
