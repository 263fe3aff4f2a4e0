import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { childEnvironment } from "../../src/config/child.js";
import { settleDatabase } from "../../src/config/connection.js";
import type { Environment } from "../../src/config/expand.js";
import { parseDatabaseUrl } from "../../src/config/url.js";

// What pg itself reads URLs with.
const { parse } = createRequire(createRequire(import.meta.url).resolve("pg"))("pg-connection-string");

const folder = mkdtempSync(join(tmpdir(), "tenantctl-child-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a program of tenant thor gets, when the config says this URL. */
function child(url: string, parent: Environment = {}) {
  const settings = settleDatabase({ url, source: "x", folder }, { HOME: folder }, folder);
  if (settings.kind !== "server") throw new Error("no server");
  return childEnvironment(settings, { name: "thor", schema: "th or", searchPath: '"th or"' }, parent);
}

describe("a program's environment", () => {
  test("is the parent's, but for whatever says where to connect", () => {
    const parent = {
      PATH: "/bin",
      PGTZ: "UTC",
      PGHOST: "elsewhere",
      PGHOSTADDR: "10.0.0.1",
      PGSERVICE: "elsewhere",
      PGSERVICEFILE: "/elsewhere",
      PGPASSFILE: "/elsewhere",
      PGPASSWORD: "elsewhere",
      PGSSLMODE: "disable",
      PGSSLROOTCERT: "/elsewhere",
      PGOPTIONS: "-c role=elsewhere",
      PGTARGETSESSIONATTRS: "standby",
      DATABASE_URL: "postgres://elsewhere",
      TENANTCTL_DATABASE_URL: "postgres://elsewhere",
      TENANT: "elsewhere",
    };
    const before = { ...parent };
    expect(child("postgres://me@db:6000/app", parent)).toEqual({
      PATH: "/bin",
      PGTZ: "UTC",
      TENANT: "thor",
      TENANT_SCHEMA: "th or",
      PGHOST: "db",
      PGPORT: "6000",
      PGUSER: "me",
      PGDATABASE: "app",
      PGOPTIONS: '-c search_path="th\\ or"',
      PGCONNECT_TIMEOUT: "10",
      DATABASE_URL: "postgresql://me@db:6000/app?options=-c%20search_path%3D%22th%5C%20or%22",
      TENANTCTL_DATABASE_URL: "postgresql://me@db:6000/app",
    });
    expect(parent).toEqual(before);
  });

  test("means by TLS what the config means: libpq's default is left to libpq, since Node's pg would insist on it", () => {
    for (const name of ["root.crt", "own.crt", "own.key"]) writeFileSync(join(folder, name), name, { mode: 0o600 });
    const url =
      "postgres://me@db/app?sslmode=verify-full&sslrootcert=root.crt&sslcert=own.crt&sslkey=own.key&channel_binding=require";
    const file = (name: string) => join(folder, name);
    const found = child(url);
    expect(found).toMatchObject({
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: file("root.crt"),
      PGSSLCERT: file("own.crt"),
      PGSSLKEY: file("own.key"),
      PGCHANNELBINDING: "require",
    });
    expect(new URL(found.DATABASE_URL ?? "").searchParams.get("sslrootcert")).toBe(file("root.crt"));
    expect(child("postgres://me@db/app?sslmode=disable")).toMatchObject({ PGSSLMODE: "disable" });
    expect(child("postgres://me@db/app")).not.toHaveProperty("PGSSLMODE");
    const system = child("postgres://me@db/app?sslrootcert=system");
    expect(system).toMatchObject({ PGSSLMODE: "verify-full", PGSSLROOTCERT: "system" });
    expect(system.DATABASE_URL).not.toMatch(/sslrootcert/); // Node's pg would look for a file of that name
  });

  test("leads to an address by the address, unless the certificate's name is needed", () => {
    const plain = child("postgres://me@db/app?hostaddr=10.0.0.5&sslmode=require");
    expect(plain).toMatchObject({ PGHOST: "10.0.0.5" });
    expect(plain).not.toHaveProperty("PGHOSTADDR");
    writeFileSync(join(folder, "root.crt"), "root");
    const named = child("postgres://me@db/app?hostaddr=10.0.0.5&sslmode=verify-full&sslrootcert=root.crt");
    expect(named).toMatchObject({ PGHOST: "db", PGHOSTADDR: "10.0.0.5" });
  });

  test.each([
    "postgres://me:p%40ss%2Fw%3Fo%23r%25d@db:6000/app",
    "postgres://u%20s%C3%A9r:x@[::1]:6000/a%20pp",
    "postgres://me:secret@/app?host=/var/run/pg&port=6000",
  ])("has a URL that means to us and to Node's pg what %s means", (url) => {
    const { TENANTCTL_DATABASE_URL = "", DATABASE_URL = "", PGPASSWORD, ...found } = child(url);
    const wanted = Object.fromEntries(parseDatabaseUrl(url, "x"));
    expect(Object.fromEntries(parseDatabaseUrl(TENANTCTL_DATABASE_URL, "x"))).toMatchObject(wanted);
    expect(parse(DATABASE_URL)).toMatchObject({
      host: wanted.host?.includes(":") ? "::1" : wanted.host,
      port: wanted.port,
      user: wanted.user,
      password: wanted.password,
      database: wanted.dbname,
      options: '-c search_path="th\\ or"',
    });
    expect(found).toMatchObject({ PGHOST: wanted.host, PGPORT: wanted.port, PGUSER: wanted.user });
    expect(PGPASSWORD).toBe(wanted.password);
  });
});
