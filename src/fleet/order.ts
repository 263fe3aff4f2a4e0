// The fleet room: what several workers bring at once, handed on in the tenants' order, without holding more than a little of it.

/** One tenant's rows on their way out. */
export interface Lane<Column> {
  columns(columns: readonly Column[]): void;
  /** Whoever brings rows faster than they can be handed on waits for what this returns. */
  row(values: Row): Promise<void> | undefined;
  /** What is held is dropped, and all of it comes again: true unless some is out already. */
  restart(): boolean;
  /** No more rows come; those that are still held are handed on if all went well, else dropped. */
  finish(ok: boolean): Promise<void>;
  /** Whether some of its rows are out already. */
  begun(): boolean;
}

export type Row = readonly (string | null)[];

// In characters: what one lane may hold, and all of those that are done and wait for their turn.
const laneSize = 1_000_000;
const waitingSize = 16_000_000;

interface State<Column> {
  columns: readonly Column[] | undefined;
  rows: Row[];
  size: number;
  finished: boolean;
  begun: boolean;
  wake: (() => void)[];
}

/** So many lanes; `emit` gets their rows lane after lane, never two batches at once. Lanes must be begun in their order. */
export function inOrder<Column>(
  lanes: number,
  emit: (lane: number, columns: readonly Column[], rows: readonly Row[]) => Promise<void> | undefined,
): (index: number) => Lane<Column> {
  const states: State<Column>[] = Array.from({ length: lanes }, () => ({
    columns: undefined,
    rows: [],
    size: 0,
    finished: false,
    begun: false,
    wake: [],
  }));
  let turn = 0;
  let waiting = 0;
  let emitted: Promise<void> = Promise.resolve();

  function flush(index: number, state: State<Column>) {
    const { columns, rows } = state;
    if (columns === undefined || (rows.length === 0 && state.begun)) return;
    state.begun = true;
    state.rows = [];
    state.size = 0;
    emitted = emitted.then(() => emit(index, columns, rows));
  }
  function advance() {
    for (let state = states[turn]; state !== undefined; state = states[++turn]) {
      if (state.finished) waiting -= state.size;
      // Held back until it is known whether all went well, unless it is too much to hold.
      if (state.finished || state.wake.length > 0) flush(turn, state);
      for (const wake of state.wake.splice(0)) wake();
      if (!state.finished) return;
    }
  }
  // Until what is in this lane now was handed on.
  async function passed(index: number, state: State<Column>): Promise<void> {
    if (turn < index) await new Promise<void>((resolve) => state.wake.push(resolve));
    await emitted;
  }

  return (index) => {
    const state = states[index] as State<Column>;
    let pause: Promise<void> | undefined;
    return {
      columns(columns) {
        state.columns = columns;
      },
      row(values) {
        state.rows.push(values);
        for (const value of values) state.size += 16 + (value?.length ?? 0);
        if (state.size < laneSize) return undefined;
        if (turn === index) flush(index, state);
        pause ??= passed(index, state).finally(() => (pause = undefined));
        return pause;
      },
      restart() {
        if (!state.begun) Object.assign(state, { rows: [], size: 0, columns: undefined });
        return !state.begun;
      },
      async finish(ok) {
        if (!ok) Object.assign(state, { rows: [], size: 0, columns: state.begun ? state.columns : undefined });
        state.finished = true;
        waiting += state.size;
        if (turn === index) advance();
        if (turn > index || waiting > waitingSize) await passed(index, state);
      },
      begun: () => state.begun,
    };
  };
}
