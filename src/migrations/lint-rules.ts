// The migrations room: what lint looks for in a single statement. docs/lint.md says why, and how each is mended.

import { cascades } from "./effects.js";
import { kindOf, strings, textOf } from "./lint-names.js";
import { type Node, visit } from "./walk.js";

/** The stable names of what lint finds. */
export const lintRules = [
  "invalid-file",
  "refused",
  "syntax",
  "hard-coded-schema",
  "writes-shared",
  "catalog-lookup",
  "cascade",
  "temporary-name",
  "set-context",
  "security-definer",
  "extension",
  "global-object",
  "whole-database",
  "grant-public",
  "not-in-transaction",
  "partly-transactional",
  "concurrent-on-new-table",
  "enum-value-used",
  "scans-all-indexes",
  "no-down",
  "unused-allow",
  "unknown-rule",
] as const;

export type LintRule = (typeof lintRules)[number];

/** A rule's verdict on a statement: why and how to mend it; `location` is the parser's, where it is not the whole statement. */
export interface Verdict {
  message: string;
  hint: string;
  location?: number | undefined;
}

const globalStatements: Readonly<Record<string, string>> = {
  CreateSchemaStmt: "a schema",
  CreateRoleStmt: "a role",
  AlterRoleStmt: "a role",
  AlterRoleSetStmt: "a role",
  DropRoleStmt: "a role",
  GrantRoleStmt: "membership in a role",
  DropOwnedStmt: "all that a role owns in the database",
  ReassignOwnedStmt: "all that a role owns in the database",
  CreatedbStmt: "a database",
  AlterDatabaseStmt: "a database",
  AlterDatabaseSetStmt: "a database",
  AlterDatabaseRefreshCollStmt: "a database",
  DropdbStmt: "a database",
  CreateTableSpaceStmt: "a tablespace",
  AlterTableSpaceOptionsStmt: "a tablespace",
  DropTableSpaceStmt: "a tablespace",
  CreateEventTrigStmt: "an event trigger",
  AlterEventTrigStmt: "an event trigger",
  CreatePublicationStmt: "a publication",
  CreateSubscriptionStmt: "a subscription",
  AlterSubscriptionStmt: "a subscription",
  DropSubscriptionStmt: "a subscription",
  AlterSystemStmt: "the server's settings",
  CreatePLangStmt: "a language",
  CreateCastStmt: "a cast",
  CreateTransformStmt: "a transform",
  CreateAmStmt: "an access method",
  CreateFdwStmt: "a foreign data wrapper",
  AlterFdwStmt: "a foreign data wrapper",
  CreateForeignServerStmt: "a foreign server",
  AlterForeignServerStmt: "a foreign server",
  CreateUserMappingStmt: "a user mapping",
  AlterUserMappingStmt: "a user mapping",
  DropUserMappingStmt: "a user mapping",
};

const globalKinds: Readonly<Record<string, string>> = {
  SCHEMA: "a schema",
  ROLE: "a role",
  DATABASE: "a database",
  TABLESPACE: "a tablespace",
  EVENT_TRIGGER: "an event trigger",
  PUBLICATION: "a publication",
  SUBSCRIPTION: "a subscription",
  LANGUAGE: "a language",
  CAST: "a cast",
  TRANSFORM: "a transform",
  ACCESS_METHOD: "an access method",
  FDW: "a foreign data wrapper",
  FOREIGN_SERVER: "a foreign server",
  PARAMETER_ACL: "a setting's rights",
};

/** What belongs to the database or the server, and to no schema. Extensions have a rule of their own. */
export function globalObject(kind: string, node: Node): Verdict | undefined {
  const what = globalStatements[kind] ?? globalByContent(kind, node);
  if (what === undefined) return undefined;
  return {
    message: `${what}: one for all tenants, and this would run once for each`,
    hint:
      kind === "AlterDefaultPrivilegesStmt" ? 'use "appRole", or a shared migration' : "put it into a shared migration",
  };
}

function globalByContent(kind: string, node: Node): string | undefined {
  if (kind === "AlterPublicationStmt")
    // Each tenant may add its own tables, and take them out; SET takes everybody else's out.
    return ["AP_AddObjects", "AP_DropObjects"].includes(String(node.action)) ? undefined : "a publication";
  if (kind === "AlterDefaultPrivilegesStmt")
    return JSON.stringify(node.options ?? []).includes('"schemas"')
      ? undefined
      : "default privileges without IN SCHEMA";
  // A schema that is granted or moved into is a hard-coded one.
  if (kind === "GrantStmt" && node.objtype === "OBJECT_SCHEMA") return undefined;
  if (!["DropStmt", "CommentStmt", "RenameStmt", "AlterOwnerStmt", "GrantStmt"].includes(kind)) return undefined;
  return globalKinds[kindOf(node) ?? ""];
}

/** CREATE, ALTER and DROP EXTENSION. */
export function extension(kind: string, node: Node): Verdict | undefined {
  if (!/^(Create|Alter)Extension/.test(kind) && !(kind === "DropStmt" && kindOf(node) === "EXTENSION"))
    return undefined;
  return {
    message:
      "an extension is there once in a database: it would lie in the first tenant's schema, where the others don't find it",
    hint: 'put it into a shared migration, and its schema into "sharedSchemas"',
  };
}

/** What goes through the whole database, once for each tenant. */
export function wholeDatabase(kind: string, node: Node): Verdict | undefined {
  const words = {
    VacuumStmt: node.rels === undefined && (node.is_vacuumcmd === true ? "VACUUM" : "ANALYZE"),
    ClusterStmt: node.relation === undefined && "CLUSTER",
    ReindexStmt: /_(DATABASE|SYSTEM)$/.test(String(node.kind)) && "REINDEX",
  }[kind];
  if (!words) return undefined;
  return {
    message: `${words} without a table goes through all tenants' tables, once for each tenant`,
    hint: "name this tenant's tables, or leave it to autovacuum",
  };
}

/** The words for a statement that PostgreSQL refuses inside of a transaction. */
export function outsideOnly(kind: string, node: Node): string | undefined {
  const options = JSON.stringify(node.params ?? node.options ?? []);
  switch (kind) {
    case "IndexStmt":
      return node.concurrent === true ? "CREATE INDEX CONCURRENTLY" : undefined;
    case "DropStmt":
      return node.concurrent === true ? "DROP INDEX CONCURRENTLY" : undefined;
    case "ReindexStmt":
      if (options.includes('"concurrently"')) return "REINDEX CONCURRENTLY";
      return /_(DATABASE|SYSTEM|SCHEMA)$/.test(String(node.kind)) ? "REINDEX of more than one table" : undefined;
    case "VacuumStmt":
      return node.is_vacuumcmd === true ? "VACUUM" : undefined;
    case "ClusterStmt":
      return node.relation === undefined ? "CLUSTER without a table" : undefined;
    case "AlterTableStmt":
      return JSON.stringify(node.cmds).includes('"concurrent":true') ? "DETACH PARTITION CONCURRENTLY" : undefined;
    case "CreateSubscriptionStmt":
      return /"(create_slot|connect)","arg":\{"String":\{"sval":"(false|off)"/.test(options)
        ? undefined
        : "CREATE SUBSCRIPTION";
    case "DropSubscriptionStmt":
      return "DROP SUBSCRIPTION";
    case "CreatedbStmt":
      return "CREATE DATABASE";
    case "DropdbStmt":
      return "DROP DATABASE";
    case "CreateTableSpaceStmt":
      return "CREATE TABLESPACE";
    case "DropTableSpaceStmt":
      return "DROP TABLESPACE";
    case "AlterSystemStmt":
      return "ALTER SYSTEM";
    default:
      return undefined;
  }
}

const contexts = ["search_path", "role", "session_authorization"];

/** Statements that lead later ones of the transaction elsewhere. Those for the session are refused at load. */
export function setContext(kind: string, node: Node): Verdict | undefined {
  let setting: string | undefined;
  let location: number | undefined;
  if (kind === "VariableSetStmt" && node.is_local === true) setting = String(node.name);
  else if (kind === "SelectStmt") {
    visit(node, (call, key) => {
      if (key !== "FuncCall" || strings(call.funcname).at(-1) !== "set_config") return;
      setting = textOf((call.args as unknown[] | undefined)?.[0])?.toLowerCase();
      location = call.location as number | undefined;
    });
  }
  if (setting === undefined || !contexts.includes(setting)) return undefined;
  if (setting === "search_path") {
    return {
      message: `${setting} holds until the migration ends: its other statements no longer run in the tenant's context`,
      hint: "leave it out; tenantctl sets it for each tenant, and again before each migration",
      location,
    };
  }
  return {
    message: `${setting} holds until the migration ends: what it makes is that role's, and the app role, or the tenant's, gets no rights on it`,
    hint: "leave it out; or grant here what the application needs of it",
    location,
  };
}

/** A right for everybody. */
export function grantPublic(kind: string, node: Node): Verdict | undefined {
  if (kind !== "GrantStmt" || node.is_grant !== true) return undefined;
  if (!JSON.stringify(node.grantees).includes("ROLESPEC_PUBLIC")) return undefined;
  return {
    message: "PUBLIC is every role of the database, also other tenants' roles",
    hint: 'grant it to the role that needs it; "appRole" in the config is granted all that an application needs',
  };
}

/** In a shared migration: what drops whatever depends on something, in all tenants' schemas. */
export function cascade(kind: string, node: Node): Verdict | undefined {
  if (!cascades(kind, node)) return undefined;
  return {
    message:
      "CASCADE takes along whatever depends on it in all tenants' schemas: views, columns with their data, foreign keys",
    hint: "leave CASCADE out: the server then refuses, and names what depends on it; migrate --dry-run counts what would go",
  };
}
