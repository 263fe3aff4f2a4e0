// Which tenants an operation is for.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Selection, selectTenants } from "../../src/fleet/select.js";

const tenant = (name: string, labels: Record<string, string> = {}) => ({
  name,
  schema: name,
  hosts: [],
  labels,
  state: "active" as const,
});
const all = [
  tenant("thor", { plan: "free", region: "eu" }),
  tenant("loki", { plan: "free" }),
  tenant("odin", { plan: "paid", region: "eu" }),
  tenant("acme.eu", { plan: "paid" }),
  tenant("acme.us"),
];
const chosen = async (selection: Selection) => (await selectTenants(all, selection)).map(({ name }) => name);

describe("selected:", () => {
  test.each<[string, Selection, string[]]>([
    ["none named: all, in the registry's order", {}, ["thor", "loki", "odin", "acme.eu", "acme.us"]],
    ["by name, in the registry's order", { tenants: ["odin", "thor"] }, ["thor", "odin"]],
    ["by glob", { tenants: ["acme.*"] }, ["acme.eu", "acme.us"]],
    ["by several, each once", { tenants: ["*o*", "thor"] }, ["thor", "loki", "odin"]],
    ["by braces and classes", { tenants: ["{thor,lok[hi]}"] }, ["thor", "loki"]],
    ["all but those left out", { except: ["acme.*", "x*"] }, ["thor", "loki", "odin"]],
    ["named and left out", { tenants: ["thor", "loki"], except: ["thor"] }, ["loki"]],
    ["by label", { labels: ["plan=free"] }, ["thor", "loki"]],
    ["by all of the labels", { labels: ["plan=free", "region=eu"] }, ["thor"]],
    ["by a label's empty value", { labels: ["plan="] }, []],
    ["by a label that is a property of every object", { labels: ["constructor=x"] }, []],
  ])("%s", async (_, selection, names) => {
    expect(await chosen(selection)).toEqual(names);
  });
});

describe("refused:", () => {
  test.each<[string, Selection, object]>([
    [
      "an unknown name, with the nearest",
      { tenants: ["thro"] },
      { code: "TENANT_UNKNOWN", hint: "did you mean thor?" },
    ],
    ["one unknown among known ones", { tenants: ["thor", "nobody"] }, { code: "TENANT_UNKNOWN" }],
    ["an unknown name to leave out", { except: ["thro"] }, { code: "TENANT_UNKNOWN", hint: "did you mean thor?" }],
    ["a glob that no name matches", { tenants: ["x*"] }, { code: "TENANT_UNKNOWN" }],
    ["a name in another case", { tenants: ["Thor"] }, { code: "TENANT_UNKNOWN" }],
    ["a glob that is longer than any", { tenants: ["*".repeat(70_000)] }, { code: "USAGE" }],
    ["a label without a key", { labels: ["=x"] }, { code: "USAGE" }],
    ["a label without =", { labels: ["plan"] }, { code: "USAGE" }],
    ["a shard from nought", { shard: "0/2" }, { code: "USAGE" }],
    ["a shard beyond the last", { shard: "3/2" }, { code: "USAGE" }],
    ["a shard of none", { shard: "1/0" }, { code: "USAGE" }],
    ["a shard in words", { shard: "1 of 2" }, { code: "USAGE" }],
  ])("%s", async (_, selection, error) => {
    await expect(chosen(selection)).rejects.toMatchObject(error);
  });
});

test("shards are disjoint and complete, and do not depend on who else is there", async () => {
  const names = fc.uniqueArray(fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 12 }), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(names, fc.integer({ min: 1, max: 7 }), async (list, count) => {
      const tenants = list.map((name) => tenant(name));
      const shards = await Promise.all(
        Array.from({ length: count }, (_, at) => selectTenants(tenants, { shard: `${at + 1}/${count}` })),
      );
      expect(
        shards
          .flat()
          .map(({ name }) => name)
          .sort(),
      ).toEqual([...list].sort());
      const [first] = shards[0] ?? [];
      if (first) expect(await selectTenants([first], { shard: `1/${count}` })).toEqual([first]);
    }),
    { numRuns: 60 },
  );
});

test("shards of a big fleet are about as big as one another", async () => {
  const tenants = Array.from({ length: 4_000 }, (_, at) => tenant(`tenant${at}`));
  for (const shard of ["1/4", "2/4", "3/4", "4/4"]) {
    const { length } = await selectTenants(tenants, { shard });
    expect(length).toBeGreaterThan(850);
    expect(length).toBeLessThan(1_150);
  }
});
