// The governance chain (SPEC section 12): from a genesis to later committees and charters. Parsed here, followed in
// `trust.ts`.

import { Reader } from "./cbor.js";
import { type Charter, type Committee, decodeCharter, decodeCommittee } from "./genesis.js";
import { TEMPLATE_LENGTH_MAX } from "./header.js";
import { type Attestations, readAttestations } from "./quorum.js";
import { DecodeError, decoding, require } from "./refusal.js";
import { readDigest, readPath } from "./shapes.js";

const CHAIN_LENGTH_MAX = 16 * 2 ** 20;
const LINKS_MAX = 1024;
const ENTRY_LENGTH_MAX = 131584;

/** One governance entry, and the block that holds it. */
export interface Link {
  readonly template: Uint8Array;
  readonly index: number;
  readonly path: Uint8Array;
  readonly attestations: Attestations;
  readonly entry: Uint8Array;
}

/** `[1, [* link]]`. The insides of links are read when the chain is followed. */
export function readLinks(reader: Reader): Link[] {
  reader.array(2);
  reader.exactly(1);
  return reader.list(LINKS_MAX, readLink);
}

function readLink(reader: Reader): Link {
  reader.array(6);
  return {
    template: reader.bytes(TEMPLATE_LENGTH_MAX),
    index: reader.uint(),
    path: readPath(reader),
    attestations: readAttestations(reader),
    entry: reader.bytes(ENTRY_LENGTH_MAX),
  };
}

/** Reads a chain file. Nothing of it is verified before a trust root is extended by it. */
export function parseChain(bytes: Uint8Array): Link[] {
  require(bytes.length <= CHAIN_LENGTH_MAX, "too-large", `a chain has at most ${CHAIN_LENGTH_MAX} bytes`);
  // A copy, as of certificates.
  return decoding("malformed", "chain", () => Reader.all(Uint8Array.from(bytes), readLinks));
}

export type GovernanceEntry =
  | {
      readonly kind: "config";
      readonly genesis: Uint8Array;
      readonly previous: Uint8Array;
      readonly committee: Committee;
    }
  | {
      readonly kind: "charter";
      readonly genesis: Uint8Array;
      readonly previous: Uint8Array | null;
      readonly fromSeq: number;
      readonly charter: Charter;
    };

export function decodeEntry(bytes: Uint8Array): GovernanceEntry {
  return Reader.all(bytes, (reader) => {
    const items = reader.arrayHead(6);
    const kind = reader.text();
    reader.exactly(1);
    if (kind === "config" && items === 5) {
      const genesis = readDigest(reader);
      const previous = readDigest(reader);
      return { kind, genesis, previous, committee: decodeCommittee(reader.bytes(ENTRY_LENGTH_MAX)) };
    }
    if (kind === "charter" && items === 6) {
      const genesis = readDigest(reader);
      const previous = reader.orNull(readDigest);
      const fromSeq = reader.uint();
      return { kind, genesis, previous, fromSeq, charter: decodeCharter(reader.bytes(ENTRY_LENGTH_MAX)) };
    }
    throw new DecodeError("it is no governance entry");
  });
}
