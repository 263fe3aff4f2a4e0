// The migrations room: SQL that somebody typed, read by PostgreSQL's own parser, and what of it may not be run in a tenant's transaction.

import { ProblemsError } from "../errors.js";
import { lineAndColumnIn, lineStart } from "./places.js";
import { clientLines, type ParsedStatement, parseStatements } from "./statements.js";
import type { Node } from "./walk.js";

/** One statement of the text. */
export interface QueryStatement {
  text: string;
  /** Where it begins in the whole text, in UTF-16 units. */
  start: number;
  /** Whether it answers with rows, as far as its kind tells. */
  answers: boolean;
}

export interface QueryOptions {
  /** It may write. */
  write: boolean;
  /** What the text is called in messages; nothing for one that was typed. */
  file?: string | undefined;
}

/**
 * Splits a text into its statements, and refuses whatever would leave the tenant's transaction, its schema or, unless it may write,
 * read-only. What the parser can't read is refused too: nobody could tell what it does.
 * @throws ProblemsError SQL_REFUSED with each refusal at its line and column.
 */
export async function readQuery(text: string, options: QueryOptions): Promise<QueryStatement[]> {
  const placeOf = lineAndColumnIn(text);
  const at = (offset: number) => {
    const { line, column } = placeOf(offset);
    return `${options.file === undefined ? "" : `${options.file}:`}${line}:${column}`;
  };
  const refuse = (problems: string[], hint?: string): never => {
    throw new ProblemsError("SQL_REFUSED", "this SQL is refused", problems, { hint: hint ?? "nothing was touched" });
  };
  const nul = text.indexOf("\0");
  if (nul !== -1) refuse([`${at(nul)}: a NUL byte, which no SQL has`]);
  let statements: ParsedStatement[];
  try {
    statements = await parseStatements(text);
  } catch (error) {
    const forPsql = clientLines({ text, line: 1 }).map(
      ({ message, line }) => `${at(lineStart(text, line))}: ${message}`,
    );
    if (forPsql.length > 0)
      return refuse(forPsql, "nothing was touched; tenantctl shell, or exec -- psql, understands it");
    const { message, sqlDetails } = error as Error & { sqlDetails?: { cursorPosition?: number } };
    return refuse([`${at(unitsOf(text, sqlDetails?.cursorPosition ?? 0))}: ${message}`]);
  }
  if (statements.length === 0) refuse(["there is no statement in it"], "for example 'select count(*) from polls'");
  const problems = statements.flatMap(({ kind, node, start }) => {
    const why = refusalOf(kind, node, options.write);
    return why === undefined ? [] : [{ text: `${at(start)}: ${why.message}`, needsWrite: why.needsWrite }];
  });
  if (problems.length > 0) {
    refuse(
      problems.map((problem) => problem.text),
      problems.every((problem) => problem.needsWrite) ? "nothing was touched; --write lets it write" : undefined,
    );
  }
  return statements.map(({ kind, node, start, end }) => ({
    text: text.slice(start, end),
    start,
    answers: answersRows(kind, node),
  }));
}

interface Refusal {
  message: string;
  needsWrite?: boolean;
}

// Read-only is a list of what may be; the server's own read-only transaction stands behind it.
const reading = new Set(["SelectStmt", "ExplainStmt", "VariableShowStmt", "VariableSetStmt"]);

function refusalOf(kind: string, node: Node, write: boolean): Refusal | undefined {
  const always = refusedAlways(kind, node, write) ?? refusedCall(node, write);
  if (always !== undefined) return always;
  if (write) return undefined;
  return reading.has(kind) ? undefined : { message: `${wordOf(kind)} may write`, needsWrite: true };
}

function refusedAlways(kind: string, node: Node, write: boolean): Refusal | undefined {
  switch (kind) {
    case "TransactionStmt":
      return { message: `${wordOfTransaction(node)} would end or split the tenant's one transaction: leave it out` };
    case "VariableSetStmt":
      return refusedSetting(node, write);
    case "CopyStmt":
      return { message: "COPY has no input and no output here: --csv, or tenantctl exec -- psql -c '\\copy …'" };
    case "DiscardStmt":
    case "PrepareStmt":
    case "ListenStmt":
    case "LoadStmt":
      return { message: `${wordOf(kind)} would outlive the tenant's transaction` };
    case "DeclareCursorStmt":
      return { message: "a cursor has nobody who fetches from it: write its query alone" };
    case "CreateStmt":
    case "CreateTableAsStmt":
      return outlives(kind, node)
        ? { message: "a temporary table would outlive the tenant's transaction: add ON COMMIT DROP" }
        : undefined;
    default:
      return undefined;
  }
}

// Whoever may not leave the schema or the role may not set them; in a transaction that is rolled back, other settings go with it.
const fixed = new Set(["role", "session_authorization", "search_path"]);

function isFixed(setting: string): boolean {
  return fixed.has(setting) || /^(default_)?transaction_/.test(setting) || setting.startsWith("tenantctl.");
}

function refusedSetting(node: Node, write: boolean): Refusal | undefined {
  const name = String(node.name ?? "").toLowerCase();
  if (node.kind === "VAR_SET_MULTI" && name.startsWith("transaction"))
    return { message: "SET TRANSACTION: the transaction is tenantctl's" };
  if (node.kind === "VAR_SET_MULTI" || node.kind === "VAR_RESET_ALL" || isFixed(name)) {
    return {
      message: `${name === "" ? "RESET ALL" : `${name} is not to be set here: it`} would lead out of the tenant's transaction`,
    };
  }
  if (write && node.is_local !== true)
    return { message: `${name} set for the session would outlive the tenant's transaction: use SET LOCAL` };
  return undefined;
}

function outlives(kind: string, node: Node): boolean {
  const into = kind === "CreateTableAsStmt" ? (node.into as { rel?: Node; onCommit?: string }) : undefined;
  const relation = (into?.rel ?? node.relation) as { relpersistence?: string } | undefined;
  return relation?.relpersistence === "t" && (into?.onCommit ?? node.oncommit) !== "ONCOMMIT_DROP";
}

// Locks of the session stay when the transaction ends.
const sessionLock = /^pg_(try_)?advisory_lock(_shared)?$/;

// What these do is no writing to the server, and would be done all the same.
const acting =
  /^(dblink.*|lo_.+|pg_file_.*|pg_notify|pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_rotate_logfile|pg_promote|pg_switch_wal|pg_create_restore_point|pg_logical_emit_message|pg_stat_reset.*|pg_.*_replication_slot.*|pg_replication_.*|pg_wal_replay_(pause|resume)|pg_(start|stop)_backup|pg_backup_(start|stop)|pg_log_backend_memory_contexts)$/;

// Within a query: WITH … AS (INSERT …), SELECT … INTO.
const writing = new Set(["InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "intoClause"]);

function refusedCall(node: unknown, write: boolean): Refusal | undefined {
  if (Array.isArray(node)) {
    for (const one of node) {
      const found = refusedCall(one, write);
      if (found) return found;
    }
    return undefined;
  }
  if (typeof node !== "object" || node === null) return undefined;
  for (const [key, value] of Object.entries(node)) {
    const found =
      (key === "FuncCall" || key === "funccall" ? refusedFunction(value as Node, write) : undefined) ??
      (!write && writing.has(key) ? { message: `${wordOf(key)} may write`, needsWrite: true } : undefined) ??
      refusedCall(value, write);
    if (found) return found;
  }
  return undefined;
}

function refusedFunction(call: Node, write: boolean): Refusal | undefined {
  const names = call.funcname as { String?: { sval?: string } }[] | undefined;
  const name = names?.at(-1)?.String?.sval ?? "";
  if (sessionLock.test(name))
    return { message: `${name} would hold its lock beyond the transaction: pg_advisory_xact_lock ends with it` };
  if (!write && acting.test(name)) return { message: `${name}() does more than read`, needsWrite: true };
  if (name !== "set_config") return undefined;
  const [setting, , local] = (call.args ?? []) as ({ A_Const?: Record<string, Node> } | undefined)[];
  const named = setting?.A_Const?.sval?.sval;
  if (typeof named !== "string") return { message: "set_config of a setting that is not named in plain words" };
  if (isFixed(named.toLowerCase()))
    return { message: `set_config of ${named} would lead out of the tenant's transaction` };
  if (write && local?.A_Const?.boolval?.boolval !== true)
    return { message: "set_config for the session would outlive the transaction: pass true as its third argument" };
  return undefined;
}

function answersRows(kind: string, node: Node): boolean {
  if (kind === "SelectStmt") return node.intoClause === undefined;
  if (["ExplainStmt", "VariableShowStmt", "ExecuteStmt", "FetchStmt", "CallStmt"].includes(kind)) return true;
  return node.returningClause !== undefined || node.returningList !== undefined;
}

/** `CreateTableAsStmt` as a reader of SQL says it. */
function wordOf(kind: string): string {
  return kind
    .replace("intoClause", "SelectInto")
    .replace(/Stmt$/, "")
    .replace(/(?<=[a-z])(?=[A-Z])/g, " ")
    .toUpperCase();
}

function wordOfTransaction(node: Node): string {
  return String(node.kind).replace("TRANS_STMT_", "").replaceAll("_", " ");
}

function unitsOf(text: string, characters: number): number {
  return [...text].slice(0, characters).join("").length;
}
