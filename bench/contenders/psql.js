// The raw limit: the same SQL and the same ledger rows, written to files beforehand, in streams of psql.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/** @typedef {import("../fleet.js").Fleet} Fleet */

/** @type {string | undefined} */
export const psqlVersion = spawnSync("psql", ["--version"], { encoding: "utf8" }).stdout?.trim().split(" ").at(2);

/** @param {number} streams @returns {import("./contender.js").Contender} */
export function psql(streams) {
  /** @param {Fleet} fleet @param {string[]} tenants @param {string[]} files @param {boolean} create */
  function commands(fleet, tenants, files, create) {
    const migrations = files.map((path) => ({ name: basename(path, ".sql"), text: readFileSync(path, "utf8") }));
    return Array.from({ length: Math.min(streams, tenants.length) }, (_, stream) => {
      const file = join(fleet.folder, `stream-${stream}.sql`);
      const share = tenants.filter((_, index) => index % streams === stream);
      writeFileSync(file, share.map((tenant) => transaction(tenant, migrations, create)).join(""));
      return { file: "psql", args: ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", fleet.url, "-f", file] };
    });
  }
  return {
    name: streams === 1 ? "psql, 1 stream" : `psql, ${streams} streams`,
    tool: "psql",
    migrate: (fleet) => commands(fleet, fleet.tenants, fleet.pending(), fleet.applied === 0),
    create: (fleet, tenant) => commands(fleet, [tenant], fleet.all(), true),
  };
}

/** @param {string} tenant @param {{ name: string, text: string }[]} migrations @param {boolean} create */
function transaction(tenant, migrations, create) {
  const ledger = `create table ledger (name text primary key, checksum text, run_id text not null,
  applied_at timestamptz not null default now(), duration_ms integer not null);\n`;
  const each = migrations.map(
    ({ name, text }) =>
      `${text}insert into ledger (name, checksum, run_id, duration_ms) values ('${name}', md5('${name}'), 'bench', 0);\n`,
  );
  const begin = `begin;\n${create ? `create schema ${tenant};\n` : ""}set local search_path to ${tenant};\n`;
  return `${begin}${create ? ledger : ""}${each.join("")}commit;\n`;
}
