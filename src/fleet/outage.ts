// The fleet room: a server that is gone, which is no tenant's failure.

import { setTimeout as sleep } from "node:timers/promises";
import { sqlState } from "../database/errors.js";
import { TenantctlError } from "../errors.js";
import type { Failure, Reporter } from "../events.js";

/** How long a run waits for a server that no longer answers, unless told otherwise, in milliseconds. */
export const defaultWaitMs = 10_000;

/** So many tenants in a row get no connection before it is the server's fault, where so many are left. */
const telling = 3;

/** How long everybody waits before the server is asked again, in milliseconds. */
export const askAgainMs = 500;

const gone = new Set<string>(["DATABASE_UNREACHABLE", "DATABASE_REFUSED"]);

/** Whether a failure says that no connection can be had. */
export function isRefusedConnection({ code }: Pick<Failure | TenantctlError, "code">): boolean {
  return gone.has(code);
}

/** Tells a server that is gone from one that refused a connection once. */
export class Outage {
  #since: number | undefined;
  readonly #refused = new Set<string>();

  /** @param waitMs how long the server may be gone. */
  constructor(private readonly waitMs: number) {}

  /** The server answered somebody. */
  answered(): void {
    this.#since = undefined;
    this.#refused.clear();
  }

  /**
   * A tenant got no connection.
   * @param left how many tenants are not done.
   * @returns what it is: `new` for the first one, `over` once the server is to be given up.
   */
  refused(name: string, left: number): "new" | "lasting" | "over" {
    const isNew = this.#since === undefined;
    this.#since ??= Date.now();
    this.#refused.add(name);
    if (this.#refused.size >= Math.min(telling, left) && Date.now() - this.#since >= this.waitMs) return "over";
    return isNew ? "new" : "lasting";
  }
}

/**
 * Opens something on a server, again and again for so long where the server can't be reached, or is starting.
 * @throws whatever the last attempt threw.
 */
export async function untilReached<T>(
  open: () => Promise<T>,
  { waitMs = 0, stop }: { waitMs?: number; stop?: AbortSignal },
  report: Reporter,
): Promise<T> {
  const deadline = Date.now() + waitMs;
  for (let told = false; ; told = true) {
    try {
      return await open();
    } catch (error) {
      if (!mayComeBack(error) || Date.now() >= deadline || stop?.aborted) throw error;
      if (!told) report({ type: "warning", message: `${error.message}: waiting for it` });
      await sleep(askAgainMs);
    }
  }
}

function mayComeBack(error: unknown): error is TenantctlError {
  if (!(error instanceof TenantctlError)) return false;
  return error.code === "DATABASE_UNREACHABLE" || sqlState(error.cause) === "57P03";
}
