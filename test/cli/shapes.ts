// Command tests: the documented JSON shapes, strictly: a key too many fails.
import { z } from "zod";

const name = z.string().min(1);
const names = z.array(name);
const count = z.int().min(0);
const state = z.enum(["current", "pending", "ahead", "changed", "unmanaged", "unreadable", "missing"]);
const time = z.iso.datetime();

const failure = z.strictObject({
  code: z.string().regex(/^[A-Z_]+$/),
  message: name,
  hint: name.optional(),
  sqlState: z.string().length(5).optional(),
  migration: name.optional(),
  file: name.optional(),
  line: z.int().min(1).optional(),
  column: z.int().min(1).optional(),
});

export const error = z.strictObject({ error: failure.extend({ problems: names.optional() }) });

const shared = z.strictObject({ applied: names, error: failure.optional() }).nullable();
const stopped = z.enum(["shared", "preflight", "canary", "gate", "max-failures", "signal"]).nullable();

function run(change: "migrated" | "reverted", list: "applied" | "reverted") {
  return z.strictObject({
    run: z.string().regex(/^\d{14}-[0-9a-f]{6}$/),
    ok: z.boolean(),
    stopped,
    summary: z.strictObject({
      tenants: count,
      [change]: count,
      current: count,
      failed: count,
      skipped: count,
      durationMs: count,
    }),
    shared,
    tenants: z.array(
      z.strictObject({
        name,
        schema: name,
        outcome: z.enum([change, "current", "failed", "skipped"]),
        [list]: names,
        durationMs: count,
        error: failure.optional(),
      }),
    ),
  });
}

export const migrate = run("migrated", "applied");
export const rollback = run("reverted", "reverted");

export const status = z.strictObject({
  migrations: z.array(z.strictObject({ name, checksum: z.string().length(64).nullable() })),
  summary: z.strictObject({
    tenants: count,
    current: count,
    pending: count,
    ahead: count,
    changed: count,
    unmanaged: count,
    unreadable: count,
    missing: count,
  }),
  shared: z
    .strictObject({ schema: name, state, version: name.nullable(), pending: names, error: failure.optional() })
    .nullable(),
  tenants: z.array(
    z.strictObject({
      name,
      schema: name,
      state,
      version: name.nullable(),
      applied: count,
      pending: names,
      error: failure.optional(),
      lastError: failure.extend({ run: name }).optional(),
    }),
  ),
  wrongStamps: names.optional(),
});

const tenant = z.strictObject({
  name,
  schema: name,
  hosts: names,
  labels: z.record(z.string(), z.string()),
  state: z.enum(["active", "suspended", "archived"]),
});

export const change = z.strictObject({ tenant, applied: names });
export const edited = z.strictObject({ tenant, changed: z.array(z.enum(["hosts", "labels", "state"])) });
export const list = z.strictObject({ tenants: z.array(tenant) });

export const runs = z.strictObject({
  runs: z.array(
    z.strictObject({
      run: name,
      command: name,
      startedAt: time,
      finishedAt: time.nullable(),
      migrated: count,
      failed: count,
      skipped: count,
      failures: z.array(z.strictObject({ name, error: failure })),
    }),
  ),
});

export const doctor = z.strictObject({
  ok: z.boolean(),
  findings: z.array(
    z.strictObject({
      severity: z.enum(["error", "warning"]),
      check: name,
      where: name,
      message: name,
      hint: z.string(),
    }),
  ),
  fixed: z.array(z.strictObject({ check: name, where: name, message: name, done: name })).optional(),
});

export const exec = z.strictObject({
  ok: z.boolean(),
  stopped: z.literal("signal").nullable(),
  summary: z.strictObject({ tenants: count, done: count, failed: count, skipped: count, durationMs: count }),
  tenants: z.array(
    z.strictObject({
      name,
      schema: name,
      outcome: z.enum(["done", "failed", "skipped"]),
      code: count.nullable(),
      signal: z.string().startsWith("SIG").nullable(),
      durationMs: count,
      reason: z.enum(["overlap", "stopped"]).optional(),
      stdout: z.string().optional(),
      stderr: z.string().optional(),
      truncated: z.literal(true).optional(),
      error: failure.optional(),
    }),
  ),
});

export const sql = z.strictObject({
  columns: names,
  rows: z.array(z.looseObject({ tenant: name })),
  errors: z.array(z.strictObject({ tenant: name, error: failure })),
});
