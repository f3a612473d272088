// Trees (SPEC section 4): RFC 9162 with SHA-256. Sizes reach 2^53, so halving is division, never a shift.

import { sha256 } from "./sha256.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export function leafHash(data: Uint8Array): Uint8Array {
  return sha256(LEAF, data);
}

/** The root that the path leads to from leaf `index` of `size`, or null if it does not fit them. */
export function rootOfPath(leaf: Uint8Array, index: number, size: number, path: Uint8Array): Uint8Array | null {
  if (index >= size || path.length % 32 !== 0) return null;
  let fn = index;
  let sn = size - 1;
  let root = leaf;
  for (let at = 0; at < path.length; at += 32) {
    if (sn === 0) return null;
    const node = path.subarray(at, at + 32);
    if (fn % 2 === 1 || fn === sn) {
      root = sha256(NODE, node, root);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else {
      root = sha256(NODE, root, node);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 ? root : null;
}
