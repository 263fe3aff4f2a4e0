// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables, as a config has them

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expand } from "../../src/config/expand.js";

describe("a text with variables", () => {
  it.each([
    ["${A}", { A: "x" }, "x"],
    ["a/${A}-${B:-b c}/z", { A: "x" }, "a/x-b c/z"],
    ["${A:-x}", { A: "" }, "x"],
    ["${A}b", { A: "" }, "b"],
    ["${A}", { A: "${B}$&" }, "${B}$&"],
    ["${A:-}b", {}, "b"],
    ["$A costs $5", {}, "$A costs $5"],
  ])("%s with %j is %s", (text, env, expected) => {
    expect(expand(text, env)).toEqual({ text: expected });
  });

  it.each([
    ["${A}", {}, "${A} is not set"],
    ["${A}", { A: "" }, "${A} is empty"],
    ["", {}, "is empty"],
    ["${A", { A: "x" }, "neither"],
    ["${}", {}, "neither"],
    ["${1A}", {}, "neither"],
    ["${A:?x}", { A: "x" }, "neither"],
    ["${A:-${B}}", { A: "x" }, "neither"],
  ])("%s with %j is refused", (text, env, problem) => {
    expect(expand(text, env)).toEqual({ problem: expect.stringContaining(problem) });
  });

  it("is filled in piece by piece, whatever the pieces are", () => {
    const plain = fc.string().filter((text) => !text.includes("$"));
    const pieces = fc.array(fc.oneof(fc.record({ plain }), fc.record({ value: fc.string() })), { minLength: 1 });
    fc.assert(
      fc.property(pieces, (all) => {
        const env: Record<string, string> = {};
        const text = all.map((piece, index) => {
          if ("plain" in piece) return piece.plain;
          env[`V${index}`] = piece.value;
          return `\${V${index}}`;
        });
        const expected = all.map((piece) => ("plain" in piece ? piece.plain : piece.value)).join("");
        expect(expand(text.join(""), env)).toEqual(
          expected === "" ? { problem: expect.anything() } : { text: expected },
        );
      }),
    );
  });
});
