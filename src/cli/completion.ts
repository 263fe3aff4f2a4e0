// The cli room: shell completion, made from the commands' own definitions, tenants' names included.

import tab from "@bomb.sh/tab/commander";
import type { Command as PlainCommand } from "commander";
import type { Fleet } from "../fleet/index.js";
import type { Program } from "./options.js";

/**
 * Adds the command `complete`, which prints a shell's script and, called by it, the completions.
 * @param asked whether completions are asked for: only then is the config read.
 */
export async function addCompletion(program: Program, asked: boolean): Promise<void> {
  const completion = tab(program as unknown as PlainCommand);
  const names = asked ? await tenantNames() : [];
  const offerNames = (complete: (value: string, description: string) => void) => {
    for (const name of names) complete(name, "tenant");
  };
  for (const command of program.commands) {
    const [argument] = command.registeredArguments;
    const known = completion.commands.get(command.name());
    const takesTenant = ["tenant", "tenants"].includes(argument?.name() ?? "") || command.name() === "remove-tenant";
    if (!argument || !known || !takesTenant) continue;
    known.argument(argument.name(), offerNames, argument.variadic);
  }
}

// Completion must not fail where a command would: without a config there are no names to offer. Nor does pressing TAB run a program.
async function tenantNames(): Promise<string[]> {
  const { openFleet } = await import("../fleet/index.js");
  let fleet: Fleet | undefined;
  try {
    fleet = await openFleet({ modules: false });
    return (await fleet.registry.tenants()).map((tenant) => tenant.name);
  } catch {
    return [];
  } finally {
    await fleet?.close();
  }
}
