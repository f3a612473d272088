// The README's use compiles under `strict` and runs.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { json, text, unhex, vector } from "./testdata.js";

const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));
const FOLDER = join(PACKAGE, "dist/readme");

test("the README's ten lines compile and run", () => {
  const code = /```ts\n(.*?)```/s.exec(readFileSync(join(PACKAGE, "README.md"), "utf8"))?.[1];
  assert.ok(code !== undefined, "the README shows no use");
  assert.ok(code.trim().split("\n").length <= 10);
  mkdirSync(FOLDER, { recursive: true });
  const { trust, certificate } = vector("plurality-agreed");
  writeFileSync(join(FOLDER, "use.ts"), code);
  writeFileSync(join(FOLDER, "genesis.json"), text(trust));
  writeFileSync(join(FOLDER, "answer.cert"), unhex(certificate));
  writeFileSync(join(FOLDER, "bear.jpg"), unhex((json("requests.json") as { input: { data: string } }).input.data));
  const tsc = join(PACKAGE, "node_modules/typescript/bin/tsc");
  const flags = [
    "--strict",
    "--target",
    "ES2022",
    "--module",
    "NodeNext",
    "--types",
    "node",
    "--skipLibCheck",
    "use.ts",
  ];
  const compiled = spawnSync(process.execPath, [tsc, ...flags], { cwd: FOLDER, encoding: "utf8" });
  assert.equal(compiled.status, 0, compiled.stdout);
  const ran = spawnSync(process.execPath, ["use.js"], { cwd: FOLDER, encoding: "utf8" });
  assert.equal(ran.status, 0, ran.stderr);
  assert.match(ran.stdout, /^class 285 robust true\n$/);
});
