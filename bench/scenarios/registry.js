// What it costs that the registry is a table in the database: the same commands over the same fleet, listed in a file.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tenantctlCommand } from "../contenders/tenantctl.js";
import { fakeFleet } from "../fake.js";
import { alternate, time } from "../measure.js";
import { duration, times } from "../results.js";

export const name = "registry";
export const title = "The registry in a table";

const header = ["command", "tenants", "table", "file", "ratio"];

// As in the growth scenario.
const gigabytesPerTenant = 0.00025;

/** @param {import("../bench.js").Bench} bench */
export async function run(bench) {
  const count = bench.tenants(50_000);
  const server = await bench.openServer(count * gigabytesPerTenant);
  bench.say(`making ${count} small tenants`);
  const fleet = await fakeFleet(server, count);
  const folder = mkdtempSync(join(tmpdir(), "tenantctl-bench-registry-"));
  try {
    const { file, table } = await registries(folder, fleet);
    const imported = await time([tenantctlCommand("import", file, "-c", table, "--database", fleet.url)]);
    const rows = [];
    for (const verb of ["list", "status", "migrate"]) {
      const command = (/** @type {string} */ config) => tenantctlCommand(verb, "-c", config, "--database", fleet.url);
      const pair = await alternate(
        bench.rounds,
        () => time([command(file)]),
        () => time([command(table)]),
      );
      bench.say(`${verb}: ${duration(pair.theirs)}, file: ${duration(pair.ours)}, ${times(pair.ratio)}`);
      const numbers = [duration(pair.theirs), duration(pair.ours), `**${times(pair.ratio)}**`];
      rows.push([`\`${verb}\``, count.toLocaleString("en"), ...numbers]);
    }
    const notes = [
      "A fleet that is current, of small tenants with a host each. The table is the one that `init --registry table` writes.",
      `\`list\` from a file asks no server. Medians of ${bench.rounds} pairs. \`import\` of all of them, once: ${duration(imported)}.`,
    ];
    return { title, notes, header, rows };
  } finally {
    rmSync(folder, { recursive: true, force: true });
    fleet.close();
    await bench.closeServer(server);
  }
}

/**
 * Two configs of one fleet.
 * @param {string} folder
 * @param {import("../fleet.js").Fleet} fleet
 */
async function registries(folder, fleet) {
  const file = join(folder, "file.json");
  const table = join(folder, "table.json");
  const init = tenantctlCommand("init", "--registry", "table");
  const scaffold = join(folder, "scaffold");
  mkdirSync(scaffold);
  await time([{ ...init, cwd: scaffold }]);
  const entries = Object.fromEntries(fleet.tenants.map((name) => [name, { hosts: [`${name}.polls.local`] }]));
  const migrations = { tenant: fleet.migrations, shared: join(scaffold, "migrations/shared") };
  // the shared migration in both, so that both look at the shared schema
  writeFileSync(file, JSON.stringify({ migrations, tenants: entries }, null, 2));
  writeFileSync(table, JSON.stringify({ migrations, tenants: { table: "public.tenants" } }));
  return { file, table };
}
