// The migrations room: Umzug, loaded without waiting for the command line that it brings along.

import { createRequire, Module } from "node:module";
import { dirname, join } from "node:path";

type UmzugPackage = typeof import("umzug");

/**
 * Loads Umzug. Its own command line takes four fifths of its loading, on every run of ours, and is called by nobody here:
 * it is put off until somebody in this process asks for it.
 */
export function loadUmzug(): UmzugPackage {
  const require = createRequire(import.meta.url);
  const file = join(dirname(require.resolve("umzug")), "cli.js");
  if (require.cache[file] === undefined) {
    const later = new Module(file);
    later.loaded = true;
    Object.defineProperty(later.exports, "UmzugCLI", {
      enumerable: true,
      get() {
        delete require.cache[file];
        return (require(file) as { UmzugCLI: unknown }).UmzugCLI;
      },
    });
    require.cache[file] = later;
  }
  // An import would read every export, this one too.
  return require("umzug") as UmzugPackage;
}
