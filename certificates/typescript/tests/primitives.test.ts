// The small parts: digests against WebCrypto, CBOR's strictness, key admission, paths of huge trees.

import assert from "node:assert/strict";
import test from "node:test";
import { concat, fromHex, toHex, utf8 } from "../src/bytes.js";
import { encodeInt, encodeText, Reader } from "../src/cbor.js";
import { isAdmissible } from "../src/key.js";
import { leafHash, rootOfPath } from "../src/merkle.js";
import { DecodeError } from "../src/refusal.js";
import { hmacSha256, sha256 } from "../src/sha256.js";
import { decodeBitmap } from "../src/shapes.js";
import { isSigned, SigningKey } from "../src/signature.js";
import { unhex, vector } from "./testdata.js";

test("SHA-256 and HMAC give what WebCrypto gives, around every block boundary", async () => {
  for (let length = 0; length < 200; length++) {
    const data = Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 255);
    assert.deepEqual(sha256(data), new Uint8Array(await crypto.subtle.digest("SHA-256", data)));
    const secret = new Uint8Array(32).fill(length);
    const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    assert.deepEqual(hmacSha256(secret, data), new Uint8Array(await crypto.subtle.sign("HMAC", key, data)));
  }
  assert.deepEqual(sha256(utf8("a"), utf8("bc")), sha256(utf8("abc")));
});

test("integers up to 2^53 - 1 come back, in their shortest form only", () => {
  const edges = [0, 23, 24, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
  for (const value of [...edges, ...edges.slice(1).map((edge) => -edge)]) {
    assert.equal(
      Reader.all(encodeInt(value), (reader) => reader.int()),
      value,
    );
  }
  assert.equal(
    Reader.all(unhex("3b001fffffffffffff"), (reader) => reader.int()),
    -(2 ** 53),
  );
  const refused = [
    "1800",
    "1817",
    "1900ff",
    "1a0000ffff",
    "1b00000000ffffffff",
    "1b0020000000000000",
    "1bffffffffffffffff",
  ];
  const others = ["3b0020000000000000", "1c", "1d", "1e", "1f", "18", "", "0000", "f4", "f7", "f93c00", "c000", "6161"];
  for (const hex of [...refused, ...others]) {
    assert.throws(() => Reader.all(unhex(hex), (reader) => reader.int()), DecodeError, hex);
  }
});

test("text is UTF-8, all of it", () => {
  for (const text of ["", "imagenet", "naïve 🐻", "\ufeffmark"]) {
    assert.equal(
      Reader.all(encodeText(text), (reader) => reader.text(64)),
      text,
    );
  }
  for (const hex of ["61ff", "62c080", "63eda080", "64f4908080", "7f6161ff", "6261"]) {
    assert.throws(() => Reader.all(unhex(hex), (reader) => reader.text(64)), DecodeError, hex);
  }
});

test("keys: canonical points of prime order, and nothing else", () => {
  const base = `58${"66".repeat(31)}`;
  assert.ok(isAdmissible(unhex(base)));
  const refused: Record<string, string> = {
    identity: `01${"00".repeat(31)}`,
    "identity with the sign bit": `01${"00".repeat(30)}80`,
    "order 2": `ec${"ff".repeat(30)}7f`,
    "order 4": "00".repeat(32),
    "order 8": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "order 8, the other": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "y = p": `ed${"ff".repeat(30)}7f`,
    "y = p + 1": `ee${"ff".repeat(30)}7f`,
    "not on the curve": `02${"00".repeat(31)}`,
    "31 bytes": "58".repeat(31),
  };
  for (const [what, hex] of Object.entries(refused)) assert.ok(!isAdmissible(unhex(hex)), what);
});

test("keys: a component of order 8 is refused even on an honest key", async () => {
  // A + T for T of order 2 is (-x, -y): the same curve point up to signs.
  const { publicKey } = await SigningKey.fromSecret(new Uint8Array(32).fill(9));
  const p = 2n ** 255n - 19n;
  const encoded = BigInt(`0x${toHex(Uint8Array.from(publicKey).reverse())}`);
  const [sign, y] = [encoded >> 255n, encoded & (2n ** 255n - 1n)];
  const shifted = (p - y) | ((1n - sign) << 255n);
  const bytes = fromHex(shifted.toString(16).padStart(64, "0"))!.reverse();
  assert.ok(isAdmissible(publicKey));
  assert.ok(!isAdmissible(bytes));
});

test("signatures: S < L, R is not the identity, 64 bytes", async () => {
  const key = await SigningKey.fromSecret(new Uint8Array(32).fill(3));
  const message = utf8("a message");
  const signature = await key.sign(message);
  assert.ok(await isSigned(key.publicKey, message, signature));
  assert.ok(!(await isSigned(key.publicKey, utf8("another"), signature)));
  assert.ok(!(await isSigned(key.publicKey, message, signature.subarray(0, 63))));
  const identity = concat(Uint8Array.of(1), new Uint8Array(31), signature.subarray(32));
  assert.ok(!(await isSigned(key.publicKey, message, identity)));
});

test("bitmaps: exact length, no padding bits", () => {
  assert.deepEqual(decodeBitmap(unhex("0e"), 4), [1, 2, 3]);
  assert.deepEqual(decodeBitmap(unhex(""), 0), []);
  assert.throws(() => decodeBitmap(unhex("1e"), 4), DecodeError);
  assert.throws(() => decodeBitmap(unhex("0e00"), 4), DecodeError);
  assert.throws(() => decodeBitmap(unhex(""), 1), DecodeError);
});

test("paths: every leaf of every small tree, and no other index, size or length", () => {
  const hash = (leaves: readonly Uint8Array[]): Uint8Array => {
    if (leaves.length === 1) return leaves[0]!;
    const split = 2 ** Math.ceil(Math.log2(leaves.length) - 1);
    return sha256(Uint8Array.of(1), hash(leaves.slice(0, split)), hash(leaves.slice(split)));
  };
  const pathOf = (leaves: readonly Uint8Array[], index: number): Uint8Array[] => {
    if (leaves.length === 1) return [];
    const split = 2 ** Math.ceil(Math.log2(leaves.length) - 1);
    return index < split
      ? [...pathOf(leaves.slice(0, split), index), hash(leaves.slice(split))]
      : [...pathOf(leaves.slice(split), index - split), hash(leaves.slice(0, split))];
  };
  for (let size = 1; size <= 33; size++) {
    const leaves = Array.from({ length: size }, (_, i) => leafHash(encodeInt(i)));
    const root = toHex(hash(leaves));
    for (let index = 0; index < size; index++) {
      const path = concat(...pathOf(leaves, index));
      const found = (at: number, of: number, by: Uint8Array): string =>
        toHex(rootOfPath(leaves[index]!, at, of, by) ?? utf8("none"));
      assert.equal(found(index, size, path), root);
      if (index > 0) assert.notEqual(found(index - 1, size, path), root);
      assert.notEqual(found(index, size, concat(path, new Uint8Array(32))), root);
      if (path.length > 0) assert.notEqual(found(index, size, path.subarray(32)), root);
    }
    assert.equal(rootOfPath(leaves[0]!, size, size, new Uint8Array(0)), null);
  }
});

test("paths: trees of 2^53 - 1 leaves are halved without loss", () => {
  const size = 2 ** 53 - 1;
  const leaf = leafHash(utf8("leaf"));
  const path = new Uint8Array(32 * 53);
  assert.ok(rootOfPath(leaf, 2 ** 52, size, path) !== null);
  assert.equal(rootOfPath(leaf, 2 ** 52, size, path.subarray(32)), null);
});

test("the example of the specification is the vector", () => {
  assert.equal(vector("example").certificate.length, 2 * 863);
});
