import { chmodSync, mkdirSync } from "node:fs";
import { userInfo } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ServerSettings, settleDatabase } from "../../src/config/connection.js";
import { parseDatabaseUrl } from "../../src/config/url.js";
import { TenantctlError } from "../../src/errors.js";
import { folder } from "./folder.js";

type Environment = Record<string, string>;

/** As `--database <url>` settles it, in an environment of its own. */
function settle(url: string | undefined, env: Environment = {}, cwd = "/nowhere"): ServerSettings {
  const settings = settleDatabase({ url, source: "--database", folder: cwd }, { HOME: "/nowhere", ...env }, cwd);
  if (settings.kind !== "server") throw new Error("not a server");
  return settings;
}

function refusal(url: string | undefined, env: Environment = {}): TenantctlError {
  try {
    settle(url, env);
  } catch (error) {
    if (error instanceof TenantctlError) return error;
    throw error;
  }
  throw new Error(`nothing was refused: ${url}`);
}

describe("a URL", () => {
  it.each([
    [
      "postgres://thor:hammer@db.local:6432/polls",
      { user: "thor", password: "hammer", host: "db.local", port: 6432, database: "polls" },
    ],
    ["postgresql://db.local/polls", { host: "db.local", port: 5432, database: "polls", password: undefined }],
    ["postgres://a%40b:p%2F%3A%25@h/d%20b", { user: "a@b", password: "p/:%", database: "d b" }],
    ["postgres://u:p?q#r:s@h/d", { password: "p?q#r:s", host: "h", database: "d" }],
    ["postgres://[2001:db8::1]:99/d", { host: "2001:db8::1", port: 99 }],
    [
      "postgres://u@/d?host=/run/pg&port=6000",
      { host: "/run/pg", port: 6000, ssl: { mode: "disable", negotiation: "postgres" } },
    ],
    ["postgres://u@%2Frun%2Fpg/d?sslmode=require", { host: "/run/pg", ssl: { mode: "disable" } }],
    ["postgres://u@h", { database: "u" }],
    ["postgres://u@h/d?dbname=other&user=loki&password=x", { database: "other", user: "loki", password: "x" }],
    ["postgres://h/d?ssl=true", { ssl: { mode: "require" } }],
    ["postgres://h/d?sslmode=require&sslnegotiation=direct", { ssl: { mode: "require", negotiation: "direct" } }],
    ["postgres://h/d?hostaddr=10.0.0.1&sslmode=disable", { host: "h", hostaddr: "10.0.0.1" }],
    ["postgres://h/d?connect_timeout=3", { connectTimeoutMs: 3000 }],
    ["postgres://h/d?connect_timeout=0", { connectTimeoutMs: 0 }],
    ["postgres://h/d?application_name=a%20b", { applicationName: "a b" }],
    ["postgres://h/d?keepalives=0", { keepAlive: false }],
    ["postgres://h/d?keepalives_idle=30&keepalives_count=3", { keepAlive: true, keepAliveIdleMs: 30_000 }],
    ["postgres://h/d?channel_binding=require&sslmode=require", { channelBinding: "require" }],
    ["postgres://h/d?target_session_attrs=any&gssencmode=disable&client_encoding=UTF8", { host: "h" }],
    ["  postgres://h/d\n", { host: "h", database: "d" }],
  ])("%s", (url, expected) => {
    expect(settle(url)).toMatchObject(expected);
  });

  it("has libpq's defaults, and ours for the timeout and the name", () => {
    expect(settle("postgres://h")).toEqual({
      kind: "server",
      host: "h",
      port: 5432,
      user: userInfo().username,
      database: userInfo().username,
      password: undefined,
      ssl: { mode: "prefer", negotiation: "postgres" },
      connectTimeoutMs: 10_000,
      applicationName: "tenantctl",
      channelBinding: "prefer",
      keepAlive: true,
      keepAliveIdleMs: 0,
      display: `${userInfo().username}@h:5432/${userInfo().username}`,
      source: "--database",
      warnings: [],
    });
  });

  it.each([
    ["postgres://h1,h2/d", "several hosts"],
    ["postgres://h/d?host=h1,h2", "several hosts"],
    ["postgres://h/d?sslmod=require", 'unknown connection parameter "sslmod"'],
    ["postgres://h/d?options=-csearch_path%3Da", "options may not set search_path"],
    ["postgres://h/d?options=-c%20geqo%3Doff%20--search-path%3Da", "options may not set search_path"],
    ["postgres://h/d?options=-c%20Role%3Dloki", "options may not set role"],
    ["postgres://h/d?options=-c%20ro%5Cle%3Dloki", "options may not set role"],
    ["postgres://h/d?sslmode=on", "sslmode can't be"],
    ["postgres://h/d?target_session_attrs=read-write", "target_session_attrs"],
    ["postgres://h/d?gssencmode=require", "gssencmode"],
    ["postgres://h/d?client_encoding=latin1", "client_encoding"],
    ["postgres://h:0/d", "port must be a whole number from 1 to 65535"],
    ["postgres://h:65536/d", "port must be a whole number from 1 to 65535"],
    ["postgres://h/d?connect_timeout=soon", "connect_timeout must be a whole number"],
    ["postgres://h/d?hostaddr=h", "hostaddr is not an IP address"],
    ["postgres://h/%zz", "% that is no percent-encoding"],
    ["postgres://h/a%00", "% that is no percent-encoding"],
    ["postgres://h/d?sslmode", "not key=value"],
    ["mysql://h/d", "not a database URL"],
    ["host=h dbname=d", "not a database URL"],
    ["", "not a database URL"],
  ])("that can't be met is refused: %j", (url, message) => {
    expect(refusal(url)).toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining(message) });
  });

  it("gives the nearest parameter for an unknown one", () => {
    expect(refusal("postgres://h/d?sslmod=require").hint).toBe("did you mean sslmode?");
  });

  it.each([
    "postgres://u:s3@cret@h/d",
    "postgres://u:s3/cret@h/d",
    "postgres://u:33/s3cret@h/d",
    "postgres://u:s3cret@h:port/d",
    "postgres://u:s3cret@h/d?nope=1",
    "postgres://u:s3%cret@h/d",
    "postgres://u:s3cret@h1,h2/d",
    "host=h password=s3cret",
    "mysql://u:s3cret@h/d",
    "u:s3cret@h/d",
  ])("is never shown with its password: %s", (url) => {
    const { message, hint } = refusal(url);
    expect(`${message} ${hint}`).not.toMatch(/s3|cret/);
  });

  it("comes apart into what it was made of", () => {
    const part = fc
      .string({ unit: "binary", minLength: 1 })
      .filter((text) => !text.includes("\0") && !/\p{Surrogate}/u.test(text));
    const parts = fc.record({
      user: part,
      password: part,
      host: fc.domain(),
      port: fc.integer({ min: 1, max: 65_535 }),
      dbname: part,
    });
    fc.assert(
      fc.property(parts, ({ user, password, host, port, dbname }) => {
        const e = encodeURIComponent;
        const url = `postgres://${e(user)}:${e(password)}@${host}:${port}/${e(dbname)}?application_name=${e(user)}`;
        expect(Object.fromEntries(parseDatabaseUrl(url, "x"))).toEqual({
          user,
          password,
          host,
          port: `${port}`,
          dbname,
          application_name: user,
        });
        const { display } = settle(url);
        expect(display).not.toMatch(/\p{Cc}/u);
      }),
    );
  });

  it("never shows its password, however it is broken", () => {
    const noise = fc.array(fc.constantFrom("@", "/", "?", ":", "%", "=", "&", "[", ",", "postgres://", "h"), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(noise, noise, (before, after) => {
        // a password that ends the credentials is in no other part, unless the URL is refused
        const url = `postgres://u:${before.join("")}s3cret${after.join("").replaceAll("=", "")}@h/d`;
        try {
          const { display, warnings } = settle(url);
          expect(`${display} ${warnings}`).not.toContain("s3cret");
        } catch (error) {
          if (!(error instanceof TenantctlError)) throw error;
          expect(`${error.message} ${error.hint}`).not.toContain("s3cret");
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("the environment", () => {
  it("fills in what the URL leaves out", () => {
    const env = {
      PGHOST: "envhost",
      PGPORT: "6000",
      PGUSER: "loki",
      PGPASSWORD: "p",
      PGDATABASE: "d",
      PGSSLMODE: "require",
      PGAPPNAME: "a",
      PGCONNECT_TIMEOUT: "2",
    };
    expect(settle("postgres://urlhost", env)).toMatchObject({
      host: "urlhost",
      port: 6000,
      user: "loki",
      password: "p",
      database: "d",
      ssl: { mode: "require" },
      applicationName: "a",
      connectTimeoutMs: 2000,
    });
    expect(settle(undefined, env)).toMatchObject({ host: "envhost" });
  });

  it("that is empty says nothing, and PGOPTIONS is not obeyed", () => {
    expect(settle("postgres://u@h", { PGPORT: "", PGSSLMODE: "", PGDATABASE: "", PGOPTIONS: "-c x=y" })).toMatchObject({
      port: 5432,
      database: "u",
      ssl: { mode: "prefer" },
    });
  });

  it("is named when it is wrong", () => {
    expect(refusal("postgres://h", { PGPORT: "x" }).message).toBe(
      "PGPORT: port must be a whole number from 1 to 65535",
    );
    expect(refusal("postgres://h", { PGSSLMODE: "yes" }).message).toContain("PGSSLMODE");
  });

  it("that asks for more than we can do is told", () => {
    expect(settle("postgres://h", { PGREQUIREAUTH: "scram-sha-256" }).warnings).toEqual([
      "PGREQUIREAUTH is not supported and has no effect",
    ]);
  });

  it("without any host means the socket, or else localhost", () => {
    expect(["/var/run/postgresql", "/tmp", "localhost"]).toContain(settle(undefined, { PGPORT: "5" }).host);
    expect(settle(undefined, { PGPORT: "5" }).host).toBe("localhost");
  });
});

describe("a service", () => {
  const files = {
    ".pg_service.conf":
      "# ours\n[other]\nhost=other\n\n[polls]\nhost=svc\nport=6000\nuser=loki\nsslmode=require\nsslmode=disable\n\n[last]\nhost=last\n",
    "sys/pg_service.conf": "[polls]\nhost=system\n[nightly]\nhost=nightly\n",
    "bad.conf": "[polls]\nhost=a\noptions=-crole=loki\n",
    "worse.conf": "[polls]\nhost\n",
    "nested.conf": "[polls]\nservice=other\n",
  };

  it("is beneath the URL and above the environment", () => {
    const home = folder(files);
    expect(
      settle("postgres://urluser@/d?service=polls", { HOME: home, PGHOST: "env", PGPORT: "1", PGDATABASE: "envdb" }),
    ).toMatchObject({ user: "urluser", host: "svc", port: 6000, database: "d", ssl: { mode: "require" } });
    expect(settle(undefined, { HOME: home, PGSERVICE: "polls", PGDATABASE: "envdb" })).toMatchObject({
      host: "svc",
      database: "envdb",
    });
  });

  it("is the user's, else the system's", () => {
    const home = folder(files);
    const env = { HOME: home, PGSYSCONFDIR: path.join(home, "sys") };
    expect(settle("postgres://?service=polls", env).host).toBe("svc");
    expect(settle("postgres://?service=nightly", env).host).toBe("nightly");
    expect(
      settle("postgres://?service=polls", { ...env, PGSERVICEFILE: path.join(home, "sys/pg_service.conf") }).host,
    ).toBe("system");
  });

  it("that is not there, or that we can't follow, is refused", () => {
    const home = folder(files);
    expect(refusal("postgres://?service=nope", { HOME: home }).message).toContain('no service "nope"');
    const file = (name: string) =>
      refusal("postgres://?service=polls", { PGSERVICEFILE: path.join(home, name) }).message;
    expect(file("bad.conf")).toContain("bad.conf:3: options may not set role");
    expect(file("worse.conf")).toContain("worse.conf:2: not key=value");
    expect(file("nested.conf")).toContain("nested.conf:2: a service can't name another");
    expect(file("missing.conf")).toContain("ENOENT");
  });
});

describe("the password file", () => {
  it.each([
    ["h:5432:d:u:secret", "secret"],
    ["# h:5432:d:u:no\n\n*:*:*:u:secret", "secret"],
    ["h:5432:d:other:no\nh:5432:*:u:secret\n*:*:*:*:late", "secret"],
    ["h:5432:d:u:se\\:cr\\\\et", "se:cr\\et"],
    ["h:5432:d:u:secret:a comment", "secret"],
    ["h:5432:d:u:secret\r\n", "secret"],
    ["\\h:5432:d:u:secret", "secret"],
    ["h:5433:d:u:no", undefined],
    ["\\*:5432:d:u:no", undefined],
    ["h:5432:d:no", undefined],
    ["localhost:5432:d:u:no", undefined],
  ])("%j gives %j", (text, expected) => {
    const home = folder({ ".pgpass": text });
    expect(settle("postgres://u@h/d", { HOME: home }).password).toBe(expected);
  });

  it("knows colons in names by their backslash", () => {
    const home = folder({ ".pgpass": "\\:\\:1:5432:d\\:b:u:secret" });
    expect(settle("postgres://u@[::1]/d:b", { HOME: home }).password).toBe("secret");
  });

  it("calls the default socket localhost", () => {
    const home = folder({ ".pgpass": "localhost:5432:d:u:secret\n/run/other:5432:d:u:other" });
    expect(settle("postgres://u@/d?host=/var/run/postgresql", { HOME: home }).password).toBe("secret");
    expect(settle("postgres://u@/d?host=/run/other", { HOME: home }).password).toBe("other");
  });

  it("is the one that PGPASSFILE or passfile names, and counts after every other password", () => {
    const home = folder({ ".pgpass": "*:*:*:*:home", mine: "*:*:*:*:mine" });
    expect(settle("postgres://u@h", { HOME: home, PGPASSFILE: path.join(home, "mine") }).password).toBe("mine");
    expect(settle("postgres://u@h?passfile=mine", { HOME: home }, home).password).toBe("mine");
    expect(settle("postgres://u@h", { HOME: home, PGPASSWORD: "env" }).password).toBe("env");
    expect(settle("postgres://u:url@h", { HOME: home, PGPASSWORD: "env" }).password).toBe("url");
  });

  it("that others can read is passed over, with a warning", () => {
    const home = folder({ ".pgpass": "*:*:*:*:secret" });
    chmodSync(path.join(home, ".pgpass"), 0o640);
    const { password, warnings } = settle("postgres://u@h", { HOME: home });
    expect(password).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining("group or world access")]);
  });

  it("that is a folder is passed over, with a warning", () => {
    const home = folder();
    mkdirSync(path.join(home, ".pgpass"));
    expect(settle("postgres://u@h", { HOME: home }).warnings).toEqual([expect.stringContaining("not a plain file")]);
  });
});

describe("TLS", () => {
  const home = (names: string[]) => folder(Object.fromEntries(names.map((name) => [`.postgresql/${name}`, name])));

  it("prefers, and takes what lies in ~/.postgresql", () => {
    const HOME = home(["root.crt", "postgresql.crt", "postgresql.key"]);
    expect(settle("postgres://h", { HOME }).ssl).toEqual({
      mode: "prefer",
      negotiation: "postgres",
      ca: "root.crt",
      cert: "postgresql.crt",
      key: "postgresql.key",
    });
    expect(settle("postgres://h?sslmode=disable", { HOME }).ssl).toEqual({ mode: "disable", negotiation: "postgres" });
  });

  it("that is required verifies where a root certificate is there", () => {
    expect(settle("postgres://h?sslmode=require").ssl.mode).toBe("require");
    expect(settle("postgres://h?sslmode=require", { HOME: home(["root.crt"]) }).ssl).toMatchObject({
      mode: "verify-ca",
      ca: "root.crt",
    });
  });

  it("that verifies needs a root certificate", () => {
    for (const mode of ["verify-ca", "verify-full"]) {
      expect(refusal(`postgres://h?sslmode=${mode}`)).toMatchObject({
        message: expect.stringContaining("does not exist"),
        hint: expect.stringContaining("sslrootcert=system"),
      });
      const ca = settle(`postgres://h?sslmode=${mode}`, { HOME: home(["root.crt"]) }).ssl;
      expect(ca).toMatchObject({ mode, ca: "root.crt" });
    }
  });

  it("takes named files, relative to where the URL stands, and warns of a root certificate that is missing", () => {
    const root = folder({ "ca.pem": "ca", "c.pem": "cert", "k.pem": "key" });
    const url = "postgres://h?sslmode=verify-full&sslrootcert=ca.pem&sslcert=c.pem&sslkey=k.pem&sslpassword=pp";
    expect(settle(url, {}, root).ssl).toEqual({
      mode: "verify-full",
      negotiation: "postgres",
      ca: "ca",
      cert: "cert",
      key: "key",
      passphrase: "pp",
    });
    const { ssl, warnings } = settle("postgres://h?sslmode=require&sslrootcert=none.pem", {}, root);
    expect(ssl.mode).toBe("require");
    expect(warnings).toEqual([expect.stringContaining("the server is not verified")]);
  });

  it("with the system's roots verifies in full, and refuses less", () => {
    expect(settle("postgres://h?sslrootcert=system").ssl).toEqual({
      mode: "verify-full",
      systemCa: true,
      negotiation: "postgres",
    });
    expect(settle("postgres://h", { PGSSLROOTCERT: "system" }).ssl.mode).toBe("verify-full");
    expect(refusal("postgres://h?sslrootcert=system&sslmode=require").message).toContain("too weak");
  });

  it("without asking must be required", () => {
    expect(refusal("postgres://h?sslnegotiation=direct").message).toContain("too weak");
  });

  it("verifies a name, not an address alone", () => {
    const HOME = home(["root.crt"]);
    expect(refusal("postgres://?hostaddr=10.0.0.1&sslmode=verify-full", { HOME }).hint).toContain("hostaddr");
    expect(settle("postgres://db?hostaddr=10.0.0.1&sslmode=verify-full", { HOME }).host).toBe("db");
  });

  it("refuses a key that others can read where TLS is needed, and does without where it is not", () => {
    const HOME = home(["postgresql.crt", "postgresql.key"]);
    const key = path.join(HOME, ".postgresql/postgresql.key");
    chmodSync(key, process.getuid?.() === 0 ? 0o644 : 0o640);
    expect(refusal("postgres://h?sslmode=require", { HOME }).message).toContain("group or world access");
    const { ssl, warnings } = settle("postgres://h", { HOME });
    expect(ssl).toEqual({ mode: "prefer", negotiation: "postgres" });
    expect(warnings).toEqual([expect.stringContaining("is not used")]);
  });

  it.runIf(process.getuid?.() === 0)("accepts root's own key that a group can read", () => {
    const HOME = home(["postgresql.crt", "postgresql.key"]);
    chmodSync(path.join(HOME, ".postgresql/postgresql.key"), 0o640);
    expect(settle("postgres://h?sslmode=require", { HOME }).ssl.key).toBe("postgresql.key");
  });

  it("refuses a certificate whose key is missing", () => {
    expect(refusal("postgres://h?sslmode=require", { HOME: home(["postgresql.crt"]) }).message).toContain(
      "does not exist",
    );
  });
});
