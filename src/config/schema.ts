// Config room: what a config file may say, in zod's words; editors get the same as a JSON Schema.

import { z } from "zod";
import { nearest } from "./nearest.js";
import type { Problem } from "./problems.js";
import { accessPattern, registryKind, rightPattern, sharedNamePattern } from "./shape.js";

const database = `A PostgreSQL URL (postgres://user@host/database) or pglite:<folder>. \${VAR} and \${VAR:-default} expand.`;

const tenantEntry = z
  .strictObject({
    schema: z.string().optional().describe("The PostgreSQL schema that holds this tenant's tables. Default: its name."),
    hosts: z
      .array(z.string())
      .optional()
      .describe("The hosts under which the application serves this tenant. *.example.com stands for any one label."),
    labels: z
      .record(z.string(), z.string())
      .optional()
      .describe("Words of your own, with which --label key=value selects tenants."),
    state: z
      .enum(["active", "suspended", "archived"])
      .optional()
      .describe("suspended: not served, and kept up to date. archived: left out unless named. Default: active."),
  })
  .nullable()
  .describe("A tenant, under its name.");

const column = (what: string) => z.string().optional().describe(`The column with the tenant's ${what}.`);

const forms = {
  map: z.record(z.string(), tenantEntry).describe("The tenants, by name."),
  table: z
    .strictObject({
      table: z
        .string()
        .describe('The table that lists the tenants, as SQL writes it: public.tenants, "My schema"."t".'),
      columns: z
        .strictObject({
          name: column("name. Default: name. The only one that must be there."),
          schema: column("schema, null: its name. Default: schema, if the table has it."),
          hosts: column("hosts: text[], text or jsonb. Default: hosts, if the table has it."),
          labels: column("labels: jsonb. Default: labels, if the table has it."),
          state: column("state: active, suspended or archived. Default: state, if the table has it."),
        })
        .optional()
        .describe("What the columns are called, exactly."),
    })
    .describe("The tenants are listed in a table of the database."),
  query: z
    .strictObject({
      query: z
        .string()
        .describe(
          "One statement that answers columns name, schema, hosts, labels and state; all but name may be left out.",
        ),
    })
    .describe("The tenants are what a query answers. Commands can't add to it."),
};

const settings = z.strictObject({
  $schema: z.string().optional().describe("Where editors find this schema."),
  database: z
    .string()
    .optional()
    .describe(
      `${database} --database and TENANTCTL_DATABASE_URL go before it, DATABASE_URL and PGHOST and its like after.`,
    ),
  directDatabase: z
    .string()
    .optional()
    .describe("The same database past its connection pooler, for migrations that need a session (transaction:false)."),
  migrations: z
    .strictObject({
      tenant: z.string().optional().describe("The folder of the tenants' migrations. Default: migrations/tenant."),
      shared: z.string().optional().describe("The folder of the shared schema's migrations. Default: none."),
      mayChange: z
        .array(z.string())
        .optional()
        .describe(
          "What tenants' migrations may change outside of the tenant's own schema: shared.audit, or a whole schema: archive. Default: nothing.",
        ),
      mayLookUp: z
        .array(z.string())
        .optional()
        .describe(
          "Tenants' migrations, by name, that may look objects up in the catalogs without naming a schema: 20260102000000_add_token. Default: none.",
        ),
    })
    .optional()
    .describe("Folders, relative to this file."),
  sharedSchemas: z
    .array(z.string())
    .optional()
    .describe(
      "Schemas that follow the tenant's in the search_path; shared migrations run in the first. Default: none.",
    ),
  appRole: z
    .string()
    .optional()
    .describe("The role that the application connects as; it is granted the use of every tenant schema."),
  isolation: z
    .enum(["schema", "role"])
    .optional()
    .describe(
      "What keeps tenants apart: their search_path alone (schema, the default), or a database role for each, which may use its own schema alone.",
    ),
  isolationAllows: z
    .array(z.string().regex(rightPattern, 'must be a privilege and an object, as in "insert shared.plans"'))
    .optional()
    .describe(
      "Rights that verify-isolation takes for wanted, as it tells them: insert shared.plans, execute *.sign_up(). Default: none.",
    ),
  sharedAccess: z
    .record(
      z.string().regex(sharedNamePattern, "must be a table as SQL writes it: plans, shared.events, shared.*"),
      z
        .string()
        .regex(accessPattern, 'must be of select, insert, update, delete and, for a sequence, usage: "select, insert"'),
    )
    .optional()
    .describe(
      'What tenants\' roles may do in the shared schemas, by table: { "plans": "select", "shared.events": "select, insert" }. Nothing else, and without it nothing. The registry and the ledgers are never theirs.',
    ),
  transaction: z
    .enum(["tenant", "migration"])
    .optional()
    .describe("What one transaction spans: all that a tenant lacks (the default), or one migration."),
});

const withTenants = <Form extends z.ZodType>(form: Form) =>
  settings.extend({
    tenants: form.nullish().describe("The tenants, by name; or where in the database they are listed."),
  });

/** The config file. `hasConfigShape` says the same without loading zod; a test holds them together. */
export const configSchema = withTenants(z.union([forms.map, forms.table, forms.query])).meta({
  title: "tenantctl",
  description: "The config of tenantctl.",
});

/** The JSON Schema that ships as `tenants.config.schema.json`. */
export function configJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(configSchema, { target: "draft-7", io: "input" }), allowTrailingCommas: true };
}

/** Everything that is wrong with the value, in the file's words. */
export function problemsOf(value: unknown): Problem[] {
  // of the three forms of `tenants`, the one that is meant: a union would say what is wrong with all of them
  const schema = withTenants<z.ZodType>(forms[registryKind(at(value, "tenants"))]);
  const result = schema.safeParse(value);
  if (result.success) return [];
  return result.error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((key) => unknownKey(schema, issue.path, key))
      : [{ path: issue.path, message: wrongValue(issue, issue.path.reduce(at, value)) }],
  );
}

function unknownKey(schema: z.core.$ZodType, path: PropertyKey[], key: string): Problem {
  const known = path.reduce<z.core.$ZodType | undefined>(inner, schema);
  const shape = known instanceof z.ZodObject ? Object.keys(known.shape) : [];
  const meant = nearest(key, shape);
  return { path: [...path, key], message: `unknown key${meant === undefined ? "" : `, did you mean ${meant}?`}` };
}

function wrongValue(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === "invalid_value") return `must be ${issue.values.map((item) => JSON.stringify(item)).join(" or ")}`;
  if (issue.code === "invalid_type") return `must be ${NOUNS[issue.expected] ?? issue.expected}, not ${nounOf(value)}`;
  return issue.message;
}

const NOUNS: Record<string, string> = { object: "a map", record: "a map", array: "a list", string: "text" };

function nounOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return { string: "text", object: "a map", boolean: "true or false" }[String(typeof value)] ?? `a ${typeof value}`;
}

function at(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

/** The schema of what a key of this schema holds. */
function inner(schema: z.core.$ZodType | undefined, key: PropertyKey): z.core.$ZodType | undefined {
  const bare = unwrapped(schema);
  if (bare instanceof z.ZodRecord) return unwrapped(bare.valueType as z.core.$ZodType);
  return bare instanceof z.ZodObject ? unwrapped(bare.shape[String(key)]) : undefined;
}

function unwrapped(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodNullable ? unwrapped(schema.unwrap()) : schema;
}
