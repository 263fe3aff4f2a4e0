// What every scenario is given: the options, servers, and fleets that are migrated already.
import { cpus, totalmem } from "node:os";
import { Fleet, tenantNames, vacuumCatalogs, withClient } from "./fleet.js";
import { time } from "./measure.js";
import { startServer, useServer } from "./server.js";

/** @typedef {import("./contenders/contender.js").Contender} Contender */
/** @typedef {import("./options.js").Options} Options */
/** @typedef {import("./server.js").Server} Server */

/** A fleet of 12 tables a tenant takes about this much, with its part of the write-ahead log. */
export const gigabytesPerTenant = 0.0015;

export class Bench {
  /** @type {Set<Server>} */
  #servers = new Set();
  /** @type {Map<string, Promise<Fleet>>} */
  #migrated = new Map();
  /** @type {Promise<Server> | undefined} */
  #fleetServer;
  #serverVersion = "";
  #where = "";

  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.rounds = options.rounds;
  }

  /** @param {number} otherwise the scenario's own number @param {number} [most] beyond which it would take too long */
  tenants(otherwise, most = Number.POSITIVE_INFINITY) {
    return Math.min(this.options.tenants ?? otherwise, most);
  }

  /** The machine, and the server of the last scenario. */
  machine() {
    const cores = cpus();
    const server = this.#serverVersion && `, PostgreSQL ${this.#serverVersion}, data on ${this.#where}`;
    const memory = `${Math.round(totalmem() / 2 ** 30)} GB of memory`;
    return `${cores.length} cores (${cores[0]?.model.trim()}), ${memory}, Node ${process.versions.node}${server}`;
  }

  /** @param {string} text */
  say(text) {
    console.error(`  ${text}`);
  }

  /** Opens an empty server: what ran before leaves nothing behind. @param {number} gigabytes */
  async openServer(gigabytes) {
    const { database, major, disk } = this.options;
    const server = database ? useServer(database) : await startServer({ major, gigabytes, disk });
    this.#servers.add(server);
    this.#where = server.where;
    this.#serverVersion = await withClient(server.url, async (client) => {
      const { rows } = await client.query("show server_version");
      return rows[0].server_version;
    });
    return server;
  }

  /** @param {Server} server */
  async closeServer(server) {
    this.#servers.delete(server);
    await server.stop();
  }

  /**
   * A fleet that this contender's tool has migrated; the same one for all scenarios.
   * @param {Contender} contender @param {number} count
   */
  migratedFleet(contender, count) {
    const key = `${contender.tool} ${count}`;
    const fleet = this.#migrated.get(key) ?? this.#migrate(contender, count);
    this.#migrated.set(key, fleet);
    return fleet;
  }

  /** @param {Contender} contender @param {number} count */
  async #migrate(contender, count) {
    this.say(`preparing ${count} tenants with ${contender.tool}`);
    this.#fleetServer ??= this.openServer(count * 6 * gigabytesPerTenant);
    const fleet = await Fleet.create(await this.#fleetServer, tenantNames(count));
    await time(contender.migrate(fleet));
    await fleet.verify();
    await vacuumCatalogs(fleet.url);
    return fleet;
  }

  async close() {
    for (const fleet of this.#migrated.values())
      await fleet.then(
        (one) => one.close(),
        () => {},
      );
    await Promise.all([...this.#servers].map((server) => server.stop()));
  }
}
