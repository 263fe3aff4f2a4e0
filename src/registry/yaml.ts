// Registry room: an entry into a YAML map, and out of it, with the comments and the layout left as they are.

import {
  isCollection,
  isMap,
  isNode,
  isPair,
  isSeq,
  type Node,
  type Pair,
  parseDocument,
  stringify,
  type YAMLMap,
} from "yaml";
import { YAML_OPTIONS } from "../config/yaml.js";
import { cut, cutEntry, indentAt, insert, lineEnd, lineStop } from "./splice.js";

/** The text with one more key, the last of the map at the path, which is made where it is missing under the root. */
export function addToYaml(text: string, path: readonly string[], key: string, value: unknown): string {
  const root = rootOf(text);
  const [parent, pair] = placeAt(root, path);
  if (parent === undefined) return text;
  if (pair === undefined) return addToYaml(addEntry(text, parent, path.at(-1) ?? "", {}), path, key, value);
  if (isMap(pair.value) && pair.value.items.length > 0) return addEntry(text, pair.value, key, value);
  const colon = afterColon(text, pair);
  const end = isNode(pair.value) ? endOf(text, pair.value, colon) : colon;
  if (parent.flow === true || text.slice(colon, end).includes("#")) return insert(text, end - 1, inFlow(key, value));
  // an empty {}, or nothing at all, becomes a block; what stands behind it stays
  const bare = text.slice(0, colon) + text.slice(end);
  const indent = `${indentAt(text, colon - 1)}${" ".repeat(indentUnit(text, root))}`;
  return insert(bare, lineStop(bare, colon), inBlock(bare, indent, key, value, indentUnit(text, root)));
}

/** The text without a key of the map at the path. */
export function removeFromYaml(text: string, path: readonly string[], key: string): string {
  const [, parent] = placeAt(rootOf(text), path);
  const map = parent?.value;
  const pair = isMap(map) ? pairOf(map, key) : undefined;
  if (parent === undefined || pair === undefined || !isMap(map)) return text;
  const [start, end] = [startOf(pair), endOfPair(text, pair, map)];
  if (map.flow !== true) {
    const without = cut(text, start, end);
    return map.items.length > 1 ? without : insert(without, afterColon(text, parent), " {}");
  }
  const before = map.items.at(-2); // asked only of the last one: no comma is behind it
  return cutEntry(text, start, end, {
    behind: commaAfter(text, end),
    before: before && commaAfter(text, endOfPair(text, before, map)),
  });
}

/** The text with one more text in the list at the path, which has some. */
export function pushToYaml(text: string, path: readonly string[], value: string): string {
  const [, pair] = placeAt(rootOf(text), path);
  const last = isSeq(pair?.value) ? pair.value.items.at(-1) : undefined;
  if (!isSeq(pair?.value) || !isNode(last)) return text;
  const end = endOf(text, last, 0);
  if (pair.value.flow === true) return insert(text, end, `, ${scalar(value)}`);
  return insert(text, lineStop(text, end), `${lineEnd(text)}${indentAt(text, startOfNode(last))}- ${scalar(value)}`);
}

/** The text without an item of the list at the path. */
export function pullFromYaml(text: string, path: readonly string[], index: number): string {
  const [, pair] = placeAt(rootOf(text), path);
  const items = isSeq(pair?.value) ? pair.value.items.filter(isNode) : [];
  const [item, before] = [items[index], items.at(-2)];
  if (!isSeq(pair?.value) || item === undefined) return text;
  const [start, end] = [startOfNode(item), endOf(text, item, 0)];
  if (pair.value.flow !== true) return cut(text, text.lastIndexOf("-", start - 1), end);
  return cutEntry(text, start, end, {
    behind: commaAfter(text, end),
    before: before && commaAfter(text, endOf(text, before, 0)),
  });
}

/** The text with another text at the path, where there is one. */
export function setInYaml(text: string, path: readonly string[], value: unknown): string {
  const [, pair] = placeAt(rootOf(text), path);
  if (!isNode(pair?.value)) return text;
  const start = startOfNode(pair.value);
  return text.slice(0, start) + scalar(value) + text.slice(endOf(text, pair.value, start));
}

/** Behind the last entry, in the manner of the last entry. */
function addEntry(text: string, map: YAMLMap, key: string, value: unknown): string {
  const last = map.items.at(-1);
  if (last === undefined) return text;
  const end = endOfPair(text, last, map);
  if (map.flow === true) return insert(text, end, `, ${inFlow(key, value)}`);
  const indent = indentAt(text, startOf(last));
  const flow = isCollection(last.value) && last.value.flow === true && last.value.items.length > 0;
  const entry = flow
    ? `${lineEnd(text)}${indent}${inFlow(key, value)}`
    : inBlock(text, indent, key, value, indent.length || indentUnit(text, map));
  return insert(text, lineStop(text, end), entry);
}

function inFlow(key: string, value: unknown): string {
  return inBrackets({ [key]: value });
}

/** Right in a block and between brackets. */
function scalar(value: unknown): string {
  return inBrackets([value]);
}

function inBrackets(value: object): string {
  return stringify(value, { ...YAML_OPTIONS, collectionStyle: "flow", lineWidth: 0 })
    .trim()
    .slice(1, -1)
    .trim();
}

function inBlock(text: string, indent: string, key: string, value: unknown, unit: number): string {
  const lines = stringify({ [key]: value }, { ...YAML_OPTIONS, indent: unit, lineWidth: 0 })
    .trimEnd()
    .split("\n");
  return lines.map((line) => `${lineEnd(text)}${indent}${line}`).join("");
}

function rootOf(text: string): YAMLMap {
  const { contents } = parseDocument(text, YAML_OPTIONS);
  return contents as unknown as YAMLMap; // the shape of the file was checked
}

/** The pair at a path, and the map that it is in, or would be. */
function placeAt(root: YAMLMap, path: readonly string[]): [YAMLMap?, Pair?] {
  const [key = "", ...rest] = path;
  const pair = pairOf(root, key);
  if (rest.length === 0) return [root, pair];
  return isMap(pair?.value) ? placeAt(pair.value, rest) : [];
}

function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => keyOf(pair) === key);
}

function keyOf({ key }: Pair): unknown {
  return typeof key === "object" && key !== null && "value" in key ? key.value : key;
}

/** What the first block inside is indented by. */
function indentUnit(text: string, map: YAMLMap): number {
  for (const { value } of map.items) {
    const [first] = isMap(value) && value.flow !== true ? value.items : [];
    if (first !== undefined)
      return indentAt(text, startOf(first)).length - indentAt(text, startOf(map.items[0] ?? first)).length;
  }
  return 2;
}

function startOf({ key }: Pair): number {
  return isNode(key) ? startOfNode(key) : 0;
}

function startOfNode({ range }: Node): number {
  return range?.[0] ?? 0;
}

/** Behind the colon of a key. */
function afterColon(text: string, { key }: Pair): number {
  return text.indexOf(":", (isNode(key) ? key.range?.[1] : undefined) ?? 0) + 1;
}

function endOfPair(text: string, pair: Pair, map: YAMLMap): number {
  const bare = map.flow === true && isNode(pair.key) ? (pair.key.range?.[1] ?? 0) : afterColon(text, pair);
  return isNode(pair.value) ? endOf(text, pair.value, bare) : bare;
}

/** Where what is written of a node ends, the comments behind it left out. */
function endOf(text: string, node: Node, empty: number): number {
  if (isCollection(node) && node.flow !== true) {
    const last = node.items.at(-1);
    if (isPair(last)) return endOfPair(text, last as Pair, node as YAMLMap);
    if (isNode(last)) return endOf(text, last, empty);
  }
  const [start, end] = node.range ?? [0, 0];
  return start === end ? empty : text.slice(0, end).trimEnd().length;
}

function commaAfter(text: string, offset: number): number | undefined {
  const [between = ""] = /^(?:\s|#.*)*/.exec(text.slice(offset)) ?? [];
  const next = offset + between.length;
  return text[next] === "," ? next : undefined;
}
