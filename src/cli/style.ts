// The cli room: colour, on a terminal that wants it; chalk is loaded only there.

/** How words stand out. Each leaves its text as it is where there is no colour. */
export interface Style {
  good(text: string): string;
  bad(text: string): string;
  warn(text: string): string;
  dim(text: string): string;
  bold(text: string): string;
}

const plain = (text: string) => text;
const noStyle: Style = { good: plain, bad: plain, warn: plain, dim: plain, bold: plain };

/** The style for a stream. */
export async function styleFor(stream: NodeJS.WriteStream, wanted: boolean): Promise<Style> {
  if (!wanted || !stream.isTTY) return noStyle;
  const { Chalk } = await import("chalk");
  const chalk = new Chalk({ level: 1 });
  return { good: chalk.green, bad: chalk.red, warn: chalk.yellow, dim: chalk.dim, bold: chalk.bold };
}
