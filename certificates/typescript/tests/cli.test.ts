// The command line: what it prints, and its exit status.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { fileURLToPath } from "node:url";
import { text, unhex, vector } from "./testdata.js";

const CLI = fileURLToPath(new URL("../src/cli.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "dropbear-cli-"));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

function certificate(name: string): string {
  return file(`${name}.cert`, unhex(vector(name).certificate));
}

function run(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8" });
}

const genesis = file("genesis.json", text(vector("plurality-agreed").trust));
const full = certificate("plurality-agreed");
const bare = certificate("plurality-agreed-bare");
const tie = certificate("plurality-no-agreement-bare");
const tampered = file("tampered.cert", unhex(vector("example").certificate).fill(0, 300, 301));
const image = file("image", "a photo");
const otherImage = file("other", "another photo");

function refused(code: string, ...args: readonly string[]): void {
  const { status, stdout } = run(...args, "--trust", genesis);
  assert.equal(status, 1);
  assert.match(stdout, new RegExp(`^REFUSED .*\\(${code}\\)`, "s"));
}

test("a certificate that holds: exit 0, and what it proves", () => {
  const { status, stdout } = run(full, "--trust", genesis, "--image", image, "--label", "285");
  assert.equal(status, 0);
  assert.match(stdout, /^VERIFIED .*class 285.*about the given image; signed by the client.*quorum 3.*not proven/s);
});

test("one of two is refused: exit 1, and both are told", () => {
  const { status, stdout } = run(full, tampered, "--trust", genesis, "--json");
  assert.equal(status, 1);
  const [first, second] = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.equal(first.verified, true);
  assert.equal(first.class, 285);
  assert.equal(first.record.policy, "plurality");
  assert.equal(second.verified, false);
  assert.equal(typeof second.code, "string");
});

test("another image or label than expected, or none shown: exit 1", () => {
  refused("other-image", full, "--image", otherImage);
  refused("request-hidden", bare, "--image", image);
  refused("other-label", full, "--label", "284");
  refused("votes-hidden", bare, "--label", "285");
  refused("no-agreement", tie, "--label", "285");
});

test("a chain file extends the trust root", () => {
  const apart = vector("chain-apart");
  const chain = file("chain", unhex(apart.chain!));
  refused("unknown-committee", certificate("chain-apart"));
  assert.equal(run(certificate("chain-apart"), "--trust", genesis, "--chain", chain).status, 0);
});

test("wrong usage: exit 2, and what to do", () => {
  for (const args of [
    [],
    [full],
    ["--trust", genesis],
    [full, "--trust", full],
    [join(folder, "none"), "--trust", genesis],
    ["--nonsense"],
  ]) {
    const { status, stdout, stderr } = run(...args);
    assert.equal(status, 2, args.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr, /^dropbear-verify-ts: /);
  }
});

test("a corpus: exit 0 if all verdicts agree, 1 if one differs", () => {
  const { trust, certificate } = vector("example");
  const testdata = fileURLToPath(new URL("../../../testdata", import.meta.url));
  const line = (expect: unknown): string => `${JSON.stringify({ trust, certificate, expect })}\n`;
  const good = file("good.jsonl", line({ ok: true }));
  const bad = file("bad.jsonl", line({ ok: true }) + line({ ok: false, code: "malformed" }));
  assert.equal(run("--corpus", good, "--trust", testdata).status, 0);
  const { status, stdout } = run("--corpus", bad, "--trust", testdata);
  assert.equal(status, 1);
  assert.match(stdout, /DIFFERS   line 2: found verified, expected malformed/);
});
