// The migrations room: what lint says of a SECURITY DEFINER function whose caller has a say in which tables it uses.

import { textOf } from "./lint-names.js";
import type { Verdict } from "./lint-rules.js";
import type { Node } from "./walk.js";

/** A SECURITY DEFINER function that looks names up where its caller does, or in its caller's temporary tables. */
export function securityDefiner(kind: string, node: Node): Verdict | undefined {
  if (kind !== "CreateFunctionStmt" && kind !== "AlterFunctionStmt") return undefined;
  const written = kind === "CreateFunctionStmt" ? node.options : node.actions;
  if (node.sql_body !== undefined || !Array.isArray(written)) return undefined;
  const options = written.map((option) => (option as { DefElem: Node }).DefElem);
  const secure = options.find(({ defname, arg }) => defname === "security" && JSON.stringify(arg).includes("true"));
  if (secure === undefined) return undefined;
  // Of several, the last one holds.
  const path = options.findLast((option) => settingOf(option)?.name === "search_path");
  const setting = path && settingOf(path);
  if (path === undefined || setting?.kind === "VAR_SET_DEFAULT") {
    return {
      message:
        "a SECURITY DEFINER function without a search_path of its own reads and writes, with its owner's rights, in whichever tenant its caller is",
      hint: "add SET search_path FROM CURRENT: that of migrations, the tenant's, which ends in pg_temp",
      location: locationOf(secure),
    };
  }
  if (setting === undefined || setting.kind === "VAR_SET_CURRENT" || keepsTemporaryLast(setting)) return undefined;
  return {
    message:
      "a SECURITY DEFINER function whose search_path does not end in pg_temp finds its caller's temporary tables before the real ones, and their triggers run with its owner's rights",
    hint: "write pg_temp last, and once; or SET search_path FROM CURRENT: that of migrations ends in pg_temp",
    location: locationOf(path),
  };
}

function settingOf({ defname, arg }: Node): Node | undefined {
  return defname === "set" ? (arg as { VariableSetStmt?: Node } | undefined)?.VariableSetStmt : undefined;
}

// With an empty path a function has to name the schemas itself. Of a schema that is named twice, the first place counts.
function keepsTemporaryLast(setting: Node): boolean {
  const schemas = [setting.args].flat().map((value) => textOf(value));
  return schemas.join() === "" || schemas.indexOf("pg_temp") === schemas.length - 1;
}

function locationOf({ location }: Node): number | undefined {
  return typeof location === "number" ? location : undefined;
}
