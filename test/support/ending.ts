// What a test file opened is closed when the file ends: last in, first out, and after the file's own hooks.
import type { RunnerTask } from "vitest";

/** Called with whether a test of the file failed. Throwing fails the file. */
type Ending = (failed: boolean) => Promise<unknown>;

const endings: Ending[] = [];

/** Callable anywhere: at a test file's top level, in a hook, in a test. */
export function whenFileEnds(ending: Ending): void {
  endings.push(ending);
}

/** Ends what the file opened. For each-file.ts, which runs before each test file: the file's own hooks come before this one. */
export async function endFile(file: RunnerTask): Promise<void> {
  const failed = hasFailed(file);
  const problems: unknown[] = [];
  for (const ending of endings.splice(0).reverse()) {
    await ending(failed || problems.length > 0).catch((error: unknown) => problems.push(error));
  }
  if (problems.length === 1) throw problems[0];
  if (problems.length > 1) throw new AggregateError(problems, problems.map(String).join("\n"));
}

function hasFailed(task: RunnerTask): boolean {
  return task.result?.state === "fail" || (task.type === "suite" && task.tasks.some(hasFailed));
}
