// SHA-256 (FIPS 180-4), HMAC-SHA-256 (RFC 2104), and the tagged digests of SPEC section 0.
//
// WebCrypto has SHA-256 too, but only behind a promise. A certificate takes dozens of digests of a few dozen bytes, deep
// inside trees and openings; with a synchronous one those stay plain functions, and only signatures are awaited.

import { concat, utf8 } from "./bytes.js";

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes, as integers. */
const ROUND = new Uint32Array(64);
/** The same of the square roots of the first 8 primes. */
const INITIAL = new Uint32Array(8);

/** floor(n^(1/power) * 2^32) mod 2^32, exactly. */
function rootFraction(n: number, power: 2 | 3): number {
  const scaled = BigInt(n) << BigInt(32 * power);
  let low = 0n;
  let high = 1n << 40n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(power) <= scaled) low = middle;
    else high = middle;
  }
  return Number(low & 0xffff_ffffn);
}

for (let n = 2, found = 0; found < 64; n++) {
  let prime = true;
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) prime = false;
  if (!prime) continue;
  if (found < 8) INITIAL[found] = rootFraction(n, 2);
  ROUND[found++] = rootFraction(n, 3);
}

const rotate = (word: number, by: number): number => (word >>> by) | (word << (32 - by));

/** Scratch of `compress`, which runs to its end before anybody else can enter it. */
const schedule = new Int32Array(64);

function compress(state: Int32Array, view: DataView, at: number): void {
  const w = schedule;
  for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + 4 * i);
  for (let i = 16; i < 64; i++) {
    const a = w[i - 15]!;
    const b = w[i - 2]!;
    const s0 = rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3);
    const s1 = rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10);
    w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
  for (let i = 0; i < 64; i++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND[i]! + w[i]!) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] = state[0]! + a;
  state[1] = state[1]! + b;
  state[2] = state[2]! + c;
  state[3] = state[3]! + d;
  state[4] = state[4]! + e;
  state[5] = state[5]! + f;
  state[6] = state[6]! + g;
  state[7] = state[7]! + h;
}

/** H of SPEC: SHA-256 of the parts, joined. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const padded = new Uint8Array(Math.ceil((length + 9) / 64) * 64);
  let at = 0;
  for (const part of parts) {
    padded.set(part, at);
    at += part.length;
  }
  padded[length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(length / 2 ** 29));
  view.setUint32(padded.length - 4, (length * 8) >>> 0);
  const state = Int32Array.from(INITIAL);
  for (let block = 0; block < padded.length; block += 64) compress(state, view, block);
  const digest = new Uint8Array(32);
  const out = new DataView(digest.buffer);
  state.forEach((word, i) => out.setInt32(4 * i, word));
  return digest;
}

/** HMAC-SHA-256 with a key of at most 64 bytes. */
export function hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array {
  if (key.length > 64) throw new RangeError("HMAC keys here have at most 64 bytes");
  const padded = new Uint8Array(64);
  padded.set(key);
  const inner = padded.map((byte) => byte ^ 0x36);
  const outer = padded.map((byte) => byte ^ 0x5c);
  return sha256(outer, sha256(inner, message));
}

const ZERO = new Uint8Array(1);

/** `tag("t", x...)` of SPEC: H("t" || 0x00 || x...). */
export function tag(name: string, ...parts: readonly Uint8Array[]): Uint8Array {
  return sha256(concat(utf8(name), ZERO), ...parts);
}
