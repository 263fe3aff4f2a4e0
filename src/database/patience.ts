// The database room: whoever waits for a connection, and for how long: one timer for all, since most never need it.

import type { Connection } from "./connection.js";

/** One that waits: it is given a connection or an error, whichever comes first. */
export class Wanted {
  done = false;
  /** The tick in which its wait began. */
  since = 0;

  constructor(
    readonly give: (connection: Connection) => void,
    readonly refuse: (error: unknown) => void,
  ) {}
}

const ticksPerWait = 10;

/** Refuses each that waits too long, a tenth of the time too late at most. */
export class Patience {
  readonly #waiting = new Set<Wanted>(); // in the order in which they came
  #tick = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly ms: number,
    private readonly tooLong: () => Error,
  ) {}

  begin(wanted: Wanted): void {
    if (this.ms === 0) return;
    wanted.since = this.#tick;
    this.#waiting.add(wanted);
    this.#timer ??= setInterval(() => this.#look(), this.ms / ticksPerWait).unref(); // the sockets keep the process
  }

  end(wanted: Wanted): void {
    this.#waiting.delete(wanted);
  }

  #look(): void {
    this.#tick++;
    for (const wanted of this.#waiting) {
      if (this.#tick - wanted.since <= ticksPerWait) break;
      this.#waiting.delete(wanted);
      wanted.done = true;
      wanted.refuse(this.tooLong());
    }
    if (this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
