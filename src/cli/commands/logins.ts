// The cli room: tenantctl create-login and logins: database logins that can be one tenant and nobody else.

import { text as readStream } from "node:stream/consumers";
import { InvalidArgumentError } from "@commander-js/extra-typings";
import { loginPassword } from "../../config/terminal.js";
import { TenantctlError } from "../../errors.js";
import type { ListedLogin, Login } from "../../fleet/index.js";
import { exitCodes } from "../exit.js";
import { duration, type Program } from "../options.js";
import { ask } from "../prompt.js";
import { table } from "../results.js";
import { type Core, runCommand } from "../session.js";
import type { Style } from "../style.js";
import { visible } from "../words.js";

export function addCreateLogin(program: Program): void {
  program
    .command("create-login")
    .summary("a login role for one tenant, which can be nobody else")
    .description(
      "make a login role that has one tenant's rights and can take on no other role; once more: its password is changed, and what is named",
    )
    .argument("<tenant>", "the tenant's name")
    .option("--password-stdin", "read the password from stdin, one line")
    .option(
      "--rotate",
      "make the tenant's other login, with this password and the same limits; the one in use stays until --drop-old",
    )
    .option("--drop", "drop it, or both: nobody logs in any more, its sessions end, then it goes")
    .option("--drop-old", "of two logins, drop the one that was made first")
    .option("--connection-limit <n>", "connections at once, -1 for no limit (default: 10 for a new login)", limit)
    .option(
      "--valid-until <date>",
      "until when the password is valid: 2027-01-31, a time, or never (default: never)",
      date,
    )
    .option("--statement-timeout <duration>", "how long one statement may take (default: 5m for a new login)", duration)
    .option("--idle-in-transaction-timeout <duration>", "how long a transaction may be idle (default: 1m)", duration)
    .option("--idle-timeout <duration>", "how long a session may be idle (default: 60m)", duration)
    .addHelpText(
      "after",
      `
The password has at least 12 characters. It is read from stdin with --password-stdin, or is that of TENANTCTL_LOGIN_PASSWORD, or is asked for.
It is in no statement: the server gets what it would keep of it. The timeouts are defaults that whoever logs in can set otherwise; the
connection limit and the date are the server's. A tenant that is suspended or archived can't log in.

To change a password without downtime: --rotate makes the tenant's other login; deploy its name and password; then --drop-old.

Examples:
  tenantctl create-login thor --password-stdin < thor.password
  tenantctl create-login thor --connection-limit 20 --valid-until 2027-01-31
  TENANTCTL_LOGIN_PASSWORD="$(openssl rand -base64 24)" tenantctl create-login thor --rotate
  tenantctl create-login thor --drop-old

Exit code: 1 when --drop or --drop-old leaves a role that owns something: it can't log in and has no rights any more.`,
    )
    .action((tenant, options, command) =>
      runCommand(command, async ({ core, fleet, style, print }) => {
        const { drop, dropOld, passwordStdin, ...limits } = options;
        refuseTogether(options);
        const login =
          drop || dropOld
            ? await core.dropLogin(await fleet(), tenant, { old: dropOld })
            : await core.createLogin(
                await fleet(),
                tenant,
                await password(core, tenant, passwordStdin ?? false),
                loginOptions(limits),
              );
        print(login, () => loginLines(login, style));
        return login.outcome === "stripped" ? exitCodes.failed : exitCodes.done;
      }),
    );
}

function refuseTogether({ drop, dropOld, rotate }: { drop?: true; dropOld?: true; rotate?: true }): void {
  if ([drop, dropOld, rotate].filter(Boolean).length < 2) return;
  throw new TenantctlError("USAGE", "one of --rotate, --drop and --drop-old", {
    hint: "--rotate first; --drop-old when the new login is in use",
  });
}

function loginOptions(options: {
  rotate?: true;
  connectionLimit?: number;
  validUntil?: Date | null;
  statementTimeout?: number;
  idleInTransactionTimeout?: number;
  idleTimeout?: number;
}) {
  return {
    rotate: options.rotate,
    connectionLimit: options.connectionLimit,
    validUntil: options.validUntil,
    statementTimeoutMs: options.statementTimeout,
    idleInTransactionTimeoutMs: options.idleInTransactionTimeout,
    idleTimeoutMs: options.idleTimeout,
  };
}

function loginLines({ outcome, login, kept = [] }: Login, style: Style): string[] {
  const words = {
    created: "created",
    changed: "changed",
    dropped: "dropped",
    missing: "there is no",
    stripped: "could not drop",
  };
  const line = `${words[outcome]} ${login}`;
  if (outcome !== "stripped") return [style.good(visible(line))];
  const stays = kept.map(
    ({ role, why, able }) =>
      `${role} stays, ${able ? "and has LOGIN or memberships" : "without LOGIN and rights"}: ${why}`,
  );
  return [style.warn(visible(line)), ...stays.map(visible)];
}

async function password(core: Core, tenant: string, fromStdin: boolean): Promise<string> {
  const found = fromStdin
    ? (await readStream(process.stdin)).replace(/\r?\n$/, "")
    : (loginPassword() ?? (await ask(`password for the login of ${tenant}: `, { secret: true })));
  if (found && !/[\r\n]/.test(found)) return found;
  throw new TenantctlError("USAGE", found ? "a password is one line" : "a login needs a password", {
    hint: `at least ${core.shortestPassword} characters: --password-stdin, TENANTCTL_LOGIN_PASSWORD, or a terminal to ask on`,
  });
}

function limit(text: string): number {
  if (/^(-1|\d{1,6})$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it is a number of connections, or -1.");
}

function date(text: string): Date | null {
  if (text === "never") return null;
  const found = new Date(text);
  if (/^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(found.getTime())) return found;
  throw new InvalidArgumentError("a date is 2027-01-31, 2027-01-31T12:00:00Z, or never.");
}

export function addLogins(program: Program): void {
  program
    .command("logins")
    .summary("the logins of tenants, and whether they can log in")
    .description("list the logins of this database's tenants, and those that no tenant has any more")
    .addHelpText(
      "after",
      `
A login can't log in when its tenant is suspended, archived or removed, and when its date has passed.

Examples:
  tenantctl logins
  tenantctl logins --json`,
    )
    .action((_options, command) =>
      runCommand(command, async ({ core, fleet, style, print }) => {
        const logins = await core.listLogins(await fleet());
        print({ logins }, () => (logins.length === 0 ? ["no logins"] : listLines(logins, style)));
        return exitCodes.done;
      }),
    );
}

function listLines(logins: readonly ListedLogin[], style: Style): string[] {
  const rows = logins.map(({ tenant, login, madeAt, canLogin, state, validUntil, connectionLimit, connections }) => [
    tenant ?? "(no tenant)",
    login,
    madeAt?.slice(0, 10) ?? "",
    canLogin ? "yes" : `no${state !== null && state !== "active" ? ` (${state})` : ""}`,
    validUntil ?? "",
    connectionLimit === null ? "" : String(connectionLimit),
    String(connections),
  ]);
  return table(["TENANT", "LOGIN", "MADE", "CAN LOG IN", "VALID UNTIL", "LIMIT", "OPEN"], rows, style);
}
