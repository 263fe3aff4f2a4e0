// A folder of migrations: which files are taken, in which order, and what is refused before anything is touched.
import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readMigrations } from "../../src/migrations/files.js";
import { folderOf, migrationsOf, problemsOf } from "./folder.ts";

const names = async (files: Record<string, string>) => (await migrationsOf(files)).map(({ name }) => name);
const checksum = async (text: string | Uint8Array) => (await migrationsOf({ "1_a.sql": text }))[0]?.checksum;

test("takes .sql files and modules in the order of their names, and lets everything else alone", async () => {
  const folder = await folderOf({
    "20260102000000_b.ts": "export const up = () => {};",
    "20260101000000_a.sql": "select 1",
    "20260103000000-c.mjs": "export const up = () => {};",
    "20260101000000_a.d.ts": "",
    "README.md": "",
    ".20260104000000_hidden.sql": "",
    "20260101000000_a.sql~": "",
    "notes.txt": "",
  });
  await mkdir(join(folder, "20260105000000_folder.sql"));
  const migrations = await readMigrations(folder);
  expect(migrations.map(({ name, kind }) => `${name} ${kind}`)).toEqual([
    "20260101000000_a sql",
    "20260102000000_b module",
    "20260103000000-c module",
  ]);
});

test("orders by code units, as no locale does", async () => {
  expect(await names({ "2_b.sql": "", "1_Z.sql": "", "3_ä.sql": "" })).toEqual(["1_Z", "2_b", "3_ä"]);
});

describe("a checksum", () => {
  const plain = "-- migrate:up\ncreate table a ();\ninsert into a default values;\n";

  test("does not see a BOM, nor how lines end", async () => {
    expect(await checksum(`\ufeff${plain}`)).toBe(await checksum(plain));
    expect(await checksum(plain.replaceAll("\n", "\r\n"))).toBe(await checksum(plain));
    expect(await checksum(`\ufeff${plain.replaceAll("\n", "\r\n")}`)).toBe(await checksum(plain));
  });

  test("does not see the down section", async () => {
    expect(await checksum(`${plain}-- migrate:down\ndrop table a;`)).toBe(await checksum(`${plain}-- migrate:down\n`));
  });

  test("sees every other character of the up section", async () => {
    expect(await checksum(plain.replace("default values", "default  values"))).not.toBe(await checksum(plain));
    expect(await checksum(plain.replace("a ();", "a (); --"))).not.toBe(await checksum(plain));
  });

  test("a module has none", async () => {
    expect((await migrationsOf({ "1_a.ts": "export const up = () => {};" }))[0]?.checksum).toBe(null);
  });
});

describe("refused:", () => {
  test("a folder that is not there", async () => {
    const folder = join(await folderOf({}), "nowhere");
    await expect(readMigrations(folder)).rejects.toMatchObject({
      code: "MIGRATIONS_INVALID",
      message: `can't read the migrations: there is no such folder (${folder})`,
      hint: expect.stringContaining("new-migration"),
    });
  });

  test("a file in the place of the folder", async () => {
    const folder = await folderOf({ "1_a.sql": "" });
    await expect(readMigrations(join(folder, "1_a.sql"))).rejects.toMatchObject({ code: "MIGRATIONS_INVALID" });
  });

  test("a folder without migrations", async () => {
    expect(await problemsOf({ "README.md": "" })).toEqual(["no migrations in the folder (.)"]);
  });

  test("two migrations of one version", async () => {
    expect(await problemsOf({ "1_a.sql": "", "1_b.sql": "" })).toEqual([
      "two migrations of version 1: 1_a.sql and 1_b.sql",
    ]);
  });

  test("a .sql and a .ts of one name", async () => {
    expect(await problemsOf({ "1_a.sql": "", "1_a.ts": "" })).toEqual([
      "two migrations of version 1: 1_a.sql and 1_a.ts",
    ]);
  });

  test("versions whose order by name is not that by number", async () => {
    expect(await problemsOf({ "9_a.sql": "", "10_b.sql": "" })).toEqual([
      "10_b.sql sorts before 9_a.sql by name, and after it by number: give all versions the same number of digits",
    ]);
  });

  test("a name that is none", async () => {
    const problems = await problemsOf({ "create_polls.sql": "", "1.sql": "", "2_ok.sql": "", "x3_y.ts": "" });
    expect(problems).toHaveLength(3);
    expect(problems[0]).toContain("(1.sql)");
  });

  test("text that is not UTF-8, and text with NUL in it, as of UTF-16", async () => {
    const problems = await problemsOf({
      "1_latin.sql": Buffer.from("select 'é'", "latin1"),
      "2_utf16.sql": Buffer.from("\ufeffselect 1", "utf16le"),
      "3_nul.sql": Buffer.from("select 1", "utf16le"),
    });
    expect(problems).toEqual(["1_latin.sql", "2_utf16.sql", "3_nul.sql"].map((file) => `not UTF-8 text (${file})`));
  });

  test("a link that leads nowhere, and a file that can't be read", async () => {
    const folder = await folderOf({ "1_a.sql": "", "2_b.sql": "" });
    await symlink("nowhere", join(folder, "3_c.sql"));
    await chmod(join(folder, "2_b.sql"), 0);
    const root = process.getuid?.() === 0; // whom no mode stops
    await expect(readMigrations(folder)).rejects.toMatchObject({
      code: "MIGRATIONS_INVALID",
      problems: [
        ...(root ? [] : [expect.stringContaining("2_b.sql")]),
        expect.stringMatching(/^can't read it: ENOENT.*3_c\.sql\)$/),
      ],
    });
  });

  test("all of it at once", async () => {
    const folder = await folderOf({ "1_a.sql": "-- migrate:up x\n", "2_b.sql": "", "2_c.sql": "" });
    await writeFile(join(folder, "bad.sql"), "");
    await expect(readMigrations(folder)).rejects.toMatchObject({
      problems: { length: 3 },
      hint: expect.stringContaining("nothing was touched"),
    });
  });
});
