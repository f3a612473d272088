// Trust roots: what is refused as a genesis, labels, and the chain that extends it.

import assert from "node:assert/strict";
import test from "node:test";
import { TrustRoot, TrustRootError, verify } from "../src/index.js";
import { labelsDigest, makeGenesis, makeCharter } from "../src/genesis.js";
import { toHex } from "../src/index.js";
import { text, trustOf, unhex, vector, vectors } from "./testdata.js";

const FILE = "trust-e64743dd05419015.json";
type Loose = Record<string, any>;

function altered(alter: (genesis: Loose) => void): string {
  const genesis = JSON.parse(text(FILE)) as Loose;
  alter(genesis);
  return JSON.stringify(genesis);
}

test("every trust root of the vectors is read, and its digest is that of its content", async () => {
  for (const { trust } of [...vectors("valid"), ...vectors("invalid")]) await trustOf({ trust });
});

const REFUSED: Record<string, (genesis: Loose) => void> = {
  "another digest": (genesis) => (genesis["digest"] = "00".repeat(32)),
  "an upper-case digest": (genesis) => (genesis["digest"] = genesis["digest"].toUpperCase()),
  "another content": (genesis) => genesis["created_ms"]++,
  "an unknown member": (genesis) => (genesis["extra"] = 1),
  "an unknown member deep inside": (genesis) => (genesis["groups"][0].owners[0].extra = 1),
  "a missing member": (genesis) => delete genesis["rules"],
  "another format": (genesis) => (genesis["format"] = "dropbear-genesis/2"),
  "no members": (genesis) => (genesis["committee"].members = []),
  "two members alike": (genesis) => (genesis["committee"].members[1] = genesis["committee"].members[0]),
  "a later epoch": (genesis) => (genesis["committee"].epoch = 1),
  "a name that is not allowed": (genesis) => (genesis["market"] = "Test"),
  "a key of small order": (genesis) => (genesis["gateways"][0].key = "00".repeat(32)),
  "a fraction": (genesis) => (genesis["created_ms"] = 0.5),
  "too many faults": (genesis) => (genesis["groups"][0].fault_bound = 2),
  "an unknown policy": (genesis) => (genesis["groups"][0].policy = "majority"),
  "a parameter too many": (genesis) => (genesis["groups"][0].policy = { name: "plurality", ranks: 3 }),
  "a parameter that is null": (genesis) => (genesis["groups"][0].policy = { name: "plurality", ranks: null }),
  "an array for an object": (genesis) => (genesis["rules"] = Object.values(genesis["rules"])),
  "a null for a number": (genesis) => (genesis["created_ms"] = null),
  "a boolean for a number": (genesis) => (genesis["committee"].epoch = false),
  "a lone surrogate": (genesis) => (genesis["groups"][0].owners[0].lineage = "\ud800"),
  "a group twice": (genesis) => genesis["groups"].push(genesis["groups"][0]),
};

for (const [what, alter] of Object.entries(REFUSED)) {
  test(`refused as trust root: ${what}`, () => {
    assert.throws(() => TrustRoot.fromJson(altered(alter)), TrustRootError);
  });
}

test("refused as trust root: what is not JSON", () => {
  assert.throws(() => TrustRoot.fromJson("{"), TrustRootError);
  assert.throws(() => TrustRoot.fromJson("null"), TrustRootError);
});

test("refused as trust root: minus zero, and a byte order mark", () => {
  const zero = text(FILE).replace('"epoch": 0', '"epoch": -0');
  assert.notEqual(zero, text(FILE));
  assert.throws(() => TrustRoot.fromJson(zero), TrustRootError);
  assert.throws(() => TrustRoot.fromJson(`\u{feff}${text(FILE)}`), TrustRootError);
});

test("plurality may be an object", () => {
  const spelled = TrustRoot.fromJson(altered((genesis) => (genesis["groups"][0].policy = { name: "plurality" })));
  assert.deepEqual(spelled.genesis.digest, TrustRoot.fromJson(text(FILE)).genesis.digest);
});

test("a class has the label of the charter's table", () => {
  const labels = ["tench", "goldfish"];
  const { genesis } = TrustRoot.fromJson(text(FILE));
  const charter = makeCharter({ ...genesis.charters[0]!, labels: labelsDigest(labels) });
  const digest = toHex(makeGenesis({ ...genesis, charters: [charter] }).digest);
  const root = TrustRoot.fromJson(
    altered((json) => Object.assign(json, { digest }) && (json["groups"][0].labels = labels)),
  );
  assert.equal(root.label(root.genesis.charters[0]!, 1), "goldfish");
  assert.equal(root.label(root.genesis.charters[0]!, 2), "class 2");
});

test("an extended root knows the new epoch; the root that it came from does not", async () => {
  const apart = vector("chain-apart");
  const root = await trustOf({ trust: apart.trust });
  const extended = await root.extended(unhex(apart.chain!));
  assert.equal(extended.epochs.length, 2);
  assert.equal(root.epochs.length, 1);
  assert.ok(extended.governanceSeq > root.governanceSeq);
  await assert.rejects(verify(unhex(apart.certificate), root), { code: "unknown-committee", fault: "verifier" });
  assert.deepEqual(await extended.extended(unhex(apart.chain!)), extended);
});
