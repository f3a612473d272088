// The quorum that attests a header (SPEC section 13, steps 7 to 8), the same for certificates and for links of a chain.

import type { Reader } from "./cbor.js";
import { type Committee, quorumOf } from "./genesis.js";
import { type Header, headerToSign } from "./header.js";
import { type Code, decoding, require } from "./refusal.js";
import { decodeBitmap, PLACES_MAX, readMultiple } from "./shapes.js";
import { isSigned } from "./signature.js";

const SIGNATURE_LENGTH = 64;

/** Attestations of one header. Whose they are and whether they hold is not known yet. */
export interface Attestations {
  /** A bitmap over the committee's members. */
  readonly signers: Uint8Array;
  /** One signature per set bit, ascending. */
  readonly signatures: Uint8Array;
}

export function readAttestations(reader: Reader): Attestations {
  const signers = reader.bytes(PLACES_MAX / 8);
  return { signers, signatures: readMultiple(reader, PLACES_MAX * SIGNATURE_LENGTH, SIGNATURE_LENGTH) };
}

/** One member's signature over the header. */
export interface Attestation {
  readonly place: number;
  readonly signature: Uint8Array;
}

export function splitAttestations({ signers, signatures }: Attestations, committee: Committee): Attestation[] {
  const places = decoding("malformed", "bitmap of signers", () => decodeBitmap(signers, committee.members.length));
  const count = signatures.length / SIGNATURE_LENGTH;
  require(count === places.length, "malformed", `there are ${count} signatures of ${places.length} signers`);
  return places.map((place, i) => ({
    place,
    signature: signatures.subarray(i * SIGNATURE_LENGTH, (i + 1) * SIGNATURE_LENGTH),
  }));
}

/** Refuses unless a quorum of the committee attested the header. Gives the attestations. */
export async function requireQuorum(
  attestations: Attestations,
  committee: Committee,
  header: Header,
  recordRoot: Uint8Array,
): Promise<Attestation[]> {
  const split = splitAttestations(attestations, committee);
  const quorum = quorumOf(committee);
  require(split.length >= quorum, "no-quorum", `${split.length} members signed, a quorum is ${quorum}`);
  const holds = async ({ place, signature }: Attestation): Promise<boolean> => {
    const { attestationKey } = committee.members[place]!;
    return isSigned(attestationKey, headerToSign(header, attestationKey, recordRoot), signature);
  };
  const verdicts = await Promise.all(split.map(holds));
  const forged = verdicts.indexOf(false);
  const code: Code = "bad-signature";
  require(forged < 0, code, `the signature of ${committee.members[split[forged]?.place ?? 0]!.name} does not hold`);
  return split;
}
