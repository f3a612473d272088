// Damage: every single-bit flip is refused, and so is every truncation.

import assert from "node:assert/strict";
import test from "node:test";
import { Refusal, verify } from "../src/index.js";
import { trustOf, unhex, vector } from "./testdata.js";

test("every single-bit flip of a certificate is refused", async () => {
  const example = vector("example");
  const [bytes, trust] = [unhex(example.certificate), await trustOf(example)];
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const damaged = Uint8Array.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    await assert.rejects(verify(damaged, trust), Refusal, `bit ${bit} may flip`);
  }
});

test("every truncation of a certificate is refused as malformed", async () => {
  const example = vector("plurality-agreed");
  const [bytes, trust] = [unhex(example.certificate), await trustOf(example)];
  for (let length = 0; length < bytes.length; length++) {
    await assert.rejects(verify(bytes.subarray(0, length), trust), { code: "malformed" });
  }
});

test("a caller that changes its bytes while signatures are checked changes nothing", async () => {
  const example = vector("single-vote");
  const [bytes, trust] = [unhex(example.certificate), await trustOf(example)];
  const verifying = verify(bytes, trust);
  bytes.fill(0);
  assert.equal((await verifying).class, 285);
});

test("a Buffer is as good as a Uint8Array, and is left as it is", async () => {
  const example = vector("plurality-agreed");
  const buffer = Buffer.from(example.certificate, "hex");
  assert.equal((await verify(buffer, await trustOf(example))).class, 285);
  assert.equal(buffer.toString("hex"), example.certificate);
});
