import { access, rm } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { createProject } from "../support/project.ts";
import { expectRefusal } from "./traces.ts";

describe("complete", () => {
  test("prints a script for each shell", async () => {
    const project = await createProject();
    const bash = await project.tenantctl(["complete", "bash"]);
    expect(bash).toMatchObject({ code: 0, stderr: "" });
    expect(bash.stdout).toMatch(/^# bash completion for tenantctl/);
    for (const shell of ["zsh", "fish", "powershell"]) {
      expect((await project.tenantctl(["complete", shell])).stdout).toContain("tenantctl");
    }
  });

  test("offers tenants' names, commands and options", async () => {
    const project = await createProject({ tenants: { thor: {}, thanos: {}, loki: {} } });
    const words = async (...typed: string[]) =>
      (await project.tenantctl(["complete", "--", ...typed])).stdout
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith(":"))
        .map((line) => line.split("\t")[0]);
    expect(await words("migrate", "")).toEqual(expect.arrayContaining(["thor", "thanos", "loki"]));
    expect(await words("remove-tenant", "th")).toEqual(["thor", "thanos"]);
    for (const command of ["exec", "sql", "edit-tenant"])
      expect(await words(command, "th")).toEqual(["thor", "thanos"]);
    expect(await words("mig")).toEqual(["migrate"]);
    expect(await words("migrate", "--lo")).toEqual(expect.arrayContaining(["--lock-timeout", "--lock-wait"]));
  });

  test("offers no names, and no errors, where the config is broken", async () => {
    const project = await createProject();
    await project.write("tenants.config.json", "{");
    expect(await project.tenantctl(["complete", "--", "migrate", ""])).toMatchObject({ code: 0, stderr: "" });
  });

  test.each(["tenants.config.js", ".config/config.js"])("runs no program: %s", async (program) => {
    const project = await createProject({ tenants: { thor: {} } });
    const ran = project.path("ran");
    if (program.startsWith("tenants.")) await rm(project.configFile);
    const text = `require("node:fs").writeFileSync(${JSON.stringify(ran)}, ""); module.exports = { tenants: { thor: {} } };`;
    await project.write(program, text);
    const offered = await project.tenantctl(["complete", "--", "migrate", ""]);
    expect(offered).toMatchObject({ code: 0, stderr: "" });
    expect((await project.tenantctl(["complete", "bash"])).code).toBe(0);
    await expect(access(ran)).rejects.toThrow(/ENOENT/);
    await project.tenantctl(["list"]);
    await access(ran); // it is a program that would have run
  });

  test("is refused without a shell or for one that it does not know", async () => {
    const project = await createProject();
    expectRefusal(await project.tenantctl(["complete"]), {
      error: /missing required argument 'shell'/,
      hint: /--help/,
    });
    expectRefusal(await project.tenantctl(["complete", "tcsh"]), { error: /tcsh.*bash, zsh, fish/, hint: /--help/ });
  });
});
