// Who may import whom: imports go down only. `npm run lint:imports` checks it, and so does test/architecture.test.ts.

/** Each room, and what it may import besides itself. */
const rooms = {
  "errors.ts": [],
  "events.ts": ["errors.ts"],
  "config/": ["errors.ts"],
  "database/": ["errors.ts", "config/"],
  "registry/": ["errors.ts", "events.ts", "config/", "database/"],
  "migrations/": ["errors.ts", "events.ts", "config/", "database/", "registry/"],
  "fleet/": ["errors.ts", "events.ts", "config/", "database/", "registry/", "migrations/"],
  "runtime/": ["errors.ts", "config/", "database/", "registry/"],
  "cli/": ["errors.ts", "events.ts", "config/", "registry/index.ts", "fleet/index.ts"],
};

/** Rooms that know another one by its types only. */
const typesOnly = { "database/": ["config/"], "migrations/": ["config/", "registry/"] };

/** Packages that one room alone may import. */
const owners = {
  "config/": ["cosmiconfig"],
  "database/": ["pg", "@electric-sql/pglite"],
  "migrations/": ["umzug"],
  "cli/": ["commander", "@commander-js/extra-typings", "chalk", "ora", "@bomb.sh/tab"],
};

const literally = (text) => text.replaceAll(".", "\\.");
const inRoom = (room) => `^src/${literally(room)}${room.endsWith("/") ? "" : "$"}`;
const inPackage = (name) => `(^|node_modules/)(@types/)?${literally(name)}(/|$)`;

module.exports = {
  forbidden: [
    ...Object.entries(rooms).map(([room, allowed]) => ({
      name: `${room} imports ${allowed.join(", ") || "nothing"}`,
      severity: "error",
      from: { path: inRoom(room) },
      to: { path: "^src/", pathNot: [room, ...allowed].map(inRoom) },
    })),
    ...Object.entries(typesOnly).map(([room, known]) => ({
      name: `${room} imports only types of ${known.join(", ")}`,
      severity: "error",
      from: { path: inRoom(room) },
      to: { path: known.map(inRoom), dependencyTypesNot: ["type-only"] },
    })),
    ...Object.entries(owners).map(([room, packages]) => ({
      name: `only ${room} imports ${packages.join(", ")}`,
      severity: "error",
      from: { path: "^src/", pathNot: inRoom(room) },
      to: { path: packages.map(inPackage) },
    })),
    {
      name: "every file of src/ belongs to a room",
      severity: "error",
      from: { path: "^src/", pathNot: ["index.ts", ...Object.keys(rooms)].map(inRoom) },
      to: {},
    },
    { name: "no circular imports", severity: "error", from: {}, to: { circular: true } },
    { name: "every import resolves", severity: "error", from: {}, to: { couldNotResolve: true } },
    {
      name: "only declared dependencies",
      severity: "error",
      from: { path: "^src/" },
      to: {
        dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown", "unknown", "undetermined"],
        dependencyTypesNot: ["type-only"],
      },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "require", "node", "default", "types"],
    },
  },
};
