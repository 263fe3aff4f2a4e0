// Registry room: an entry into a JSON map, and out of it, with the comments and the layout left as they are.

import { findNodeAtLocation, type Node, parseTree } from "jsonc-parser";
import { entryLine, inOneLine } from "./entry.js";
import { cutEntry, indentAt, insert, lineEnd, startsLine } from "./splice.js";

/** The text with one more key, the last of the map at the path, which is made where it is missing. */
export function addToJson(text: string, path: readonly string[], key: string, value: unknown): string {
  const map = nodeAt(text, path);
  if (map === undefined) return addToJson(addToJson(text, path.slice(0, -1), path.at(-1) ?? "", {}), path, key, value);
  if (map.type !== "object") return addToJson(replace(text, map, "{}"), path, key, value);
  const last = map.children?.at(-1);
  if (last === undefined) return addFirst(text, map, key, value);
  return addAfter(text, last, entryLine(key, value), (indent) => inLines(text, key, value, indent));
}

/** The text with one more text in the list at the path, which has some. */
export function pushToJson(text: string, path: readonly string[], value: string): string {
  const last = nodeAt(text, path)?.children?.at(-1);
  return last === undefined ? text : addAfter(text, last, JSON.stringify(value));
}

/** The text with another value at the path, where there is one. */
export function setInJson(text: string, path: readonly string[], value: unknown): string {
  const node = nodeAt(text, path);
  return node === undefined ? text : replace(text, node, inOneLine(value));
}

/** The text without a key of the map at the path. */
export function removeFromJson(text: string, path: readonly string[], key: string): string {
  const property = nodeAt(text, [...path, key])?.parent;
  return property === undefined ? text : cutItem(text, property);
}

/** The text without an item of the list at the path. */
export function pullFromJson(text: string, path: readonly string[], index: number): string {
  const item = nodeAt(text, path)?.children?.[index];
  return item === undefined ? text : cutItem(text, item);
}

function cutItem(text: string, item: Node): string {
  const before = item.parent?.children?.at(-2); // asked only of the last one: no comma is behind it
  return cutEntry(text, item.offset, endOf(item), {
    behind: commaAfter(text, endOf(item)),
    before: before && commaAfter(text, endOf(before)),
  });
}

function addFirst(text: string, map: Node, key: string, value: unknown): string {
  const eol = lineEnd(text);
  const indent = indentAt(text, map.offset);
  const close = endOf(map) - 1;
  const inside = text.slice(map.offset + 1, close).trimEnd(); // comments
  const entry = `${eol}${indent}${indentUnit(text)}${entryLine(key, value)}${eol}${indent}`;
  return text.slice(0, map.offset + 1) + inside + entry + text.slice(close);
}

function addAfter(text: string, last: Node, line: string, lines?: (indent: string) => string): string {
  const end = endOf(last);
  if (!startsLine(text, last.offset)) return insert(text, end, `, ${line}`);
  const comma = commaAfter(text, end);
  const indent = indentAt(text, last.offset);
  const sibling = text.slice(last.offset, end);
  const entry = sibling.includes("\n") && lines !== undefined ? lines(indent) : line;
  const piece = `${lineEnd(text)}${indent}${entry}${comma === undefined ? "" : ","}`;
  const after = insert(text, commentsAfter(text, comma === undefined ? end : comma + 1), piece);
  return comma === undefined ? insert(after, end, ",") : after;
}

function inLines(text: string, key: string, value: unknown, indent: string): string {
  const lines = JSON.stringify(value, undefined, indentUnit(text)).split("\n");
  return `${JSON.stringify(key)}: ${lines.join(`${lineEnd(text)}${indent}`)}`;
}

/** What the file indents its first key by. */
function indentUnit(text: string): string {
  return /^\s*\{[^"]*\n([ \t]+)"/.exec(text)?.[1] ?? "  ";
}

/** Where the next token is a comma, its offset. */
function commaAfter(text: string, offset: number): number | undefined {
  const [between = ""] = /^(?:\s|\/\/.*|\/\*[\s\S]*?\*\/)*/.exec(text.slice(offset)) ?? [];
  return text[offset + between.length] === "," ? offset + between.length : undefined;
}

/** Behind the comments that follow on the same line. */
function commentsAfter(text: string, offset: number): number {
  const [comments = ""] = /^(?:[ \t]*(?:\/\/[^\r\n]*|\/\*[\s\S]*?\*\/))*/.exec(text.slice(offset)) ?? [];
  return offset + comments.length;
}

function nodeAt(text: string, path: readonly string[]): Node | undefined {
  const root = parseTree(text, [], { allowTrailingComma: true });
  return root && findNodeAtLocation(root, [...path]);
}

function endOf(node: Node): number {
  return node.offset + node.length;
}

function replace(text: string, node: Node, piece: string): string {
  return text.slice(0, node.offset) + piece + text.slice(endOf(node));
}
