// The database room: what a text of SQL does to transactions, told by its tokens. What can't be told is taken for the worst.

/** What matters of a text before it is sent. */
export interface Shape {
  /** One statement that can't end a transaction, whatever it calls: a query, or a change of rows. */
  readonly plain: boolean;
  /** At most one statement. */
  readonly single: boolean;
  /** Begins with a transaction's first words, before which no query may come. */
  readonly opens: boolean;
  /** Ends a transaction and goes on behind it. */
  readonly continues: boolean;
  /** Calls a procedure or a block, which may end transactions by itself where nothing forbids it. */
  readonly calls: boolean;
  /** Copies rows from or to the client. */
  readonly copies: boolean;
}

const quick = /^\s*(?:select|insert|update|delete|with|values|merge|table)\b[^;]*;?\s*$/i;
const plainShape: Shape = { plain: true, single: true, opens: false, continues: false, calls: false, copies: false };
const plainWords = new Set(["select", "insert", "update", "delete", "with", "values", "merge", "table"]);
const endWords = new Set(["commit", "rollback", "end", "abort"]);

/** @param text what is sent at once. */
export function shapeOf(text: string): Shape {
  if (quick.test(text)) return plainShape;
  // A backslash before a quote ends the string or not, as standard_conforming_strings has it: both are looked at.
  const one = shape(split(text, false));
  if (!/\\'/.test(text)) return one;
  const other = shape(split(text, true));
  return {
    plain: one.plain && other.plain,
    single: one.single && other.single,
    opens: one.opens && other.opens,
    continues: one.continues || other.continues,
    calls: one.calls || other.calls,
    copies: one.copies || other.copies,
  };
}

/** The first words of a statement, in lower case; `(` counts as none. */
type Words = readonly string[];

function shape(statements: readonly Words[]): Shape {
  const [first = []] = statements;
  const single = statements.length <= 1;
  const end = statements.findIndex(endsTransaction);
  return {
    plain: single && plainWords.has(first[0] ?? ""),
    single,
    opens: first[0] === "begin" || first[0] === "start" || (first[0] === "set" && first[1] === "transaction"),
    continues: end !== -1 && end < statements.length - 1,
    calls: statements.some(([word = ""]) => word === "call" || word === "do"),
    copies: statements.some(([word = ""]) => word === "copy"),
  };
}

// `rollback to` goes back within a transaction, and `commit prepared` ends somebody else's.
function endsTransaction([word = "", second = "", third = ""]: Words): boolean {
  if (word === "prepare") return second === "transaction";
  if (!endWords.has(word) || second === "prepared") return false;
  const next = second === "work" || second === "transaction" ? third : second;
  return !(word === "rollback" && next === "to");
}

const wordsKept = 4;
const token =
  /--[^\n\r]*|\/\*|[eE]'|'|"|\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|\d[\w$]*|[;()]/g;

/** The statements of a text that are not empty. `escapes`: whether a backslash escapes in any string. */
function split(text: string, escapes: boolean, bodies = true): Words[] {
  const statements: Words[] = [];
  const find = new RegExp(token);
  let words: string[] = [];
  let last = "";
  let depth = 0;
  let body = false;
  const finish = () => {
    if (words.length > 0) statements.push(words);
    words = [];
    last = "";
    depth = 0;
    body = false;
  };
  for (let match = find.exec(text); match !== null; match = find.exec(text)) {
    const [found] = match;
    if (found.startsWith("--")) continue;
    const start = find.lastIndex;
    find.lastIndex = skip(text, start, found, escapes);
    if (found === "/*") continue;
    if (found === ";") {
      // A function's body of statements ends at the first END before a semicolon. Should it be that of a CASE, what comes after it is
      // looked at, too: rather one text too many is refused.
      if (!body || last === "end") finish();
      continue;
    }
    const word = find.lastIndex === start ? found.toLowerCase() : "''";
    if (word === "(") depth++;
    if (word === ")") depth--;
    if (bodies && word === "atomic" && last === "begin" && depth === 0 && makesRoutine(words)) body = true;
    if (words.length < wordsKept) words.push(word);
    last = word;
  }
  if (body && last !== "end") return split(text, escapes, false); // it has no end, so it is none
  finish();
  return statements;
}

/** Where the comments of a text begin that run to their line's end: none of them is in a string, a body or another comment. */
export function lineCommentsIn(text: string): ReadonlySet<number> {
  const starts = new Set<number>();
  const find = new RegExp(token);
  for (let match = find.exec(text); match !== null; match = find.exec(text)) {
    if (match[0].startsWith("--")) starts.add(match.index);
    else find.lastIndex = skip(text, find.lastIndex, match[0], false);
  }
  return starts;
}

function makesRoutine([first, second, third, fourth]: Words): boolean {
  const what = second === "or" && third === "replace" ? fourth : second;
  return first === "create" && (what === "function" || what === "procedure");
}

/** Where what begins with this token ends: a string, a quoted name, a comment. The same place for a token that is whole. */
function skip(text: string, from: number, opened: string, escapes: boolean): number {
  if (opened === "/*") return endOfComment(text, from);
  if (opened === '"') return endOfQuoted(text, from, '"', false);
  if (opened === "'") return endOfQuoted(text, from, "'", escapes);
  if (opened === "e'" || opened === "E'") return endOfQuoted(text, from, "'", true);
  if (!opened.startsWith("$")) return from;
  const end = text.indexOf(opened, from);
  return end === -1 ? text.length : end + opened.length;
}

// A comment is read to its line's end, never in parts: a row of dashes would be read in as many ways as it can be cut.
const continued = /(?:[ \t\f\v]|--[^\n\r]*(?=[\n\r]))*[\n\r](?:\s|--[^\n\r]*(?=[\n\r]))*'/y;

function endOfQuoted(text: string, from: number, quote: string, escapes: boolean): number {
  for (let at = from; at < text.length; at++) {
    if (escapes && text[at] === "\\") at++;
    else if (text[at] === quote) {
      if (text[at + 1] === quote) at++;
      else {
        // Behind a line's end a string goes on, as what it began as.
        continued.lastIndex = at + 1;
        if (quote === '"' || !continued.test(text)) return at + 1;
        at = continued.lastIndex - 1;
      }
    }
  }
  return text.length;
}

// They nest.
function endOfComment(text: string, from: number): number {
  const mark = /\/\*|\*\//g;
  mark.lastIndex = from;
  let depth = 1;
  for (let match = mark.exec(text); match !== null; match = mark.exec(text)) {
    depth += match[0] === "/*" ? 1 : -1;
    if (depth === 0) return mark.lastIndex;
  }
  return text.length;
}
