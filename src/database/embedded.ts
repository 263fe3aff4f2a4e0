// The database room: PGlite, a PostgreSQL inside this process, behind the streams that pg's clients talk to.

import { chmod, link, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import type { PGlite } from "@electric-sql/pglite";
import type { EmbeddedSettings } from "../config/connection.js";
import { TenantctlError } from "../errors.js";

/** An open embedded database. It serves one connection at a time. */
export interface Embedded {
  /** A new stream for pg's Client, which sees a fresh session. */
  stream(): Duplex;
  close(): Promise<void>;
}

/**
 * Opens the database in a folder, and makes it where it is missing.
 * @throws TenantctlError DATABASE_LOCKED when another process has it open: two would lose rows.
 */
export async function openEmbedded(settings: EmbeddedSettings): Promise<Embedded> {
  const { PGlite } = await loadPGlite();
  await makeFolder(settings.directory);
  const unlock = await lockFolder(settings.directory);
  try {
    const database = await PGlite.create({ dataDir: join(settings.directory, "data") });
    let open: Promise<void> = Promise.resolve();
    return {
      stream: () => new ProtocolStream(database, (ended) => (open = ended)),
      async close() {
        await open;
        await database.close();
        await closeToOthers(settings.directory);
        await unlock();
      },
    };
  } catch (error) {
    await unlock();
    const reason = error instanceof Error ? error.message : String(error);
    throw new TenantctlError(
      "DATABASE_UNREACHABLE",
      `can't open the embedded database ${settings.directory}: ${reason}`,
      {
        hint: "if it is a leftover of a crash or of another version, remove the folder and migrate again",
        cause: error,
      },
    );
  }
}

/** Makes it, and takes it from every other user: it holds all tenants' rows. */
async function makeFolder(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TenantctlError(
      "DATABASE_UNREACHABLE",
      `can't make the folder ${directory}, or not this user's alone: ${reason}`,
      {
        hint: "may this user write there, and does the folder belong to it? Or give a server: --database <url>",
        cause: error,
      },
    );
  }
}

/** PGlite makes files that everybody may write to, whatever the umask says. The folder is closed while it runs; the files are when it ends, in case they are moved. */
async function closeToOthers(directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  for (const entry of entries) await chmod(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o700 : 0o600);
}

async function loadPGlite() {
  try {
    return await import("@electric-sql/pglite");
  } catch (error) {
    throw new TenantctlError("DATABASE_UNREACHABLE", "the embedded database needs the package @electric-sql/pglite", {
      hint: "npm install @electric-sql/pglite, or give a server's URL with --database",
      cause: error,
    });
  }
}

// A process that died in a container had the number that the next one has: what we hold ourselves we know.
const held = new Set<string>();

// The lock is a file with our pid, linked into place whole, so that nobody ever reads half of one.
async function lockFolder(directory: string): Promise<() => Promise<void>> {
  const file = join(directory, "tenantctl.lock");
  const mine = `${file}.${process.pid}`;
  await writeFile(mine, JSON.stringify({ pid: process.pid, host: hostname() }));
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        await link(mine, file);
        held.add(file);
        return async () => {
          held.delete(file);
          await rm(file, { force: true });
        };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        const owner = await readOwner(file);
        if (owner !== undefined && isAlive(owner, file)) throw inUse(directory, owner);
        await takeAway(file, `${mine}.stale`, owner);
      }
    }
    throw inUse(directory, undefined);
  } finally {
    await rm(mine, { force: true });
  }
}

// Two may find the same dead lock: the second would take away the lock that the first one made, and puts it back.
async function takeAway(file: string, aside: string, dead: Owner | undefined): Promise<void> {
  try {
    await rename(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return; // the first one was quicker
    throw error;
  }
  const taken = await readOwner(aside);
  if (taken !== undefined && taken.pid !== dead?.pid) await link(aside, file).catch(() => {}); // a third one's is there
  await rm(aside, { force: true });
}

interface Owner {
  pid: number;
  host: string;
}

async function readOwner(file: string): Promise<Owner | undefined> {
  try {
    const owner: unknown = JSON.parse(await readFile(file, "utf8"));
    const { pid, host } = owner as Partial<Owner>;
    return typeof pid === "number" && typeof host === "string" ? { pid, host } : undefined;
  } catch {
    return undefined; // gone since, or not ours: either way nobody holds it
  }
}

function isAlive(owner: Owner, file: string): boolean {
  if (owner.host !== hostname()) return true; // on a shared disk we can't know: refuse rather than lose rows
  if (owner.pid === process.pid) return held.has(file);
  try {
    process.kill(owner.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function inUse(directory: string, owner: Owner | undefined): TenantctlError {
  const who = owner ? ` by process ${owner.pid}${owner.host === hostname() ? "" : ` on ${owner.host}`}` : "";
  return new TenantctlError("DATABASE_LOCKED", `the embedded database is in use${who} (${directory})`, {
    hint: "wait for it to end; an embedded database serves one process, a server serves many",
  });
}

// The wire protocol over PGlite: it wants whole messages, up to one that asks for an answer, and has a single
// session, which we make fresh again when a client leaves.
class ProtocolStream extends Duplex {
  readonly #database: PGlite;
  readonly #onOpen: (ended: Promise<void>) => void;
  #received = Buffer.alloc(0);
  #started = false;
  #ended: (() => void) | undefined;

  constructor(database: PGlite, onOpen: (ended: Promise<void>) => void) {
    super();
    this.#database = database;
    this.#onOpen = onOpen;
  }

  // What pg expects of a socket.
  connect(): this {
    this.#onOpen(new Promise((resolve) => (this.#ended = resolve)));
    process.nextTick(() => this.emit("connect"));
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    this.#answer().then(() => done(), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#reset().then(() => {
      this.push(null);
      done();
    }, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#reset().then(() => done(error), done);
  }

  async #answer(): Promise<void> {
    const length = this.#completeLength();
    if (length === 0) return;
    const messages = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    const answer = await this.#database.execProtocolRaw(new Uint8Array(messages));
    if (answer.length > 0) this.push(Buffer.from(answer));
  }

  // How many bytes make up whole messages that end in one which the server answers.
  #completeLength(): number {
    let answered = 0;
    let at = 0;
    while (true) {
      const head = this.#started ? 1 : 0; // the startup message has no type byte
      if (this.#received.length < at + head + 4) return answered;
      const length = head + this.#received.readInt32BE(at + head);
      if (this.#received.length < at + length) return answered;
      const type = this.#started ? String.fromCharCode(this.#received[at] ?? 0) : "startup";
      at += length;
      if (type === "X") return answered; // goodbye: the session is reset when the stream ends
      if (!this.#started || "QSHpFcfd".includes(type)) answered = at;
      this.#started = true;
    }
  }

  async #reset(): Promise<void> {
    const ended = this.#ended;
    if (ended === undefined) return;
    this.#ended = undefined;
    try {
      await this.#database.exec("rollback");
      await this.#database.exec("discard all"); // in a message with another statement it would be refused
    } finally {
      ended();
    }
  }
}
