// What several workers bring at once comes out in the tenants' order, and nothing of one that failed.
import { expect, test } from "vitest";
import { inOrder } from "../../src/fleet/order.js";

function lanes(count: number) {
  const out: string[] = [];
  const lane = inOrder<string>(count, (index, _columns, rows) => {
    for (const [value] of rows) out.push(`${index} ${value?.slice(0, 5)}`);
    return undefined;
  });
  return { out, at: Array.from({ length: count }, (_, index) => lane(index)) };
}

test("rows come out lane after lane, whoever is done first", async () => {
  const { out, at } = lanes(3);
  for (const lane of at) lane.columns(["value"]);
  at[2]?.row(["c"]);
  const last = at[2]?.finish(true);
  at[0]?.row(["a"]);
  await at[0]?.finish(true);
  await at[1]?.finish(true);
  await last;
  expect(out).toEqual(["0 a", "2 c"]);
});

test("a lane whose turn comes is held back until it is done, and dropped if it fails", async () => {
  const { out, at } = lanes(2);
  for (const lane of at) lane.columns(["value"]);
  at[1]?.row(["lost"]);
  await at[0]?.finish(true);
  at[1]?.row(["lost, too"]);
  expect(at[1]?.begun()).toBe(false);
  await at[1]?.finish(false);
  expect(out).toEqual([]);
});

test("what is too much to hold comes out when its turn comes, and says so", async () => {
  const { out, at } = lanes(2);
  for (const lane of at) lane.columns(["value"]);
  const pause = at[1]?.row(["x".repeat(2_000_000)]);
  expect(pause).toBeInstanceOf(Promise);
  await at[0]?.finish(true);
  await pause;
  expect(at[1]?.begun()).toBe(true);
  await at[1]?.finish(false);
  expect(out).toEqual(["1 xxxxx"]);
});
