// sslmode means what it means to libpq.

import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newest } from "../support/database.ts";
import { type OwnServer, startOwnServer } from "./server.ts";
import { interrupted, openUrl } from "./settings.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenantctl-tls-"));
  makeCertificates();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** An authority that signs localhost's certificate, and another that has nothing to do with it. */
function makeCertificates(): void {
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  for (const name of ["root", "stranger"]) {
    openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-days",
      "2",
      "-subj",
      `/CN=${name}`,
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.crt`,
    );
  }
  openssl(
    "req",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-subj",
    "/CN=localhost",
    "-addext",
    "subjectAltName=DNS:localhost",
    "-keyout",
    "server.key",
    "-out",
    "server.csr",
  );
  openssl(
    "x509",
    "-req",
    "-in",
    "server.csr",
    "-CA",
    "root.crt",
    "-CAkey",
    "root.key",
    "-days",
    "2",
    "-copy_extensions",
    "copy",
    "-out",
    "server.crt",
  );
}

/** Whether the connection that was made is encrypted. */
async function encrypted(url: string): Promise<boolean> {
  const database = await openUrl(url);
  const { rows } = await database.withClient((client) =>
    client.query<{ ssl: boolean }>("select ssl from pg_stat_ssl where pid = pg_backend_pid()"),
  );
  return rows[0]?.ssl ?? false;
}

describe("a server without TLS", () => {
  const url = (sslmode: string) => `${newest().url}?sslmode=${sslmode}`;

  test.each(["disable", "allow", "prefer"])("%s connects in plain", async (mode) => {
    expect(await encrypted(url(mode))).toBe(false);
  });

  test("require fails, and says that it is about TLS", async () => {
    await expect(encrypted(url("require"))).rejects.toMatchObject({
      code: "DATABASE_UNREACHABLE",
      message: expect.stringContaining("SSL"),
      hint: expect.stringContaining("sslmode"),
    });
  });

  test.each(["verify-ca", "verify-full"])("%s fails", async (mode) => {
    const mine = join(folder, "root.crt");
    await expect(encrypted(`${url(mode)}&sslrootcert=${mine}`)).rejects.toMatchObject({ code: "DATABASE_UNREACHABLE" });
  });

  test("a wrong password is called that, whatever was tried first", async () => {
    const wrong = new URL(url("prefer"));
    wrong.password = "wrong";
    await expect(encrypted(wrong.href)).rejects.toMatchObject({
      code: "DATABASE_REFUSED",
      message: expect.stringContaining("password"),
    });
  });
});

describe("a server with TLS", () => {
  let server: OwnServer;
  const ca = (name: string) => ({ sslrootcert: join(folder, `${name}.crt`) });

  beforeAll(async () => {
    const text = async (file: string) => (await readFile(join(folder, file), "utf8")).trim();
    const write = async (file: string) => `echo '${await text(file)}' >data/${file} && chmod 600 data/${file}`;
    server = await startOwnServer(["ssl=on"], `${await write("server.crt")} && ${await write("server.key")}`);
  });

  test.each(["prefer", "require"])("%s encrypts, and trusts any certificate", async (sslmode) => {
    expect(await encrypted(server.url("localhost", { sslmode }))).toBe(true);
  });

  test("what is under way is cancelled over TLS, and over a socket", async () => {
    const socket = `postgres://postgres@/postgres?${new URLSearchParams({ host: server.folder, port: `${server.port}` })}`;
    for (const url of [server.url("localhost", { sslmode: "require" }), socket])
      expect(await interrupted(await openUrl(url))).toEqual(["57014", "57014", "slept"]);
  });

  test.each(["disable", "allow"])("%s does not encrypt where plain is allowed", async (sslmode) => {
    expect(await encrypted(server.url("localhost", { sslmode }))).toBe(false);
  });

  test("verify-full wants our authority and the host's name", async () => {
    const sslmode = "verify-full";
    expect(await encrypted(server.url("localhost", { sslmode, ...ca("root") }))).toBe(true);
    for (const url of [
      server.url("localhost", { sslmode, ...ca("stranger") }),
      server.url("127.0.0.1", { sslmode, ...ca("root") }),
      server.url("wrong.example", { sslmode, hostaddr: "127.0.0.1", ...ca("root") }),
    ]) {
      await expect(encrypted(url)).rejects.toMatchObject({
        code: "DATABASE_UNREACHABLE",
        hint: "check sslmode and sslrootcert",
      });
    }
  });

  test("verify-full with a hostaddr checks the name of the host", async () => {
    const parameters = { sslmode: "verify-full", hostaddr: "127.0.0.1", ...ca("root") };
    expect(await encrypted(server.url("localhost", parameters))).toBe(true);
  });

  test("verify-ca wants our authority and any name", async () => {
    const sslmode = "verify-ca";
    expect(await encrypted(server.url("127.0.0.1", { sslmode, ...ca("root") }))).toBe(true);
    await expect(encrypted(server.url("localhost", { sslmode, ...ca("stranger") }))).rejects.toMatchObject({
      code: "DATABASE_UNREACHABLE",
    });
  });

  test("require with a root certificate is verify-ca", async () => {
    const sslmode = "require";
    expect(await encrypted(server.url("127.0.0.1", { sslmode, ...ca("root") }))).toBe(true);
    await expect(encrypted(server.url("localhost", { sslmode, ...ca("stranger") }))).rejects.toMatchObject({
      code: "DATABASE_UNREACHABLE",
    });
  });

  test("prefer with a root certificate that did not sign it falls back to plain", async () => {
    expect(await encrypted(server.url("localhost", { sslmode: "prefer", ...ca("stranger") }))).toBe(false);
  });

  test("sslnegotiation=direct speaks TLS from the first byte", async () => {
    const parameters = { sslmode: "require", sslnegotiation: "direct" };
    expect(await encrypted(server.url("localhost", parameters))).toBe(true);
  });
});
