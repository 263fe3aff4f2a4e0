// The cli room: results that are too large to be held, on their way to stdout; who reads slowly slows us down.

const draining = new WeakMap<NodeJS.WriteStream, Promise<void>>();

/** Writes; what it returns is settled once the reader has caught up. */
export function writeTo(stream: NodeJS.WriteStream, chunk: Buffer | string): Promise<void> | undefined {
  if (stream.write(chunk)) return undefined;
  let drained = draining.get(stream);
  if (drained === undefined) {
    drained = new Promise((resolve) => {
      stream.once("drain", () => {
        draining.delete(stream);
        resolve();
      });
    });
    draining.set(stream, drained);
  }
  return drained;
}

/** One JSON document whose list is written as it grows, and whose other keys come after it. */
export function openDocument(list: string) {
  let items = 0;
  const begin = () => `{\n  ${JSON.stringify(list)}: [`;
  return {
    /** Adds items, each the text of a JSON value. */
    add(texts: readonly string[]): Promise<void> | undefined {
      if (texts.length === 0) return undefined;
      const head = items === 0 ? begin() : ",";
      items += texts.length;
      return writeTo(process.stdout, `${head}${texts.map((text) => `\n    ${text}`).join(",")}`);
    },
    end(others: object): void {
      const [, rest] = /^\{(.*)\}$/s.exec(JSON.stringify(others, null, 2)) ?? [];
      process.stdout.write(`${items === 0 ? begin() : "\n  "}],${rest}}\n`);
    },
  };
}
