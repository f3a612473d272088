// Key admission (SPEC section 3, rule 1): canonical points of the prime-order subgroup, and nothing else.

import { toHex } from "./bytes.js";
import { DecodeError } from "./refusal.js";
import { sha256 } from "./sha256.js";

const P = 2n ** 255n - 19n;
/** The order of the group that keys and signatures live in. */
export const L = 2n ** 252n + 27742317777372353535851937790883648493n;

const mod = (value: bigint): bigint => {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
};

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = base, left = exponent; left > 0n; left >>= 1n, square = mod(square * square)) {
    if (left & 1n) result = mod(result * square);
  }
  return result;
}

const D = mod(-121665n * power(121666n, P - 2n));
const SQRT_MINUS_ONE = power(2n, (P - 1n) / 4n);

/** The integer that the bytes encode, least significant first. */
export function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(Uint8Array.from(bytes).reverse())}`);
}

/** A point of edwards25519 in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z. */
type Point = readonly [X: bigint, Y: bigint, Z: bigint, T: bigint];

/** RFC 8032 section 5.1.3, refusing every encoding but the canonical one. */
function decompress(bytes: Uint8Array): Point | null {
  const encoded = littleEndian(bytes);
  const sign = encoded >> 255n;
  const y = encoded & (2n ** 255n - 1n);
  if (y >= P) return null;
  const u = mod(y * y - 1n);
  const v = mod(D * y * y + 1n);
  // A candidate for sqrt(u / v): u v^3 (u v^7)^((p - 5) / 8).
  const v3 = mod(v * v * v);
  let x = mod(u * v3 * power(mod(u * v3 * v3 * v), (P - 5n) / 8n));
  const check = mod(v * x * x);
  if (check === mod(-u)) x = mod(x * SQRT_MINUS_ONE);
  else if (check !== u) return null;
  if (x === 0n && sign === 1n) return null;
  if ((x & 1n) !== sign) x = mod(-x);
  return [x, y, 1n, mod(x * y)];
}

/** Addition, complete on this curve: RFC 8032 section 5.1.4. */
function add([x1, y1, z1, t1]: Point, [x2, y2, z2, t2]: Point): Point {
  const a = mod((y1 - x1) * (y2 - x2));
  const b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * D * mod(t1 * t2));
  const d = mod(2n * z1 * z2);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function double([x, y, z]: Point): Point {
  const a = mod(x * x);
  const b = mod(y * y);
  const h = a + b;
  const e = h - mod((x + y) * (x + y));
  const g = a - b;
  const f = mod(2n * z * z) + g;
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

const isIdentity = ([x, y, z]: Point): boolean => x === 0n && y === z;

function admit(bytes: Uint8Array): boolean {
  const point = decompress(bytes);
  if (point === null || isIdentity(point)) return false;
  let multiple: Point = point;
  for (let bit = 251n; bit >= 0n; bit--) {
    multiple = double(multiple);
    if ((L >> bit) & 1n) multiple = add(multiple, point);
  }
  return isIdentity(multiple);
}

/** Admission costs about a thousand times a digest, and the same few keys come again and again. */
const CACHED_KEYS_MAX = 4096;
const admitted = new Map<string, boolean>();

/** Whether 32 bytes are an admissible key. */
export function isAdmissible(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  const name = toHex(bytes);
  let verdict = admitted.get(name);
  if (verdict === undefined) {
    verdict = admit(bytes);
    if (admitted.size >= CACHED_KEYS_MAX) admitted.clear();
    admitted.set(name, verdict);
  }
  return verdict;
}

/** The bytes if they are an admissible key. */
export function admissible(bytes: Uint8Array): Uint8Array {
  if (!isAdmissible(bytes)) throw new DecodeError(`${toHex(bytes)} is not an admissible key`);
  return bytes;
}

/** The hint that names a key in protected headers: the first 8 bytes of its digest. */
export function keyId(key: Uint8Array): Uint8Array {
  return sha256(key).subarray(0, 8);
}
