// Requests, salts and commitments against testdata/requests.json.

import assert from "node:assert/strict";
import test from "node:test";
import * as lib from "../src/index.js";
import { seedDigest, SigningKey, signRequest, toHex } from "../src/index.js";
import { voteCommitment, valueSalt, readVote } from "../src/vote.js";
import { Reader } from "../src/cbor.js";
import { json, unhex } from "./testdata.js";

interface InputVector {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly data: string;
  readonly digest: string;
}

interface RequestVector {
  readonly genesis: string;
  readonly group: string;
  readonly key: string;
  readonly secret_key: string;
  readonly nonce: string;
  readonly origin: lib.Origin;
  readonly commitment: string;
  readonly expiry_ms: number;
  readonly demand: "supported" | "decisive" | "robust";
  readonly statement: string;
  readonly id: string;
  readonly signature: string;
}

const known = json("requests.json") as {
  readonly seed: string;
  readonly seed_digest: string;
  readonly salts: Readonly<Record<"request" | "vote" | "output", string>>;
  readonly input: InputVector;
  readonly tensor_input: InputVector;
  readonly output: { readonly data: string; readonly commitment: string };
  readonly votes: readonly { readonly vote: string; readonly value_salt: string; readonly commitment: string }[];
  readonly requests: readonly RequestVector[];
};
const seed = unhex(known.seed);

test("salts and digests derive from the seed", () => {
  assert.equal(toHex(seedDigest(seed)), known.seed_digest);
  for (const field of ["request", "vote", "output"] as const)
    assert.equal(toHex(lib.salt(seed, field)), known.salts[field]);
  for (const input of [known.input, known.tensor_input]) {
    assert.equal(toHex(lib.inputDigest({ ...input, data: unhex(input.data) })), input.digest);
  }
  assert.equal(toHex(lib.imageDigest(unhex(known.input.data))), known.input.digest);
  assert.equal(toHex(lib.outputCommitment(seed, unhex(known.output.data))), known.output.commitment);
});

test("votes are committed to under their value salts", () => {
  for (const { vote, value_salt, commitment } of known.votes) {
    const read = Reader.all(unhex(vote), readVote);
    assert.ok(read !== null);
    assert.equal(toHex(valueSalt(lib.salt(seed, "vote"), read)), value_salt);
    assert.equal(toHex(voteCommitment(lib.salt(seed, "vote"), read)!), commitment);
  }
});

for (const known of (json("requests.json") as { requests: readonly RequestVector[] }).requests) {
  test(`a ${known.origin} request has this statement, id and signature`, async () => {
    const key = await SigningKey.fromSecret(unhex(known.secret_key));
    assert.equal(toHex(key.publicKey), known.key);
    const request = await signRequest(key, {
      genesis: unhex(known.genesis),
      group: known.group,
      origin: known.origin,
      nonce: unhex(known.nonce),
      commitment: unhex(known.commitment),
      expiryMs: known.expiry_ms,
      demand: lib.LEVEL_NAMES.indexOf(known.demand),
    });
    assert.equal(toHex(request.bytes), known.statement);
    assert.equal(toHex(request.id), known.id);
    assert.equal(toHex(request.signature), known.signature);
  });
}

test("the request commitment binds seed and input", () => {
  assert.equal(toHex(lib.requestCommitment(seed, unhex(known.input.digest))), known.requests[0]!.commitment);
});

test("fresh requests differ in key, nonce and id", async () => {
  const [a, b] = await Promise.all([SigningKey.generate(), SigningKey.generate()]);
  assert.ok(lib.isAdmissible(a.publicKey));
  assert.notDeepEqual(a.publicKey, b.publicKey);
  const commitment = lib.requestCommitment(lib.newSeed(), unhex(known.input.digest));
  const terms = { genesis: new Uint8Array(32), group: "imagenet", commitment, expiryMs: 1, demand: 3 };
  const [one, two] = [await signRequest(a, terms), await signRequest(a, terms)];
  assert.notDeepEqual(one.id, two.id);
  await assert.rejects(signRequest(a, { ...terms, demand: 0 }), RangeError);
  await assert.rejects(signRequest(a, { ...terms, nonce: new Uint8Array(15) }), RangeError);
});
