// Verification (SPEC section 13): from bytes and a trust root to what is proven, or to the first step that fails.

import { equal, toHex } from "./bytes.js";
import type { Attachments } from "./attachments.js";
import { type Certificate, parseCertificate } from "./certificate.js";
import type { Charter, Committee, ModelSet } from "./genesis.js";
import type { Header } from "./header.js";
import { requireOpenings } from "./openings.js";
import { encodePolicy, LEVEL_NAMES } from "./policy.js";
import { type Attestation, requireQuorum } from "./quorum.js";
import { receiptOf } from "./receipt.js";
import { type InferenceRecord, type Origin, requireFollows } from "./record.js";
import { require } from "./refusal.js";
import { imageDigest } from "./request.js";
import { type Epoch, isWithin, type TrustRoot } from "./trust.js";
import type { Vote } from "./vote.js";

/** Verifies a certificate. Throws a `Refusal` with the code of the first step that fails. */
export async function verify(bytes: Uint8Array, trust: TrustRoot): Promise<Verified> {
  return Verified.from(bytes, trust);
}

/** A certificate that a quorum of a trusted committee attested and that keeps all rules. Only `verify` makes one. */
export class Verified {
  readonly #certificate: Certificate;
  readonly #attestations: readonly Attestation[];
  readonly #trust: TrustRoot;
  readonly charter: Charter;
  /** The committee that attested it. */
  readonly committee: Committee;

  private constructor(
    certificate: Certificate,
    attestations: readonly Attestation[],
    trust: TrustRoot,
    committee: Committee,
    charter: Charter,
  ) {
    this.#certificate = certificate;
    this.#attestations = attestations;
    this.#trust = trust;
    this.committee = committee;
    this.charter = charter;
  }

  /** @internal Use `verify`. */
  static async from(bytes: Uint8Array, given: TrustRoot): Promise<Verified> {
    const certificate = parseCertificate(bytes); // steps 1 to 5
    const { header, attestations, record, recordRoot, attachments } = certificate;
    const trust = await requireMarket(header, attachments, given);
    const { committee } = requireEpoch(header, trust);
    const attested = await requireQuorum(attestations, committee, header, recordRoot); // steps 7 to 8
    requireSameFacts(header, record);
    const charter = requireCharter(record, trust);
    requireSameTerms(record, charter);
    requireFollows(record); // step 12
    // 13
    require(record.expiryMs >= record.agreedMs, "expired-request", "the request had expired when it was agreed on");
    await requireOpenings(certificate, charter); // steps 14 to 19
    return new Verified(certificate, attested, trust, committee, charter);
  }

  get record(): InferenceRecord {
    return this.#certificate.record;
  }

  get header(): Header {
    return this.#certificate.header;
  }

  /** The root of the block's record tree, which the members signed. */
  get recordRoot(): Uint8Array {
    return this.#certificate.recordRoot;
  }

  get attachments(): Attachments {
    return this.#certificate.attachments;
  }

  /** The certificate id: equal for every quorum of the same record. */
  get id(): Uint8Array {
    return this.#certificate.id;
  }

  get outcome(): "agreed" | "no-agreement" {
    return this.record.outcome;
  }

  get assurance(): (typeof LEVEL_NAMES)[number] {
    return LEVEL_NAMES[this.record.assurance];
  }

  /** Places in the committee of those who attested it. */
  get signers(): readonly number[] {
    return this.#attestations.map(({ place }) => place);
  }

  get signerNames(): readonly string[] {
    return this.signers.map((place) => this.committee.members[place]!.name);
  }

  /** The agreed result, or null if there is none or the holder does not show it. */
  get result(): Vote | null {
    const { result, votes, single } = this.attachments;
    if (this.outcome !== "agreed") return null;
    if (this.record.resultCommitment !== null) return result?.vote ?? null;
    return votes?.votes[0] ?? single?.find(({ group }) => group === 0)?.vote ?? null;
  }

  /** The result if it is a class. */
  get class(): number | null {
    return this.result?.kind === "class" ? this.result.class : null;
  }

  /** The class's label; its number where the charter has no labels. */
  get label(): string | null {
    return this.class === null ? null : this.labelOf(this.class);
  }

  /** The label of any class under this charter. */
  labelOf(ofClass: number): string {
    return this.#trust.label(this.charter, ofClass);
  }

  /** `gateway-minted` promises nothing towards the client: the gateway may have asked before under another nonce. */
  get origin(): Origin {
    return this.record.origin;
  }

  /** The key that asked, or null if it is not shown. */
  get requester(): Uint8Array | null {
    return this.attachments.request?.signer ?? null;
  }

  /** Whether the requester's own signature is shown; otherwise the committee vouches for it. */
  get signatureShown(): boolean {
    return (this.attachments.request?.signature ?? null) !== null;
  }

  /** Places of the owners whose own signatures on their votes are shown. */
  get ownersProven(): readonly number[] {
    return (this.attachments.ballots ?? []).map(({ owner }) => owner);
  }

  /** The models that voted, or null if they are not shown. */
  get models(): ModelSet | null {
    return this.attachments.models?.models ?? null;
  }

  /** False: the charter may have been replaced since the trust root's newest governance entry. */
  get trustCurrent(): boolean {
    return this.header.governanceSeq <= this.#trust.governanceSeq;
  }

  /** Whether the request was about this image; null if the holder does not show the request. */
  isAbout(image: Uint8Array): boolean | null {
    return this.isAboutInput(imageDigest(image));
  }

  /** As `isAbout`, for any input's digest. */
  isAboutInput(digest: Uint8Array): boolean | null {
    const { request } = this.attachments;
    return request === null ? null : equal(request.input, digest);
  }

  /** One RFC 9942 receipt per attestation (SPEC section 15). The entry is `record.bytes`, the payload `recordRoot`. */
  receipts(): Uint8Array[] {
    const { header, record, path } = this.#certificate;
    return this.#attestations.map(({ place, signature }) =>
      receiptOf(header, record.leafIndex, path, this.committee.members[place]!.attestationKey, signature),
    );
  }
}

/** Steps 6 and 6a. */
async function requireMarket(header: Header, { chain }: Attachments, trust: TrustRoot): Promise<TrustRoot> {
  const same = equal(header.genesis, trust.genesis.digest);
  require(same, "other-genesis", `it is of the market with genesis ${toHex(header.genesis)}; give that one's trust root`);
  return chain === null ? trust : trust.extendedBy(chain);
}

/** Steps 6b and 6c. */
function requireEpoch({ epoch, config, seq }: Header, trust: TrustRoot): Epoch {
  const found = trust.epoch(epoch, config);
  require(found !==
    null, "unknown-committee", `the committee of epoch ${epoch} is not known; extend the trust root by a governance chain`);
  require(isWithin(found, seq), "outside-epoch", `seq ${seq} is outside epoch ${epoch}`);
  return found;
}

/** Step 9. */
function requireSameFacts(header: Header, record: InferenceRecord): void {
  const same =
    equal(header.genesis, record.genesis) &&
    header.epoch === record.epoch &&
    equal(header.config, record.config) &&
    header.seq === record.seq &&
    header.agreedMs === record.agreedMs &&
    record.leafIndex > 0;
  require(same, "contradiction", "the record contradicts its header");
}

/** Steps 10 and 10a. */
function requireCharter(record: InferenceRecord, trust: TrustRoot): Charter {
  const terms = trust.termsOf(record.charter);
  const known = terms[0];
  require(known !==
    undefined, "unknown-charter", "the charter is not known; extend the trust root by a governance chain");
  require(terms.some((term) =>
    isWithin(term, record.seq),
  ), "charter-not-in-force", `the charter is not in force at seq ${record.seq}`);
  return known.charter;
}

/** Step 11. */
function requireSameTerms(record: InferenceRecord, charter: Charter): void {
  const same =
    record.group === charter.group &&
    equal(encodePolicy(record.policy), encodePolicy(charter.policy)) &&
    record.owners === charter.roster.length &&
    record.faults === charter.faults;
  require(same, "contradiction", "the record contradicts its charter");
}
