// A page verifies certificates by itself. Needs chromium (CHROMIUM, or /usr/bin/chromium); DROPBEAR_REQUIRE_BROWSER=1
// makes its absence a failure.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { chromium, type Page } from "playwright-core";
import { vectors } from "./testdata.js";

const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const REQUIRED = process.env["DROPBEAR_REQUIRE_BROWSER"] === "1";
const absent = !existsSync(CHROMIUM) && !REQUIRED && `there is no ${CHROMIUM}`;
const FLAGS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
  ...["--disable-background-networking", "--disable-component-update"],
];
const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));
const SCREENSHOT = join(PACKAGE, "tests/browser/screenshot.png");

/** Where the page's paths lead. */
const FOLDERS: readonly (readonly [prefix: string, folder: string, type: string])[] = [
  ["/dist/", join(PACKAGE, "dist/src/"), "text/javascript"],
  ["/testdata/", join(PACKAGE, "../testdata/"), "application/json"],
];

function respond(path: string): readonly [type: string, body: string | Buffer] | null {
  if (path === "/") return ["text/html", readFileSync(join(PACKAGE, "tests/browser/index.html"))];
  // Browsers do not know packages by name: a bundler, or an import map, leads them to the file.
  const script = (): string => readFileSync(join(PACKAGE, "dist/tests/browser/page.js"), "utf8");
  if (path === "/page.js") return ["text/javascript", script().replace("@dropbear/certificates", "/dist/index.js")];
  if (path === "/vectors.json")
    return ["application/json", JSON.stringify([...vectors("valid"), ...vectors("invalid")])];
  const found = FOLDERS.find(([prefix]) => path.startsWith(prefix));
  if (found === undefined || path.includes("..")) return null;
  const file = join(found[1], path.slice(found[0].length));
  return existsSync(file) ? [found[2], readFileSync(file)] : null;
}

function serve(): Promise<Server> {
  const server = createServer((request, response) => {
    const found = respond(request.url ?? "/");
    if (found === null) response.writeHead(404).end();
    else response.writeHead(200, { "content-type": `${found[0]}; charset=utf-8` }).end(found[1]);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

/** The verdict and the facts that a section of the page shows. */
async function section(page: Page, id: string): Promise<readonly [verdict: string | null, text: string]> {
  const found = page.locator(`#${id}`);
  return [await found.getAttribute("data-verdict"), await found.innerText()];
}

test(
  "a browser verifies a certificate by itself and refuses a tampered one",
  { skip: absent, timeout: 120_000 },
  async () => {
    const server = await serve();
    const profile = mkdtempSync(join(tmpdir(), "dropbear-chromium-"));
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      args: FLAGS,
      headless: true,
    });
    try {
      const page = await context.newPage();
      const failures: string[] = [];
      page.on("pageerror", (error) => failures.push(error.message));
      page.on("requestfailed", (request) => failures.push(request.url()));
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      await page
        .waitForFunction(() => document.body.dataset["done"] === "yes", undefined, { timeout: 60_000 })
        .catch(() => undefined);
      await page.screenshot({ path: SCREENSHOT, fullPage: true });
      assert.deepEqual(failures, []);
      const [genuine, facts] = await section(page, "genuine");
      assert.equal(genuine, "verified");
      assert.match(facts, /class 285/);
      assert.match(facts, /coordinator-1, coordinator-2, coordinator-3/);
      const [tampered, reason] = await section(page, "tampered");
      assert.equal(tampered, "refused");
      assert.match(reason, /bad-opening/);
      const [all, counted] = await section(page, "vectors");
      assert.equal(all, "verified", counted);
    } finally {
      await context.close();
      server.close();
      rmSync(profile, { recursive: true, force: true });
    }
  },
);
