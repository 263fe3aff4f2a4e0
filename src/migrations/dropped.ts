// The migrations room: the objects that a section drops with CASCADE, as it names them.

import { cascades } from "./effects.js";
import { kindOf, strings } from "./lint-names.js";
import { lineAndColumnIn } from "./places.js";
import type { Section } from "./sections.js";
import { parseStatements } from "./statements.js";
import type { Node } from "./walk.js";

/** One object that is dropped, or a part of it; of functions of one name it may be any. */
export interface Dropped {
  catalog: "pg_class" | "pg_constraint" | "pg_type" | "pg_proc" | "pg_namespace" | "pg_extension";
  /** Undefined where it is looked up in the search_path. */
  schema: string | undefined;
  names: string;
  /** The column or constraint of it that alone is dropped. */
  column?: string | undefined;
}

/** A statement with a CASCADE. */
export interface CascadingStatement {
  line: number;
  /** Its text in one line, shortened. */
  words: string;
  dropped: Dropped[];
}

const catalogs: Readonly<Record<string, Dropped["catalog"]>> = {
  ...{ TABLE: "pg_class", VIEW: "pg_class", MATVIEW: "pg_class", SEQUENCE: "pg_class", FOREIGN_TABLE: "pg_class" },
  ...{ INDEX: "pg_class", TYPE: "pg_type", DOMAIN: "pg_type", SCHEMA: "pg_namespace", EXTENSION: "pg_extension" },
  ...{ FUNCTION: "pg_proc", PROCEDURE: "pg_proc", ROUTINE: "pg_proc", AGGREGATE: "pg_proc" },
};

/** The statements of a section that drop with CASCADE, and what they name. What can't be read is left out. */
export async function droppedByCascade(section: Section): Promise<CascadingStatement[]> {
  const statements = await parseStatements(section.text).catch(() => []);
  const placeOf = lineAndColumnIn(section.text);
  return statements
    .filter(({ kind, node }) => cascades(kind, node))
    .map(({ kind, node, start, end }) => ({
      line: section.line - 1 + placeOf(start).line,
      words: section.text.slice(start, end).replaceAll(/\s+/g, " ").trim().slice(0, 80),
      dropped: kind === "DropStmt" ? inDrop(node) : kind === "AlterTableStmt" ? inAlter(node) : [],
    }))
    .filter(({ dropped }) => dropped.length > 0);
}

function inDrop(node: Node): Dropped[] {
  const catalog = catalogs[kindOf(node) ?? ""];
  if (catalog === undefined) return [];
  return [node.objects].flat().flatMap((object) => {
    const { List, TypeName, ObjectWithArgs } = (object ?? {}) as Record<string, Node | undefined>;
    const found = [
      ...strings(List),
      ...strings(TypeName?.names),
      ...strings(ObjectWithArgs?.objname),
      ...strings([object]),
    ];
    const names = found.at(-1);
    return names === undefined ? [] : [{ catalog, schema: found.at(-2), names }];
  });
}

function inAlter(node: Node): Dropped[] {
  const { schemaname, relname } = (node.relation ?? {}) as { schemaname?: string; relname?: string };
  if (relname === undefined) return [];
  return [node.cmds].flat().flatMap((command): Dropped[] => {
    const { subtype, behavior, name } = (command as { AlterTableCmd?: Node }).AlterTableCmd ?? {};
    if (behavior !== "DROP_CASCADE" || typeof name !== "string") return [];
    const catalog = subtype === "AT_DropColumn" ? "pg_class" : subtype === "AT_DropConstraint" ? "pg_constraint" : null;
    return catalog === null ? [] : [{ catalog, schema: schemaname, names: relname, column: name }];
  });
}
