// A config that was found, and whose owner could be anybody.

import { chownSync, mkdirSync, symlinkSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { folder } from "./folder.js";

const stranger = 12_345;
const thor = { tenants: { thor: {} } };
const config = "tenants.config.json";

const found = (cwd: string, env: Record<string, string> = {}) => loadConfig({ cwd, env });

// only root can give files away
describe.skipIf(process.geteuid?.() !== 0)("what belongs to another user", () => {
  it.each<[string, Record<string, unknown>, string]>([
    ["a config", { [config]: thor }, config],
    ["a program", { "tenants.config.ts": "throw new Error('it ran')" }, "tenants.config.ts"],
    ["a package.json with our key", { "package.json": { tenantctl: thor } }, "package.json"],
    [".env beside our config", { [config]: thor, ".env": "DATABASE_URL=postgres://elsewhere/db" }, ".env"],
    ["the folder of our config", { [config]: thor }, "."],
  ])("is not read: %s", async (_, files, theirs) => {
    const root = folder(files);
    chownSync(path.join(root, theirs), stranger, stranger);
    mkdirSync(path.join(root, "deep/er"), { recursive: true });
    await expect(found(path.join(root, "deep/er"))).rejects.toMatchObject({
      code: "CONFIG_UNTRUSTED",
      message: expect.stringContaining(`belongs to another user (uid ${stranger})`),
      hint: expect.stringMatching(/--config .*TENANTCTL_TRUST=/),
    });
  });

  it("is not read through links, neither theirs to ours nor ours to theirs", async () => {
    const ours = folder({ [config]: thor });
    const theirs = folder({ [config]: thor });
    chownSync(path.join(theirs, config), stranger, stranger);
    const linked = folder();
    symlinkSync(path.join(theirs, config), path.join(linked, config));
    await expect(found(linked)).rejects.toMatchObject({ code: "CONFIG_UNTRUSTED" });
    const planted = folder();
    symlinkSync(path.join(ours, config), path.join(planted, config));
    expect([...(await found(planted)).tenants.keys()]).toEqual(["thor"]);
    const { lchownSync } = await import("node:fs");
    lchownSync(path.join(planted, config), stranger, stranger);
    await expect(found(planted)).rejects.toMatchObject({ code: "CONFIG_UNTRUSTED" });
  });

  it("is no matter in a package.json without our key", async () => {
    const root = folder({ [config]: thor, "app/package.json": { name: "app" } });
    chownSync(path.join(root, "app/package.json"), stranger, stranger);
    expect((await found(path.join(root, "app"))).root).toBe(root);
  });

  it("is read where the file is named", async () => {
    const root = folder({ [config]: thor, ".env": "ROLE=app" });
    for (const name of [".", config, ".env"]) chownSync(path.join(root, name), stranger, stranger);
    expect([...(await loadConfig({ cwd: root, env: {}, config })).tenants.keys()]).toEqual(["thor"]);
  });

  it("is read where its folder, or one above, is trusted, and not where another is", async () => {
    const root = folder({ [`a/${config}`]: thor, "b/other": "" });
    chownSync(path.join(root, "a"), stranger, stranger);
    const at = path.join(root, "a");
    const trust = (...folders: string[]) => found(at, { TENANTCTL_TRUST: folders.join(path.delimiter) });
    for (const folders of [[at], [root], [path.join(root, "b"), at], [`${at}/`]])
      expect((await trust(...folders)).root).toBe(at);
    for (const other of [path.join(root, "b"), `${at}b`, path.join(at, "deeper")])
      await expect(trust(other)).rejects.toMatchObject({ code: "CONFIG_UNTRUSTED" });
    await expect(trust(".")).rejects.toMatchObject({ code: "CONFIG_INVALID", message: /TENANTCTL_TRUST has "\."/ });
  });

  it("does not trust itself: TENANTCTL_TRUST in .env counts for nothing", async () => {
    const root = folder({ [config]: thor });
    const env = path.join(root, ".env");
    const { writeFileSync } = await import("node:fs");
    writeFileSync(env, `TENANTCTL_TRUST=${root}\n`);
    chownSync(env, stranger, stranger);
    await expect(found(root)).rejects.toMatchObject({ code: "CONFIG_UNTRUSTED" });
  });
});

describe("looking for a config", () => {
  it("ends at the repository's root", async () => {
    const root = folder({ [config]: thor, "app/.git/HEAD": "ref: x", "app/deep/er/file": "" });
    await expect(found(path.join(root, "app/deep/er"))).rejects.toMatchObject({
      code: "CONFIG_NOT_FOUND",
      message: expect.stringContaining(`up to ${path.join(root, "app")}`),
    });
  });

  it("ends at a worktree's root, where .git is a file", async () => {
    const root = folder({ [config]: thor, "app/.git": "gitdir: elsewhere", "app/file": "" });
    await expect(found(path.join(root, "app"))).rejects.toMatchObject({ code: "CONFIG_NOT_FOUND" });
  });

  it("finds the one in the repository's root itself", async () => {
    const root = folder({ [config]: thor, ".git/HEAD": "ref: x", "deep/file": "" });
    expect((await found(path.join(root, "deep"))).root).toBe(root);
  });

  it("ends at the home folder, also where a link leads to it", async () => {
    const root = folder({ [config]: thor, "home/thor/app/file": "" });
    symlinkSync(path.join(root, "home/thor"), path.join(root, "link"));
    for (const HOME of ["home/thor", "link"].map((home) => path.join(root, home)))
      await expect(found(path.join(root, "home/thor/app"), { HOME })).rejects.toMatchObject({
        code: "CONFIG_NOT_FOUND",
      });
  });
});

describe("what is nested 200,000 deep", () => {
  const depth = 200_000;
  it.each([
    [config, `{"tenants":${'{"a":'.repeat(depth)}1${"}".repeat(depth)}}`],
    [config, `{"tenants":{"thor":{"labels":${"[".repeat(depth)}${"]".repeat(depth)}}}}`],
    ["tenants.config.jsonc", `// unclosed\n{"tenants":${"[".repeat(depth)}`],
    ["tenants.config.yaml", `tenants: ${"[".repeat(depth)}${"]".repeat(depth)}\n`],
    ["package.json", `{"tenantctl":{"tenants":${"[".repeat(depth)}${"]".repeat(depth)}}}`],
  ])("is a mistake in the config: %s", async (name, text) => {
    await expect(found(folder({ [name]: text }))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});
