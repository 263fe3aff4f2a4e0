// The migrations room: which statements make some servers look through all indexes of the database. docs/servers.md tells what was measured.

import type { Node } from "./walk.js";

/**
 * Whether a statement changes what a type's stored values look like, so that such a server looks for indexes that hold some. A
 * column whose type is a domain with a default or a check does it too: only the server knows which types are.
 */
export function scansIndexes(kind: string, node: Node): boolean {
  if (kind === "AlterDomainStmt") return checksDomain(node);
  if (kind !== "AlterTableStmt" || !Array.isArray(node.cmds)) return false;
  return node.cmds.some((command) => {
    const { subtype, def } = (command as { AlterTableCmd?: { subtype?: string; def?: Node } }).AlterTableCmd ?? {};
    if (subtype === "AT_AlterColumnType" || subtype === "AT_SetExpression") return true;
    return subtype === "AT_AddColumn" && fillsColumn((def?.ColumnDef ?? {}) as Column);
  });
}

interface Column {
  typeName?: { names?: { String?: { sval?: string } }[] };
  constraints?: { Constraint?: Constraint }[];
}

interface Constraint {
  contype?: string;
  generated_kind?: string;
  skip_validation?: boolean;
  raw_expr?: { A_Const?: { isnull?: boolean }; TypeCast?: { arg?: { A_Const?: { isnull?: boolean } } } };
}

// NOT NULL, CHECK, UNIQUE and REFERENCES alone leave the new column empty, as DEFAULT NULL does.
function fillsColumn({ typeName, constraints = [] }: Column): boolean {
  if (/^(big|small)?serial[248]?$/.test(typeName?.names?.at(-1)?.String?.sval ?? "")) return true;
  return constraints.some(({ Constraint: { contype, generated_kind, raw_expr } = {} }) => {
    const value = raw_expr?.TypeCast?.arg ?? raw_expr;
    if (contype === "CONSTR_DEFAULT") return value?.A_Const?.isnull !== true;
    return contype === "CONSTR_IDENTITY" || (contype === "CONSTR_GENERATED" && generated_kind === "s");
  });
}

// The letters are the parser's: set not null, validate constraint, add constraint.
function checksDomain({ subtype, def }: Node): boolean {
  if (subtype === "O" || subtype === "V") return true;
  return subtype === "C" && (def as { Constraint?: Constraint } | undefined)?.Constraint?.skip_validation !== true;
}
