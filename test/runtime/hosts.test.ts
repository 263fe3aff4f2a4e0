// Host headers: what leads to a tenant, and that nothing in them does harm.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Tenant } from "../../src/registry/index.js";
import { Hosts, type HostsOptions, hostOf } from "../../src/runtime/hosts.js";

const tenant = (name: string, ...hosts: string[]): Tenant => ({
  name,
  schema: name,
  hosts,
  labels: {},
  state: "active",
});
const hostsOf = (tenants: Tenant[], options: HostsOptions) => {
  const hosts = new Hosts(options);
  for (const one of tenants) hosts.add(one);
  return hosts;
};
const hosts = hostsOf(
  [
    tenant("thor", "thor.polls.local", "thor.example.com"),
    tenant("any", "*.polls.local"),
    tenant("six", "2001:db8::1"),
    tenant("four", "192.0.2.7"),
    tenant("Loki"),
  ],
  { subdomainsOf: "Tenants.example.com" },
);
const found = (header: string) => hosts.find(header)?.name;

describe("a Host header leads to a tenant", () => {
  test.each([
    ["thor.polls.local", "thor"],
    ["THOR.Polls.Local", "thor"],
    ["thor.polls.local:3000", "thor"],
    ["thor.polls.local:", "thor"],
    ["thor.polls.local.", "thor"],
    ["thor.polls.local.:443", "thor"],
    ["other.polls.local", "any"],
    ["a.b.polls.local", undefined],
    ["polls.local", undefined],
    [".polls.local", undefined],
    ["*.polls.local", undefined],
    ["[2001:db8::1]", "six"],
    ["[2001:DB8:0:0:0:0:0:1]:8080", "six"],
    ["2001:db8::1", "six"],
    ["[2001:db8::2]", undefined],
    ["192.0.2.7:80", "four"],
    ["loki.tenants.example.com", "Loki"],
    ["LOKI.tenants.example.com:3000", "Loki"],
    ["nobody.tenants.example.com", undefined],
    ["tenants.example.com", undefined],
    ["", undefined],
    [" thor.polls.local", undefined],
    ["thor.polls.local, loki.polls.local", undefined],
    ['x"; drop schema thor; --', undefined],
    ["thor.polls.local\u0000", undefined],
    ["thor.polls.local:99999999", undefined],
    ["user@thor.polls.local", undefined],
    ["th\u00f8r.polls.local", undefined],
    ["__proto__", undefined],
    ["constructor.tenants.example.com", undefined],
    [`${"a".repeat(250)}.polls.local`, undefined],
  ])("%j: %s", (header, name) => {
    expect(found(header)).toBe(name);
    expect(found(header)).toBe(name); // from its memory, too
  });

  test("an exact host wins over a subdomain, and that over a wildcard", () => {
    const tenants = [
      tenant("a", "*.polls.local"),
      tenant("b"),
      tenant("c", "c.polls.local"),
      tenant("d", "b2.polls.local"),
    ];
    const some = hostsOf([...tenants, tenant("b2")], { subdomainsOf: "polls.local" });
    expect(["x", "b", "c", "b2"].map((name) => some.find(`${name}.polls.local`)?.name)).toEqual(["a", "b", "c", "d"]);
  });

  test("no wildcard leads to the host of a tenant that is not served", () => {
    const some = hostsOf([tenant("any", "*.polls.local"), tenant("b")], { subdomainsOf: "polls.local" });
    some.block(["loki.polls.local"], "odin", 1);
    expect(["loki", "odin", "b", "x"].map((name) => some.find(`${name}.polls.local`)?.name)).toEqual([
      undefined,
      undefined,
      "b",
      "any",
    ]);
    some.block(["loki.polls.local"], "odin", -1);
    expect(some.find("loki.polls.local")?.name).toBe("any");
  });

  test("a parent that is no host is refused", () => {
    expect(() => new Hosts({ subdomainsOf: "no host" })).toThrow("is no host");
  });
});

describe("whatever a Host header holds", () => {
  const anything = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.stringMatching(/^[a-zA-Z0-9.:[\]*_-]{0,300}$/),
    fc.string().map((text) => `${text}.polls.local`),
  );

  test("nothing is thrown, and only a host of the one before the port is found", () => {
    fc.assert(
      fc.property(anything, (header) => {
        const host = hostOf(header);
        const name = found(header);
        if (host === undefined) expect([undefined, "six"]).toContain(name);
        else {
          expect(host).toBe(host.toLowerCase());
          expect(host.length).toBeLessThanOrEqual(253);
          expect(found(host)).toBe(name);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("case, port and last dot make no difference", () => {
    const label = fc.stringMatching(/^[a-z0-9]{1,12}$/);
    fc.assert(
      fc.property(label, fc.boolean(), fc.option(fc.nat(65_535)), fc.boolean(), (name, upper, port, dot) => {
        const host = `${upper ? name.toUpperCase() : name}.polls.local${dot ? "." : ""}${port === null ? "" : `:${port}`}`;
        expect(hostOf(host)).toBe(`${name}.polls.local`);
        expect(found(host)).toBe(name === "thor" ? "thor" : "any");
      }),
      { numRuns: 200 },
    );
  });

  test("many spellings don't fill the memory", () => {
    const wrong = Array.from({ length: 30_000 }, (_, port) => found(`thor.polls.local:${port}`)).filter(
      (name) => name !== "thor",
    );
    expect(wrong).toEqual([]);
    expect(hosts.remembered).toBeLessThanOrEqual(10_000);
  });
});
