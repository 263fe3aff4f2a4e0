// Config room: YAML, read so that every value has a place. Loaded only for a YAML config.

import { isNode, isScalar, type ParsedNode, parseDocument, visit } from "yaml";
import type { Reading } from "./jsonc.js";

/** Names such as `42` and `1.0` are text, and merge keys (`<<`) merge. */
export const YAML_OPTIONS = { stringKeys: true, merge: true, uniqueKeys: false, prettyErrors: false } as const;

/** Reads the one document that the text holds, whatever is wrong with it. Offsets count from the text's start. */
export function readYaml(text: string): Reading {
  const document = parseDocument<ParsedNode>(text, YAML_OPTIONS);
  const problems = document.errors.map(({ pos, message }) => ({ offset: pos[0], message: inOurWords(message) }));
  // `uniqueKeys` compares every key with every other, which a large fleet feels
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key) || typeof key.value !== "string") continue;
        if (seen.has(key.value)) {
          problems.push({ offset: key.range?.[0] ?? 0, message: `${JSON.stringify(key.value)} is there twice` });
        }
        seen.add(key.value);
      }
    },
  });
  return {
    value: problems.length === 0 ? converted(() => document.toJS(), problems) : undefined,
    problems,
    keys(path) {
      let at: unknown = document.toJS({ mapAsMap: true });
      for (const key of path) at = at instanceof Map ? at.get(key) : undefined;
      return at instanceof Map ? [...at.keys()].map(String) : [];
    },
    offset(path) {
      const node = document.getIn(path, true);
      return isNode(node) ? node.range?.[0] : undefined;
    },
  };
}

/** The parser makes a problem of a stack that ran out. */
function inOurWords(message: string): string {
  return message.startsWith("Maximum call stack") ? "nested too deep to be a config" : message;
}

/** An alias without anchor, or a merge of what is no map, shows only here. */
function converted(convert: () => unknown, problems: Reading["problems"]): unknown {
  try {
    return convert();
  } catch (error) {
    problems.push({ offset: 0, message: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}
