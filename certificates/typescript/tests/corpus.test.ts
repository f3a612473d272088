// Ten thousand mutations of valid certificates: the same verdict and the same reason code. The corpus is made by
// `cargo run -p dropbear-certificates --example mutations -- 10000`; DROPBEAR_CORPUS names the file.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import test from "node:test";
import { fileURLToPath } from "node:url";

const corpus = process.env["DROPBEAR_CORPUS"] ?? "";
const absent = !existsSync(corpus) && (corpus === "" ? "DROPBEAR_CORPUS names no corpus" : `there is no ${corpus}`);

test("mutations: same verdict and reason code", { skip: absent }, () => {
  const cli = fileURLToPath(new URL("../src/cli.js", import.meta.url));
  const testdata = fileURLToPath(new URL("../../../testdata", import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, [cli, "--corpus", corpus, "--trust", testdata], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout);
  assert.match(stdout, /, 0 differ/);
});
