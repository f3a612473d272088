// Conflicts (SPEC section 16): do two verified certificates belong to one ledger, and if not, who is guilty?

import { equal } from "./bytes.js";
import { Reader } from "./cbor.js";
import { ledgerLeaf, TEMPLATE_LENGTH_MAX } from "./header.js";
import { leafHash, rootOfPath } from "./merkle.js";
import { decoding } from "./refusal.js";
import { readDigest, readPath } from "./shapes.js";
import type { Verified } from "./verify.js";

/** `guilty` are attestation keys, in the order of their holders' places. */
export type Conflict =
  | { readonly verdict: "consistent" }
  | {
      readonly verdict: "conflict";
      readonly kind: "same-seq" | "rewritten" | "two-outcomes";
      readonly guilty: readonly Uint8Array[];
    }
  | { readonly verdict: "unresolved"; readonly missing: "opening" | "other-opening" | "epoch" };

/** What the later certificate's ledger holds at the earlier one's seq: not always a header, if its quorum betrayed it. */
interface Opening {
  readonly template: Uint8Array;
  readonly recordRoot: Uint8Array;
  readonly path: Uint8Array;
}

/**
 * Checks two certificates that verified under one trust root against each other. An opening that is none is refused as
 * `malformed`, whether it is needed or not.
 */
export function checkConflict(one: Verified, other: Verified, opening: Uint8Array | null = null): Conflict {
  const opened = opening === null ? null : decodeOpening(opening);
  const [a, b] = one.header.seq <= other.header.seq ? [one, other] : [other, one];
  // 1
  if (!equal(a.header.genesis, b.header.genesis)) return { verdict: "consistent" };
  if (equal(a.header.template, b.header.template) && equal(a.recordRoot, b.recordRoot)) return checkRequest(a, b);
  // 2
  if (a.header.seq === b.header.seq) return convict("same-seq", a, b);
  // 3
  if (opened === null) return { verdict: "unresolved", missing: "opening" };
  const { template, recordRoot, path } = opened;
  // 4
  const leaf = leafHash(ledgerLeaf(template, recordRoot));
  const root = rootOfPath(leaf, a.header.seq - 1, b.header.seq - 1, path);
  if (root === null || !equal(root, b.header.ledgerRoot)) return { verdict: "unresolved", missing: "other-opening" };
  // 5
  if (equal(template, a.header.template) && equal(recordRoot, a.recordRoot)) return checkRequest(a, b);
  return convict("rewritten", a, b);
}

function decodeOpening(bytes: Uint8Array): Opening {
  return decoding("malformed", "opening", () =>
    Reader.all(bytes, (reader) => {
      reader.array(4);
      reader.exactly(1);
      return { template: reader.bytes(TEMPLATE_LENGTH_MAX), recordRoot: readDigest(reader), path: readPath(reader) };
    }),
  );
}

/** Those who attested both. */
function convict(kind: "same-seq" | "rewritten", a: Verified, b: Verified): Conflict {
  const sameCommittee = a.header.epoch === b.header.epoch && equal(a.header.config, b.header.config);
  if (!sameCommittee) return { verdict: "unresolved", missing: "epoch" };
  const both = a.signers.filter((place) => b.signers.includes(place));
  return { verdict: "conflict", kind, guilty: keysOf(a, both) };
}

/** 6: one ledger, but one request with two outcomes in it. */
function checkRequest(a: Verified, b: Verified): Conflict {
  const samePlace = a.record.seq === b.record.seq && a.record.leafIndex === b.record.leafIndex;
  if (!equal(a.record.requestId, b.record.requestId) || samePlace) return { verdict: "consistent" };
  const later = a.record.seq === b.record.seq && a.record.leafIndex > b.record.leafIndex ? a : b;
  return { verdict: "conflict", kind: "two-outcomes", guilty: keysOf(later, later.signers) };
}

function keysOf({ committee }: Verified, places: readonly number[]): Uint8Array[] {
  return places.map((place) => committee.members[place]!.attestationKey);
}
