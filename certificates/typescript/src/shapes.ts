// The shapes that SPEC section 2 names, read from CBOR.

import type { Reader } from "./cbor.js";
import { admissible } from "./key.js";
import { DecodeError } from "./refusal.js";

/** No bitmap has more places. */
export const PLACES_MAX = 128;
export const PLACE_MAX = PLACES_MAX - 1;
export const NAME_LENGTH_MAX = 64;
const PATH_LENGTH_MAX = 1024;

export const readName = (reader: Reader): string => reader.text(NAME_LENGTH_MAX);
export const readDigest = (reader: Reader): Uint8Array => reader.fixed(32);
export const readSignature = (reader: Reader): Uint8Array => reader.fixed(64);
export const readKey = (reader: Reader): Uint8Array => admissible(reader.fixed(32));

/** Nodes of 32 bytes, one after the other. */
export function readPath(reader: Reader): Uint8Array {
  return readMultiple(reader, PATH_LENGTH_MAX, 32);
}

/** A byte string whose length is a multiple of `unit`. */
export function readMultiple(reader: Reader, lengthMax: number, unit: number): Uint8Array {
  const bytes = reader.bytes(lengthMax);
  if (bytes.length % unit !== 0) throw new DecodeError(`${bytes.length} bytes are not a multiple of ${unit}`);
  return bytes;
}

/** A name that is allowed. */
export function isAllowedName(name: string): boolean {
  return /^[a-z0-9._-]{1,64}$/.test(name);
}

/** The places that a bitmap over `places` names, ascending. */
export function decodeBitmap(bytes: Uint8Array, places: number): number[] {
  if (bytes.length !== Math.ceil(places / 8))
    throw new DecodeError(`${bytes.length} bytes are no bitmap over ${places} places`);
  const found: number[] = [];
  for (let place = 0; place < 8 * bytes.length; place++) {
    if (((bytes[Math.floor(place / 8)]! >> (place % 8)) & 1) === 0) continue;
    if (place >= places) throw new DecodeError("a padding bit of a bitmap is set");
    found.push(place);
  }
  return found;
}

export function readBitmap(reader: Reader, places: number): number[] {
  return decodeBitmap(reader.bytes(PLACES_MAX / 8), places);
}
