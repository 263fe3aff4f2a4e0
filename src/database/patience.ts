// The database room: whoever waits for a connection, and for how long: one timer for all, since most never need it.

import type { Connection } from "./connection.js";

/** One that waits: it is given a connection or an error, whichever comes first. */
export class Wanted {
  done = false;
  /** The tick in which its wait began. */
  since = 0;
  /** Where it is among those that wait; -1 where it does not. */
  place = -1;

  constructor(
    readonly give: (connection: Connection) => void,
    readonly refuse: (error: unknown) => void,
  ) {}
}

const ticksPerWait = 10;

/** Refuses each that waits too long, a tenth of the time too late at most. */
export class Patience {
  // Places that are used again: a Set, which comes and goes for each statement, would keep the garbage collector busy.
  readonly #waiting: (Wanted | undefined)[] = [];
  readonly #free: number[] = [];
  #tick = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly ms: number,
    private readonly tooLong: () => Error,
  ) {}

  begin(wanted: Wanted): void {
    if (this.ms === 0) return;
    wanted.since = this.#tick;
    wanted.place = this.#free.pop() ?? this.#waiting.length;
    this.#waiting[wanted.place] = wanted;
    this.#timer ??= setInterval(() => this.#look(), this.ms / ticksPerWait).unref(); // the sockets keep the process
  }

  end(wanted: Wanted): void {
    if (wanted.place < 0) return;
    this.#waiting[wanted.place] = undefined;
    this.#free.push(wanted.place);
    wanted.place = -1;
  }

  #look(): void {
    this.#tick++;
    for (const wanted of this.#waiting) {
      if (wanted === undefined || this.#tick - wanted.since <= ticksPerWait) continue;
      this.end(wanted);
      wanted.done = true;
      wanted.refuse(this.tooLong());
    }
    if (this.#free.length < this.#waiting.length) return;
    this.#waiting.length = this.#free.length = 0;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
