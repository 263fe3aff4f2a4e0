// The migrations room: comments that allow what lint finds, `-- tenantctl-lint: allow <rule>`, and what migrate would refuse.

import { type LintRule, lintRules } from "./lint-rules.js";

/** One rule of one comment. */
export interface Allowance {
  rule: LintRule;
  /** The comment's place, from 1. */
  line: number;
  column: number;
  /** The line that it is about; undefined for the whole file. */
  about: number | undefined;
}

export interface Allowances {
  allowed: Allowance[];
  /** Names of what the file's statements may change outside of a tenant's schema, as the config's `mayChange` has them. */
  mayChange: string[];
  /** Words in such comments that mean nothing. */
  unknown: { word: string; what: "rule" | "directive" | "name"; line: number; column: number }[];
}

const comment = /(?:--|\/\/)[ \t]*tenantctl-lint:(.*)$/;

/** Reads a file's comments. What comes after a second `--` is a reason, for people. */
export function readAllowances(text: string): Allowances {
  const lines = text.split(/\r?\n/);
  const result: Allowances = { allowed: [], mayChange: [], unknown: [] };
  for (const [index, content] of lines.entries()) {
    const match = comment.exec(content);
    if (match === null) continue;
    const place = { line: index + 1, column: [...content.slice(0, match.index)].length + 1 };
    const [words = ""] = (match[1] ?? "").split("--");
    const [directive = "", ...rules] = words.split(/[\s,]+/).filter(Boolean);
    if (directive === "may-change") {
      const names = words.trim().slice(directive.length).split(",");
      result.mayChange.push(...names.map((name) => name.trim()).filter(Boolean));
      if (rules.length === 0) result.unknown.push({ word: "", what: "name", ...place });
      continue;
    }
    if (directive !== "allow" && directive !== "allow-file") {
      result.unknown.push({ word: directive, what: "directive", ...place });
      continue;
    }
    if (rules.length === 0) result.unknown.push({ word: "", what: "rule", ...place });
    const about = directive === "allow-file" ? undefined : aboutLine(lines, index);
    for (const word of rules) {
      const rule = lintRules.find((one) => one === word);
      if (rule === undefined) result.unknown.push({ word, what: "rule", ...place });
      else result.allowed.push({ rule, ...place, about });
    }
  }
  return result;
}

// A comment behind something is about its own line; one that stands alone is about what comes next.
function aboutLine(lines: readonly string[], index: number): number {
  const alone = (content: string) => /^\s*(--.*)?$/.test(content);
  if (!alone(lines[index] ?? "")) return index + 1;
  const next = lines.findIndex((content, at) => at > index && !alone(content));
  return (next === -1 ? index : next) + 1;
}

/** Whether a comment about this line, or about the whole file, is about what is on these lines. */
export function isWithin(line: number | undefined, { from, to }: { from: number; to: number }): boolean {
  return line === undefined || (line >= from && line <= to);
}
