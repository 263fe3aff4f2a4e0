// A fleet to measure: a database of its own, a folder with migrations and config, and the names of its tenants.
import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";

/** @typedef {import("./server.js").Server} Server */

/** What the migrations make in one schema. @typedef {{ tables: number, columns: number, indexes: number, constraints: number }} Shape */

const sources = new URL("migrations/", import.meta.url).pathname;

/** @param {number} count */
export const tenantNames = (count) => Array.from({ length: count }, (_, i) => `t${String(i + 1).padStart(5, "0")}`);

/** @param {string} folder the files' names, in order */
const sqlFiles = (folder) => readdirSync(folder).sort();

const tableNames = sqlFiles(sources).flatMap((file) =>
  [...readFileSync(join(sources, file), "utf8").matchAll(/^create table (\w+)/gm)].map((match) => match[1]),
);

/** @template T @param {string} url @param {(client: pg.Client) => Promise<T>} work */
export async function withClient(url, work) {
  const client = new pg.Client({ connectionString: url, application_name: "bench" });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** @param {Server} server @returns {Promise<string>} the URL of a new database */
async function newDatabase(server) {
  const name = `bench_${randomBytes(6).toString("hex")}`;
  await withClient(server.url, (client) => client.query(`create database ${name} template template0`));
  const url = new URL(server.url);
  url.pathname = name;
  return url.href;
}

/** @param {string} url writes out what earlier runs left, so that it does not happen during the next one */
export const checkpoint = (url) => withClient(url, (client) => client.query("checkpoint"));

/** @param {string} url what autovacuum would have told the planner by now */
export async function vacuumCatalogs(url) {
  const catalogs = "namespace class attribute index constraint depend description type".split(" ");
  const list = catalogs.map((name) => `pg_${name}`).join(", ");
  await withClient(url, (client) => client.query(`vacuum (analyze) ${list}`));
  await checkpoint(url);
}

export class Fleet {
  /** How many migrations its tenants have. */
  applied = 0;

  /** @param {string} url @param {string[]} tenants */
  constructor(url, tenants) {
    this.url = url;
    this.tenants = tenants;
    this.folder = mkdtempSync(join(tmpdir(), "tenantctl-bench-fleet-"));
    this.migrations = join(this.folder, "migrations");
    this.config = join(this.folder, "tenants.config.json");
    mkdirSync(this.migrations);
    cpSync(sources, this.migrations, { recursive: true });
    const entries = Object.fromEntries(tenants.map((name) => [name, {}]));
    writeFileSync(this.config, JSON.stringify({ migrations: { tenant: "migrations" }, tenants: entries }, null, 2));
  }

  /** @param {Server} server @param {string[]} tenants */
  static async create(server, tenants) {
    return new Fleet(await newDatabase(server), tenants);
  }

  /** Its migrations, as paths. */
  all() {
    return sqlFiles(this.migrations).map((file) => join(this.migrations, file));
  }

  /** Those that its tenants lack. */
  pending() {
    return this.all().slice(this.applied);
  }

  /** One more migration, of the most frequent kind: a nullable column. */
  addMigration() {
    const number = sqlFiles(this.migrations).length + 1;
    const file = `2027010109${String(number).padStart(4, "0")}_add_note_${number}_to_customers.sql`;
    writeFileSync(join(this.migrations, file), `alter table customers add column note_${number} text;\n`);
  }

  /** To be called after each run: looks whether it really did all that there was to do. */
  async verify() {
    const added = sqlFiles(this.migrations).length - sqlFiles(sources).length;
    const one = await referenceShape(this.url);
    const found = await shapeOf(this.url, this.tenants);
    const wanted = {
      tables: one.tables * this.tenants.length,
      columns: (one.columns + added) * this.tenants.length,
      indexes: one.indexes * this.tenants.length,
      constraints: one.constraints * this.tenants.length,
    };
    if (JSON.stringify(found) !== JSON.stringify(wanted)) {
      throw new Error(`not what was to be made: ${JSON.stringify({ wanted, found, folder: this.folder })}`);
    }
    this.applied = sqlFiles(this.migrations).length;
  }

  close() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** @param {string} url @param {string[]} schemas @returns {Promise<Shape>} */
async function shapeOf(url, schemas) {
  return withClient(url, async (client) => {
    const { rows } = await client.query(
      `with tables as (
         select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'r' and c.relname = any($1) and n.nspname = any($2))
       select (select count(*)::int from tables) as tables,
         (select count(*)::int from pg_attribute join tables on oid = attrelid where attnum > 0 and not attisdropped) as columns,
         (select count(*)::int from pg_index join tables on oid = indrelid where indisvalid) as indexes,
         (select count(*)::int from pg_constraint join tables t on t.oid = conrelid where contype <> 'n') as constraints`,
      [tableNames, schemas],
    );
    return rows[0];
  });
}

/** @type {Shape | undefined} */
let reference;

/** The shape of a schema in which the migrations ran as they stand. @param {string} url */
async function referenceShape(url) {
  reference ??= await withClient(url, async (client) => {
    const texts = sqlFiles(sources).map((file) => readFileSync(join(sources, file), "utf8"));
    await client.query(`create schema bench_reference; set search_path to bench_reference; ${texts.join("")}`);
    const shape = await shapeOf(url, ["bench_reference"]);
    await client.query("drop schema bench_reference cascade");
    return shape;
  });
  return reference;
}
