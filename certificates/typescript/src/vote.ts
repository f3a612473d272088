// Votes (SPEC section 6): what one owner says about one request, and the commitments to it.

import { encodeArray, encodeBytes, encodeInt, type Reader } from "./cbor.js";
import { DecodeError } from "./refusal.js";
import { readDigest } from "./shapes.js";
import { tag } from "./sha256.js";

export const CLASS_MAX = 2 ** 32 - 1;
export const RANKS_MAX = 16;
export const TENSOR_LENGTH_MAX = 1024;
/** The largest magnitude of a value of a tensor. */
export const TENSOR_VALUE_MAX = 2 ** 31 - 1;

type Content =
  | { readonly kind: "class"; readonly class: number }
  | { readonly kind: "ranking"; readonly classes: readonly number[] }
  | { readonly kind: "output"; readonly digest: Uint8Array }
  | { readonly kind: "tensor"; readonly values: readonly number[] };

/** A vote other than an abstention, which is null. `bytes` is its one encoding. */
export type Vote = Content & { readonly bytes: Uint8Array };

export function classVote(of: number): Vote {
  return { kind: "class", class: of, bytes: encodeArray([encodeInt(1), encodeInt(of)]) };
}

export function rankingVote(classes: readonly number[]): Vote {
  return { kind: "ranking", classes, bytes: encodeArray([encodeInt(2), encodeArray(classes.map(encodeInt))]) };
}

export function outputVote(digest: Uint8Array): Vote {
  return { kind: "output", digest, bytes: encodeArray([encodeInt(3), encodeBytes(digest)]) };
}

export function tensorVote(values: readonly number[]): Vote {
  return { kind: "tensor", values, bytes: encodeArray([encodeInt(4), encodeArray(values.map(encodeInt))]) };
}

function readValue(reader: Reader): number {
  const value = reader.int();
  if (Math.abs(value) > TENSOR_VALUE_MAX) throw new DecodeError(`${value} is out of a tensor's range`);
  return value;
}

function readContent(reader: Reader): Content {
  reader.array(2);
  const kind = reader.uint();
  switch (kind) {
    case 1:
      return { kind: "class", class: reader.uint(CLASS_MAX) };
    case 2:
      return { kind: "ranking", classes: reader.list(RANKS_MAX, (item) => item.uint(CLASS_MAX)) };
    case 3:
      return { kind: "output", digest: readDigest(reader) };
    case 4:
      return { kind: "tensor", values: reader.list(TENSOR_LENGTH_MAX, readValue) };
    default:
      throw new DecodeError(`${kind} is no kind of vote`);
  }
}

/** A vote, or null for an abstention. */
export function readVote(reader: Reader): Vote | null {
  return reader.orNull((item) => {
    const [content, bytes] = item.spanned(readContent);
    return { ...content, bytes };
  });
}

/** The salt that opens this one vote of those that `voteSalt` opens. */
export function valueSalt(voteSalt: Uint8Array, vote: Vote): Uint8Array {
  return tag("dropbear/value-salt/v1", voteSalt, vote.bytes);
}

/** The commitment to a vote under its value salt. */
export function saltedVoteCommitment(salt: Uint8Array, vote: Vote): Uint8Array {
  return tag("dropbear/vote/v1", salt, vote.bytes);
}

/** The commitment to a vote under the salt of all votes of its request; null for an abstention. */
export function voteCommitment(voteSalt: Uint8Array, vote: Vote | null): Uint8Array | null {
  return vote === null ? null : saltedVoteCommitment(valueSalt(voteSalt, vote), vote);
}

export function saltedResultCommitment(salt: Uint8Array, result: Vote): Uint8Array {
  return tag("dropbear/result/v1", salt, result.bytes);
}

export function resultCommitment(voteSalt: Uint8Array, result: Vote): Uint8Array {
  return saltedResultCommitment(tag("dropbear/result-salt/v1", voteSalt, result.bytes), result);
}
