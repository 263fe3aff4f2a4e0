// Runs before each test file; a worker, and what it has loaded, serves many files one after the other.
import { afterAll } from "vitest";
import { endFile } from "./ending.ts";

// biome-ignore lint/correctness/noEmptyPattern: vitest wants a destructuring pattern here
afterAll(({}, file) => endFile(file));
