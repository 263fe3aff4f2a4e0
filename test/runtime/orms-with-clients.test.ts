// Sequelize, TypeORM, MikroORM and pg-promise, which open clients of their own: as docs/runtime.md sets them up.
import { MikroORM, EntitySchema as MikroSchema } from "@mikro-orm/core";
import { PostgreSqlDriver, PostgreSqlKnexDialect } from "@mikro-orm/postgresql";
import pgPromise from "pg-promise";
import { DataTypes, Sequelize } from "sequelize";
import { DataSource, EntitySchema } from "typeorm";
import { beforeAll, describe, expect, test } from "vitest";
import type { Tenancy } from "../../src/runtime/index.js";
import { createDatabase, newestAtLeast } from "../support/database.ts";
import { pgbouncerNote } from "../support/pgbouncer.ts";
import { createTenants, expectNoNote, inTurns, openOn, waysTo } from "./tenancy.ts";

const names = ["thor", "loki"];

interface Note {
  id: number;
  owner: string;
}

describe.each(waysTo(newestAtLeast()))(`PostgreSQL $major, $way${pgbouncerNote}`, ({ server, way }) => {
  let tenancy: Tenancy;

  beforeAll(async () => {
    const database = await createDatabase(server);
    const tenants = await createTenants(database, names);
    tenancy = await openOn(way, database, tenants, 2);
  });

  const bothInTurns = (fn: (me: string) => Promise<void>) => inTurns(tenancy, names, 8, fn);

  async function expectNoRow(id: number): Promise<void> {
    await expectNoNote(tenancy, names, id);
    await expect.poll(() => tenancy.pool.idleCount).toBe(tenancy.pool.totalCount);
  }

  async function openMikro() {
    const notes = new MikroSchema<Note>({
      name: "notes",
      properties: { id: { type: "integer", primary: true }, owner: { type: "text" } },
    });
    class Dialect extends PostgreSqlKnexDialect {
      _driver() {
        return tenancy.driver;
      }
    }
    const orm = await MikroORM.init({
      driver: PostgreSqlDriver,
      driverOptions: { client: Dialect, version: "14" },
      dbName: "tenants",
      entities: [notes],
      connect: false,
    } as never);
    return { orm, notes };
  }

  test("Sequelize", async () => {
    const sequelize = new Sequelize({
      dialect: "postgres",
      dialectModule: tenancy.driver,
      // What these set would end with their statement.
      keepDefaultTimezone: true,
      standardConformingStrings: false,
      dialectOptions: { clientMinMessages: "ignore" },
      databaseVersion: "14.0.0",
      logging: false,
    } as never);
    const notes = sequelize.define(
      "notes",
      { id: { type: DataTypes.INTEGER, primaryKey: true }, owner: DataTypes.TEXT },
      { timestamps: false, freezeTableName: true },
    );
    await bothInTurns(async (me) => {
      const found = await notes.findAll({ where: { id: [1, 2] }, order: ["id"], raw: true });
      expect(found).toEqual([1, 2].map((id) => ({ id, owner: me })));
      const failure = sequelize.transaction(async (transaction) => {
        await notes.create({ id: 95, owner: me }, { transaction });
        expect(await notes.findByPk(95, { transaction, raw: true })).toEqual({ id: 95, owner: me });
        throw new Error("back");
      });
      await expect(failure).rejects.toThrow("back");
      expect(await sequelize.query("select owner from notes where id = $1", { bind: [1], plain: true })).toEqual({
        owner: me,
      });
    });
    await expectNoRow(95);
    await expect(notes.findAll()).rejects.toMatchObject({ original: { code: "NO_TENANT" } });
    await sequelize.close();
  });

  test("TypeORM", async () => {
    const notes = new EntitySchema<Note>({
      name: "notes",
      columns: { id: { type: Number, primary: true }, owner: { type: "text" } },
    });
    const source = new DataSource({
      type: "postgres",
      driver: tenancy.driver,
      entities: [notes],
      installExtensions: false,
    });
    await tenancy.withTenant("thor", () => source.initialize()); // it asks for the server's version
    await bothInTurns(async (me) => {
      const repository = source.getRepository(notes);
      expect(await repository.find({ where: { id: 1 } })).toEqual([{ id: 1, owner: me }]);
      const failure = source.transaction("SERIALIZABLE", async (manager) => {
        await manager.insert(notes, { id: 94, owner: me });
        expect(await manager.findOneBy(notes, { id: 94 })).toEqual({ id: 94, owner: me });
        await manager.transaction((nested) => nested.query("select 1 / 0")).catch(() => undefined);
        expect(await manager.query("select distinct owner from notes")).toEqual([{ owner: me }]);
        throw new Error("back");
      });
      await expect(failure).rejects.toThrow("back");
    });
    await expectNoRow(94);
    await expect(source.query("select 1")).rejects.toMatchObject({ code: "NO_TENANT" });
    await source.destroy();
    expect(tenancy.pool.ending).toBe(false);
  });

  test("MikroORM, an EntityManager for each request", async () => {
    const { orm, notes } = await openMikro();
    await bothInTurns(async (me) => {
      const manager = orm.em.fork();
      expect(await manager.findOne(notes, { id: 1 })).toMatchObject({ id: 1, owner: me });
      const failure = manager.transactional(async (inner) => {
        inner.persist(inner.create(notes, { id: 93, owner: me }));
        await inner.flush();
        expect(await inner.count(notes, { id: 93, owner: me })).toBe(1);
        throw new Error("back");
      });
      await expect(failure).rejects.toThrow("back");
    });
    await expectNoRow(93);
    await expect(orm.em.fork().findOne(notes, { id: 1 })).rejects.toMatchObject({ code: "NO_TENANT" });
    await orm.close();
  });

  test("MikroORM's result cache answers one tenant's rows to another, unless its key names the tenant", async () => {
    const { orm, notes } = await openMikro();
    const first = async (cache: number | [string, number]) =>
      (await orm.em.fork().findOne(notes, { id: 1 }, { cache }))?.owner;
    const each = async (cache: () => number | [string, number]) => {
      const seen = [];
      for (const me of names) seen.push(await tenancy.withTenant(me, () => first(cache())));
      return seen;
    };
    expect(await each(() => 60_000)).toEqual(["thor", "thor"]); // as docs/runtime.md warns
    expect(await each(() => [`${tenancy.currentTenant()?.name}:note`, 60_000])).toEqual(["thor", "loki"]);
    await orm.close();
  });

  test("pg-promise", async () => {
    const pgp = pgPromise({ noWarnings: true });
    const db = pgp({ Client: tenancy.driver.Client as never, max: 2 });
    await bothInTurns(async (me) => {
      expect(await db.any("select distinct owner from notes where id < $1", [5])).toEqual([{ owner: me }]);
      const failure = db.tx(async (t) => {
        await t.none("insert into notes values ($1, $2)", [92, me]);
        expect(await t.one("select owner from notes where id = 92")).toEqual({ owner: me });
        throw new Error("back");
      });
      await expect(failure).rejects.toThrow("back");
      expect(
        await db.task((t) => t.batch([t.one("select min(owner) as owner from notes"), t.one("select 1 as n")])),
      ).toEqual([{ owner: me }, { n: 1 }]);
    });
    await expectNoRow(92);
    await expect(db.any("select 1")).rejects.toMatchObject({ code: "NO_TENANT" });
    await db.$pool.end();
  });
});
