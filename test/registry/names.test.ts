import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TenantctlError } from "../../src/errors.js";
import { checkHost, checkSchemaName, checkTenantName, shown } from "../../src/registry/names.js";
import { nearest } from "../../src/registry/suggest.js";

function refusal(check: () => unknown): TenantctlError | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof TenantctlError) return error;
    throw error;
  }
}

/** Characters that terminals obey, or that turn text around. */
const CONTROL = /[\p{Cc}\p{Surrogate}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom("a", "é", "7", "_", ".", "-", "$", "\0", "\u001b", "\ud800", "界") }),
);

describe("a tenant's name", () => {
  it.each([
    "thor",
    "7",
    "acme.eu-west_1",
    "Glück",
    "東京",
    "a".repeat(63),
    "é".repeat(31),
    "PUBLIC",
    "pgx",
    "constructor",
  ])("may be %s", (name) => {
    expect(refusal(() => checkTenantName(name))).toBeUndefined();
  });

  it.each([
    ["", "is empty"],
    ["a".repeat(64), "has 64 bytes, 63 are allowed"],
    ["é".repeat(32), "has 64 bytes, 63 are allowed"],
    ["_a", "must start with a letter or digit"],
    ["-a", "must start with a letter or digit"],
    [".a", "must start with a letter or digit"],
    ["a b", 'must not contain " "'],
    ["a/b", 'must not contain "/"'],
    ["a\u001b[31m", 'must not contain "\\u001b"'],
    ["a\n", 'must not contain "\\n"'],
    ['a"', 'must not contain "\\""'],
    ["a*", 'must not contain "*"'],
    ["public", "is reserved"],
    ["information_schema", "is reserved"],
    ["tenantctl", "is reserved"],
    ["pg_toast", "starts with pg_"],
  ])("may not be %j: it %s", (name, reason) => {
    expect(refusal(() => checkTenantName(name))).toMatchObject({
      code: "NAME_INVALID",
      message: `tenant name ${shown(name)} ${reason}${reason.endsWith("pg_") ? ", which PostgreSQL keeps for itself" : ""}`,
      hint: expect.stringContaining("63 bytes"),
    });
  });

  it("is accepted if, and only if, it keeps the rules", () => {
    fc.assert(
      fc.property(anyText, (name) => {
        const legal =
          /^[\p{L}\p{N}][\p{L}\p{N}_.-]*$/u.test(name) &&
          Buffer.byteLength(name) <= 63 &&
          !/^(public|information_schema|tenantctl|pg_.*)$/.test(name);
        expect(refusal(() => checkTenantName(name)) === undefined).toBe(legal);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a schema's name", () => {
  it.each(["thor", 'Glo"bex', "a b", "_x", "$x", "-", "界", "a\tb", "search path,"])("may be %s", (name) => {
    expect(refusal(() => checkSchemaName(name))).toBeUndefined();
  });

  it.each([
    ["", "is empty"],
    ["é".repeat(32), "has 64 bytes"],
    ["a\0b", "NUL"],
    ["a\ud800", "surrogate"],
    ["$user", "search_path"],
    ["public", "is reserved"],
    ["pg_x", "starts with pg_"],
  ])("may not be %j", (name, reason) => {
    expect(refusal(() => checkSchemaName(name))).toMatchObject({
      code: "NAME_INVALID",
      message: expect.stringContaining(reason),
    });
  });

  it("of a tenant is always legal", () => {
    fc.assert(
      fc.property(anyText, (name) => {
        if (refusal(() => checkTenantName(name)) === undefined) checkSchemaName(name);
      }),
    );
  });
});

describe("a host", () => {
  it.each([
    ["thor.polls.local", "thor.polls.local"],
    ["Thor.Polls.LOCAL", "thor.polls.local"],
    ["*.polls.local", "*.polls.local"],
    ["localhost", "localhost"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example"],
    ["a_b.local", "a_b.local"],
    ["10.0.0.1", "10.0.0.1"],
    ["2001:DB8::1", "2001:db8::1"],
  ])("%s is kept as %s", (host, kept) => {
    expect(checkHost(host)).toBe(kept);
  });

  it.each([
    "",
    "a.b:80",
    "a.b.",
    "a..b",
    "http://a.b",
    "a b",
    "a.*.b",
    "*",
    "*.",
    "-a.b",
    "a-.b",
    "[::1]",
    "10.0.0",
    "a.b/c",
    `${"a".repeat(64)}.b`,
    `${"a.".repeat(127)}a`,
    "a\n.b",
  ])("may not be %j", (host) => {
    expect(refusal(() => checkHost(host))).toMatchObject({ code: "NAME_INVALID" });
  });

  it("in other letters gets the spelling that browsers send as a hint", () => {
    expect(refusal(() => checkHost("bücher.example"))?.hint).toContain("xn--bcher-kva.example");
  });
});

it("no message carries a control character", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      for (const check of [checkTenantName, checkSchemaName, checkHost]) {
        const error = refusal(() => check(text));
        expect(`${error?.message}${error?.hint}`).not.toMatch(CONTROL);
      }
    }),
    { numRuns: 2_000 },
  );
});

describe("the nearest name", () => {
  it.each([
    ["tohr", "thor"],
    ["thro", "thor"],
    ["Thor", "thor"],
    ["acme-ue", "acme-eu"],
    ["x", undefined],
    ["zeus", undefined],
  ])("to %s is %s", (word, expected) => {
    expect(nearest(word, ["loki", "thor", "acme-eu", "potter"])).toBe(expected);
  });

  it("is found among 50,000", () => {
    const names = Array.from({ length: 50_000 }, (_, index) => `tenant_${index}`);
    expect(nearest("tenat_49999", names)).toBe("tenant_49999");
  });
});
