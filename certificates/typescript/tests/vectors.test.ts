// Every vector of certificates/testdata: the same verdict and the same reason code as every other verifier.

import assert from "node:assert/strict";
import test from "node:test";
import { checkConflict, type Conflict, toHex, Verified, verify } from "../src/index.js";
import { type ConflictVector, trustOf, unhex, type Vector, vectors, verdict } from "./testdata.js";

/** What a verified certificate proves, in the words of the vectors. */
function facts(verified: Verified, { input, expect }: Vector): Record<string, unknown> {
  const { result, requester } = verified;
  return {
    ok: true,
    id: toHex(verified.id),
    outcome: verified.outcome,
    assurance: verified.assurance,
    policy: verified.record.policy.name,
    seq: verified.record.seq,
    epoch: verified.record.epoch,
    signers: verified.signers,
    class: verified.class,
    result: result && toHex(result.bytes),
    origin: verified.origin,
    requester: requester && toHex(requester),
    signature_shown: verified.signatureShown,
    owners_proven: verified.ownersProven,
    about_input: typeof input === "string" ? verified.isAboutInput(unhex(input)) : null,
    trust_current: verified.trustCurrent,
    // Vectors leave the receipts of larger committees out.
    receipts: expect["receipts"] === null ? null : verified.receipts().map(toHex),
  };
}

for (const vector of vectors("valid")) {
  test(`valid: ${vector.name}`, async () => {
    const found = await verdict(vector);
    assert.ok(found instanceof Verified, `refused: ${String(found)}`);
    assert.deepEqual(facts(found, vector), vector.expect);
  });
}

for (const vector of vectors("invalid")) {
  test(`invalid: ${vector.name}`, async () => {
    const found = await verdict(vector);
    assert.equal(found instanceof Verified ? "verified" : found, vector.expect.code);
  });
}

for (const { name, a, b, opening, expect, ...trusted } of vectors<ConflictVector>("conflicts")) {
  test(`conflict: ${name}`, async () => {
    const trust = await trustOf(trusted);
    const [one, other] = [await verify(unhex(a), trust), await verify(unhex(b), trust)];
    const check = (): Conflict => checkConflict(one, other, opening === null ? null : unhex(opening));
    if (expect.verdict === "refused") {
      assert.throws(check, { name: "Refusal", code: expect.code });
      return;
    }
    const found = check();
    const guilty = "guilty" in found ? { guilty: found.guilty.map(toHex) } : {};
    assert.deepEqual({ ...found, ...guilty }, expect);
  });
}
