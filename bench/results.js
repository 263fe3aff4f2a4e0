// RESULTS.md: a section a scenario, each with the machine and the command that it was measured with.
import { readFileSync, writeFileSync } from "node:fs";

/** @typedef {{ title: string, notes: string[], header: string[], rows: string[][] }} Section */

const preface = `# Measured

Written by \`npm run bench\`; what is measured, and how, is in [README.md](README.md). Ratios travel from machine to machine, times do not.
`;

/** @param {number} ms */
export function duration(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** @param {number} ratio of a peer's time over ours */
export const times = (ratio) => `${ratio.toFixed(ratio < 10 ? 2 : 1)} ×`;

/** @param {number} bytes */
export const megabytes = (bytes) => `${Math.round(bytes / 2 ** 20)} MB`;

/** @param {Section} section @param {string} machine @param {string} command */
export function renderSection({ title, notes, header, rows }, machine, command) {
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(" | ")} |`;
  const rule = header.map((_, column) => (column === 0 ? "---" : "---:"));
  const table = [line(header), line(rule), ...rows.map(line)].join("\n");
  const date = new Date().toISOString().slice(0, 10);
  return `## ${title}\n\n${notes.join(" ")}\n\n${table}\n\n\`${command}\`, ${date}: ${machine}.\n`;
}

/**
 * Puts a section in place of the one with its title, or where its scenario's turn is.
 * @param {string} file
 * @param {string} text of the section
 * @param {string[]} titles of all the scenarios, in order
 */
export function writeSection(file, text, titles) {
  const sections = new Map(readSections(file).map((section) => [titleOf(section), section.trimEnd()]));
  sections.set(titleOf(text), text.trimEnd());
  const ordered = titles.flatMap((title) => sections.get(title) ?? []);
  writeFileSync(file, `${[preface.trimEnd(), ...ordered].join("\n\n")}\n`);
}

/** @param {string} file */
function readSections(file) {
  try {
    return readFileSync(file, "utf8")
      .split(/^(?=## )/m)
      .slice(1);
  } catch {
    return [];
  }
}

/** @param {string} section */
const titleOf = (section) => section.slice(3, section.indexOf("\n"));
