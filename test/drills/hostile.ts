// Drills: texts of the hostile kind, and a database in which they would be noticed if one of them ever ran.
import fc from "fast-check";
import { expect } from "vitest";
import { TenantctlError } from "../../src/errors.js";
import type { TestDatabase } from "../support/database.ts";

// short enough to fit into a name, each of them to be seen afterwards
const statements = [
  "drop table public.canary",
  "insert into public.canary values(2)",
  "create schema zz",
  "create role zz_canary",
  "create table public.zz()",
];
const ways: ((sql: string) => string)[] = [
  (sql) => `";${sql};--`,
  (sql) => `a";${sql};select "`,
  (sql) => `';${sql};--`,
  (sql) => `\\';${sql};--`,
  (sql) => `a');${sql};--`,
  (sql) => `a");${sql};--`,
  (sql) => `$$;${sql};--`,
  (sql) => `$_$;${sql};$_$`,
  (sql) => `a*/;${sql};/*`,
  (sql) => `a"."b";${sql};--`,
  (sql) => `a\n;${sql};\n--`,
  (sql) => `a;${sql}`,
  (sql) => `1;${sql}`,
];
const injections = ways.flatMap((way) => statements.map(way));

const pieces = [
  ..."aZ0_.-\"'`\\;:, \n\r\t$%&|<>()[]{}!?*/#@=+~^",
  ...["$$", "$1", "$user", "--", "/*", "*/", "E'", "U&'", '""', "''", '","', "::", "||"],
  ...["\0", "\x01", "\x07", "\x1b[31m", "\x7f", "\x85", "\u200b", "\u202e", "\u2066", "\u2028", "\ufeff", "\uffff"],
  ...["é", "ß", "İ", "ﬀ", "界", "🦊", "e\u0301", "\ud83e", "\udd8a"],
  ...["pg_", "public", "../", "..\\", "/etc/passwd", "__proto__", "%s", "%n", "%I", "%00", "%2e%2e/"],
  ...[`\${VAR}`, `\${HOME}`, `\${`, "#{", "{{", "!!js/undefined", "&a", "*a", "<<: *a", "? ", "- ", "null", "true"],
  ...['{"a":1}', "[]", "\\u0000", "\\x00", "NaN", "1e9", "0x10"],
];
const whole = [
  ...["", " ", ".", "..", "$user", "public", "information_schema", "tenantctl", "pg_x", "PG_x", "Public"],
  ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf", "then", "length"],
  ...["NULL", "default", "none", "select", "table", "query", "true", "123", "1_000", "-1", "0", "on", "no", "~"],
  ...["../../etc/passwd", "C:\\x", "a/b", "file:///etc/passwd", `\${VAR}`, `\${UNSET}`, `\${UNSET:-x}`],
  ...[61, 62, 63, 64, 65].flatMap((bytes) => ["a".repeat(bytes), `"${"x".repeat(bytes - 1)}`]),
  ...[30, 31, 32].flatMap((count) => ["é".repeat(count), `${"é".repeat(count)}a`]),
  ...["🦊".repeat(15), `${"🦊".repeat(15)}abc`, "🦊".repeat(16), "\ud83e", "\udd8a", "a\ud83e"],
  ...["a".repeat(5_000), '"'.repeat(70_000), "*".repeat(70_000), "(".repeat(3_000), "é".repeat(100_000)],
];

/** Schemas that are there before any tenant. */
export const own: readonly string[] = ["public", "tenantctl", "information_schema"];

/** Whatever somebody may have typed, sent or stored, where a name or a text of ours is expected. */
export const hostile: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...injections) },
  { weight: 3, arbitrary: fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((parts) => parts.join("")) },
  { weight: 2, arbitrary: fc.constantFrom(...whole) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 70 }) },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme", maxLength: 40 }) },
);

/** The same, of what the server can hold: no NUL, no half of a surrogate pair. */
export const storable = hostile.map((text) => Buffer.from(text.replaceAll("\0", "")).toString());

/** What is a legal identifier, and still none that anybody would choose. */
export const identifiers = storable.filter(
  (name) =>
    name !== "" && Buffer.byteLength(name) <= 63 && name !== "$user" && !/^pg_/.test(name) && !own.includes(name),
);

/** Fails unless the error is one that a user can be told: with a code, and one that is no accident. */
function expectRefusal(error: unknown): asserts error is TenantctlError {
  if (!(error instanceof TenantctlError)) throw error;
  expect(error.code).toMatch(/^[A-Z_]+$/);
  expect(error.code).not.toBe("INTERNAL");
}

/** What it gave, or undefined when it was refused as it should be. */
export async function answerOf<T>(attempt: () => Promise<T> | T): Promise<{ value: T } | undefined> {
  try {
    return { value: await attempt() };
  } catch (error) {
    expectRefusal(error);
    return undefined;
  }
}

export interface Guarded {
  database: TestDatabase;
  /** The schemas that are there beyond those of the beginning, in order. */
  schemas(): Promise<string[]>;
  /** Fails when something ran that nobody meant to run, or when other schemas came than these. */
  expectOnly(...schemas: string[]): Promise<void>;
}

/** Lays out what the injected statements would change. */
export async function guard(database: TestDatabase): Promise<Guarded> {
  await database.query("create table public.canary (n int); insert into public.canary values (1)");
  const schemas = async () => {
    const rows = await database.query<{ name: string }>(
      `select nspname::text as name from pg_namespace where nspname <> all($1) and nspname !~ '^pg_' order by nspname collate "C"`,
      [own],
    );
    return rows.map(({ name }) => name);
  };
  return {
    database,
    schemas,
    async expectOnly(...expected) {
      expect(await schemas()).toEqual([...expected].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
      const [found] = await database.query(
        `select (select array_agg(n) from public.canary) as canary, to_regclass('public.zz') is null as nothing,
           not exists (select from pg_roles where rolname = 'zz_canary') as nobody`,
      );
      expect(found).toEqual({ canary: [1], nothing: true, nobody: true });
    },
  };
}
