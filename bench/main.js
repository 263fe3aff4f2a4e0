// npm run bench: measures the promises, prints them, and writes them down.
import { Bench } from "./bench.js";
import { readOptions, usage } from "./options.js";
import { renderSection, writeSection } from "./results.js";
import * as createTenant from "./scenarios/create-tenant.js";
import * as full from "./scenarios/full.js";
import * as growth from "./scenarios/growth.js";
import * as limit from "./scenarios/limit.js";
import * as memory from "./scenarios/memory.js";
import * as newMigration from "./scenarios/new-migration.js";
import * as nothingPending from "./scenarios/nothing-pending.js";
import * as refresh from "./scenarios/refresh.js";
import * as registry from "./scenarios/registry.js";
import * as runtime from "./scenarios/runtime.js";
import * as startup from "./scenarios/startup.js";
import * as status from "./scenarios/status.js";

const scenarios = [
  limit,
  full,
  nothingPending,
  status,
  newMigration,
  createTenant,
  growth,
  registry,
  refresh,
  memory,
  runtime,
  startup,
];

const argv = process.argv.slice(2);
const options = readOptions(argv, process.env.TENANTCTL_BENCH_DATABASE);
if (options === undefined) {
  console.log(`${usage}\nscenarios: ${scenarios.map((scenario) => scenario.name).join(", ")}`);
} else {
  await measure(options);
}

/** @param {import("./options.js").Options} options */
async function measure(options) {
  const { only, out } = options;
  const unknown = only.filter((name) => !scenarios.some((scenario) => scenario.name === name));
  if (unknown.length > 0) throw new Error(`no such scenario: ${unknown.join(", ")}`);
  const titles = scenarios.map((scenario) => scenario.title);
  const bench = new Bench(options);
  try {
    for (const scenario of scenarios.filter(({ name }) => only.length === 0 || only.includes(name))) {
      console.error(scenario.title);
      const section = await scenario.run(bench);
      const text = renderSection(section, bench.machine(), commandFor(scenario.name, options));
      console.log(text);
      writeSection(out, text, titles);
    }
  } finally {
    await bench.close();
  }
}

/**
 * The command that measures this scenario in the same way.
 * @param {string} name @param {import("./options.js").Options} options
 */
function commandFor(name, { tenants, rounds, sizes, major, database, disk }) {
  const flags = [
    `--only ${name}`,
    tenants && `--tenants ${tenants}`,
    `--rounds ${rounds}`,
    name === "growth" && `--sizes ${sizes.join(",")}`,
    database ? "--database <url>" : `--pg ${major}`,
    disk && "--disk",
  ];
  return `npm run bench -- ${flags.filter(Boolean).join(" ")}`;
}
