// Kysely, Drizzle, Knex and Prisma on the pool that follows the current tenant, each as its users set it up.
import { PrismaPg } from "@prisma/adapter-pg";
import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { integer, pgTable, text } from "drizzle-orm/pg-core";
import knex from "knex";
import { Kysely, PostgresDialect } from "kysely";
import Cursor from "pg-cursor";
import { beforeAll, describe, expect, test } from "vitest";
import type { Tenancy } from "../../src/runtime/index.js";
import { createDatabase, servers } from "../support/database.ts";
import { pgbouncerNote } from "../support/pgbouncer.ts";
import { PrismaClient } from "./prisma.ts";
import { createTenants, expectNoNote, inTurns, openOn, waysTo } from "./tenancy.ts";

const names = ["thor", "loki"];

describe.each(waysTo(servers()))(`PostgreSQL $major, $way${pgbouncerNote}`, ({ server, way }) => {
  let tenancy: Tenancy;

  beforeAll(async () => {
    const database = await createDatabase(server);
    const tenants = await createTenants(database, names);
    tenancy = await openOn(way, database, tenants, 2);
  });

  const bothInTurns = (fn: (me: string) => Promise<void>) => inTurns(tenancy, names, 6, fn);
  const expectNoRow = (id: number) => expectNoNote(tenancy, names, id);

  test("Kysely", async () => {
    interface Tables {
      notes: { id: number; owner: string };
    }
    const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: tenancy.pool, cursor: Cursor }) });
    await bothInTurns(async (me) => {
      expect(await db.selectFrom("notes").select("owner").distinct().execute()).toEqual([{ owner: me }]);
      const streamed = [];
      for await (const row of db.selectFrom("notes").select("owner").where("id", "<", 4).stream(2)) streamed.push(row);
      expect(streamed).toEqual([me, me, me].map((owner) => ({ owner })));
      const failure = db
        .transaction()
        .setIsolationLevel("serializable")
        .execute(async (trx) => {
          await trx.insertInto("notes").values({ id: 99, owner: me }).execute();
          expect(await trx.selectFrom("notes").select("owner").distinct().execute()).toEqual([{ owner: me }]);
          throw new Error("back");
        });
      await expect(failure).rejects.toThrow("back");
    });
    await expectNoRow(99);
    await expect(db.selectFrom("notes").selectAll().execute()).rejects.toMatchObject({ code: "NO_TENANT" });
  });

  test("Drizzle", async () => {
    const notes = pgTable("notes", { id: integer().primaryKey(), owner: text().notNull() });
    const db = drizzle({ client: tenancy.pool });
    await bothInTurns(async (me) => {
      expect(await db.selectDistinct({ owner: notes.owner }).from(notes)).toEqual([{ owner: me }]);
      const failure = db.transaction(
        async (tx) => {
          await tx.insert(notes).values({ id: 98, owner: me });
          expect(await tx.select().from(notes).where(eq(notes.id, 98))).toEqual([{ id: 98, owner: me }]);
          await tx.transaction(async (nested) => nested.execute(sql`select 1 / 0`)).catch(() => undefined);
          expect(await tx.selectDistinct({ owner: notes.owner }).from(notes)).toEqual([{ owner: me }]);
          tx.rollback();
        },
        { isolationLevel: "repeatable read" },
      );
      await expect(failure).rejects.toThrow(/rollback/i);
    });
    await expectNoRow(98);
    if (way === "pooler") return; // named statements want a pooler that knows them
    const prepared = db
      .select()
      .from(notes)
      .where(eq(notes.id, sql.placeholder("id")))
      .prepare("one_note");
    await bothInTurns(async (me) => expect(await prepared.execute({ id: 3 })).toEqual([{ id: 3, owner: me }]));
  });

  test("Knex, by connectionPool", async () => {
    const db = knex({
      client: "pg",
      connectionPool: tenancy.pool,
      log: { warn() {}, error() {} },
    } as never);
    await bothInTurns(async (me) => {
      expect(await db("notes").distinct("owner")).toEqual([{ owner: me }]);
      const failure = db.transaction(
        async (trx: ReturnType<typeof knex>) => {
          await trx("notes").insert({ id: 97, owner: me });
          expect(await trx("notes").where("id", 97)).toEqual([{ id: 97, owner: me }]);
          await trx.transaction((nested: ReturnType<typeof knex>) => nested.raw("select 1 / 0")).catch(() => undefined);
          expect(await trx("notes").distinct("owner")).toEqual([{ owner: me }]);
          throw new Error("back");
        },
        { isolationLevel: "serializable" },
      );
      await expect(failure).rejects.toThrow("back");
    });
    await expectNoRow(97);
    // a query that begins only when it is waited for
    expect(await tenancy.withTenant("loki", () => db("notes").distinct("owner"))).toEqual([{ owner: "loki" }]);
    await expect(db("notes").select()).rejects.toMatchObject({ code: "NO_TENANT" });
    await db.destroy();
    expect(tenancy.pool.ending).toBe(false);
  });

  // It writes the schema's name into its SQL; and its findUnique waits for the end of the tick, and goes off with all of that
  // tick in the name of the first. So each tenant has a client of its own, on the same connections.
  test("Prisma, by its adapter for pg, a client per tenant", async () => {
    const clients: PrismaClient[] = [];
    const prisma = tenancy.perTenant(({ schema }) => {
      const client = new PrismaClient({ adapter: new PrismaPg(tenancy.pool, { schema }) });
      clients.push(client);
      return client;
    });
    await bothInTurns(async (me) => {
      expect(await prisma().notes.findMany({ where: { id: { lt: 3 } } })).toEqual(
        [1, 2].map((id) => ({ id, owner: me })),
      );
      expect(await prisma().$queryRawUnsafe("select owner from notes where id = $1", 1)).toEqual([{ owner: me }]);
      const failure = prisma().$transaction(
        async (tx) => {
          await tx.notes.create({ data: { id: 96, owner: me } });
          expect(await tx.notes.findUnique({ where: { id: 96 } })).toEqual({ id: 96, owner: me });
          throw new Error("back");
        },
        { isolationLevel: "Serializable" },
      );
      await expect(failure).rejects.toThrow("back");
    });
    await expectNoRow(96);
    const inOneTick = names.map((me) => tenancy.withTenant(me, () => prisma().notes.findUnique({ where: { id: 1 } })));
    expect(await Promise.all(inOneTick)).toEqual(names.map((owner) => ({ id: 1, owner })));
    expect(clients).toHaveLength(2);
    expect(prisma).toThrow("no current tenant");
    await Promise.all(clients.map((client) => client.$disconnect()));
  });
});
