// The cli room: rows of many tenants as a table, as CSV or as JSON, while they come.

import type { Column } from "../fleet/index.js";
import { openDocument, writeTo } from "./streams.js";
import type { Style } from "./style.js";
import { visible } from "./words.js";

type Row = readonly (string | null)[];

export interface RowWriter {
  rows(tenant: string, columns: readonly Column[], rows: readonly Row[]): Promise<void> | undefined;
  /** Writes what is left, and, as JSON, what else the result has. */
  end(others: object): void;
  /** Columns that some tenant has and that had no place any more, as `tenant: column`. */
  lost: string[];
}

/** One document: `rows` as they come, then `columns` and the rest. */
export function jsonWriter(): RowWriter {
  const document = openDocument("rows");
  const names = new Set(["tenant"]);
  return {
    rows(tenant, columns, rows) {
      for (const { name } of columns) names.add(name);
      const keys = ["tenant", ...columns.map(({ name }) => name)].map((name) => JSON.stringify(name));
      return document.add(
        rows.map((row) => {
          const values = [JSON.stringify(tenant), ...row.map((value, index) => jsonOf(value, columns[index]?.type))];
          return `{${values.map((value, index) => `${keys[index]}:${value}`).join(",")}}`;
        }),
      );
    },
    end: (others) => document.end({ columns: [...names], ...others }),
    lost: [],
  };
}

const numbers = new Set([21, 23, 26, 700, 701]); // int2, int4, oid, float4, float8
const documents = new Set([114, 3802]); // json, jsonb
const boolean = 16;

/** A value of the server's as the text of a JSON value: numbers that JavaScript holds exactly, booleans, json; all else is text. */
function jsonOf(value: string | null, type: number | undefined): string {
  if (value === null) return "null";
  if (type === boolean) return value === "t" ? "true" : "false";
  if (documents.has(type ?? 0)) return value;
  if (numbers.has(type ?? 0) && /^-?\d/.test(value)) return value;
  return JSON.stringify(value);
}

// As much as this, in characters, is held to find the columns and their widths; then it flows.
const heldSize = 4_000_000;

/** A table whose columns are all tenants' columns, in the order in which they were met. */
export function tableWriter(format: "table" | "csv", style: Style): RowWriter {
  const columns: string[] = ["tenant"];
  const lost: string[] = [];
  let held: Row[] | undefined = [];
  let size = 0;
  let widths: number[] = [];
  const textOf = (row: Row) => (format === "csv" ? csvLine(row, columns.length) : tableLine(row, widths));
  function settle(rows: readonly Row[]): string {
    held = undefined;
    if (columns.length === 1) return "";
    if (format === "csv") return [csvLine(columns, columns.length), ...rows.map(textOf)].join("");
    widths = columns.map((name) => name.length);
    for (const row of rows)
      for (const [at, value] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, shown(value).length);
    return [`${style.dim(tableLine(columns, widths).trimEnd())}\n`, ...rows.map(textOf)].join("");
  }
  return {
    lost,
    rows(tenant, found, rows) {
      for (const { name } of found) {
        if (columns.includes(name)) continue;
        if (held) columns.push(name);
        else lost.push(`${tenant}: ${name}`);
      }
      const places = found.map(({ name }) => columns.indexOf(name));
      const placed = rows.map((row) => {
        const whole: (string | null)[] = [tenant];
        for (const [at, place] of places.entries()) if (place !== -1) whole[place] = row[at] ?? null;
        return Array.from(whole, (value) => value ?? null);
      });
      if (!held) return writeTo(process.stdout, placed.map(textOf).join(""));
      for (const row of placed) {
        held.push(row);
        for (const value of row) size += 16 + (value?.length ?? 0);
      }
      return size < heldSize ? undefined : writeTo(process.stdout, settle(held));
    },
    end() {
      if (held) process.stdout.write(settle(held));
    },
  };
}

function tableLine(row: Row, widths: readonly number[]): string {
  const cells = widths.map((width, at) => shown(row[at] ?? null).padEnd(width));
  return `${cells.join("  ").trimEnd()}\n`;
}

function shown(value: string | null): string {
  return visible(value ?? "");
}

// As COPY writes it: NULL is nothing, an empty text is "".
function csvLine(row: Row, columns: number): string {
  const cells = Array.from({ length: columns }, (_, at) => row[at] ?? null);
  return `${cells.map((value) => (value === null ? "" : /^$|[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)).join(",")}\n`;
}
