// Receipts (SPEC section 15): what a verified certificate expands into for tools that know RFC 9942 alone.

import { concat } from "./bytes.js";
import { encodeArray, encodeBytes, encodeInt, encodeMap } from "./cbor.js";
import { type Header, protectedHeader } from "./header.js";

/** Tag 18, COSE_Sign1. */
const SIGN1 = Uint8Array.of(0xd2);
const NULL = Uint8Array.of(0xf6);

/** One member's attestation as a receipt of inclusion with a detached payload. */
export function receiptOf(
  header: Header,
  leafIndex: number,
  path: Uint8Array,
  key: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  const nodes = Array.from({ length: path.length / 32 }, (_, i) => encodeBytes(path.subarray(32 * i, 32 * (i + 1))));
  const proof = encodeArray([encodeInt(header.treeSize), encodeInt(leafIndex), encodeArray(nodes)]);
  const proofs = encodeMap([[396, encodeMap([[-1, encodeArray([encodeBytes(proof)])]])]]);
  return concat(SIGN1, encodeArray([encodeBytes(protectedHeader(header, key)), proofs, NULL, encodeBytes(signature)]));
}
