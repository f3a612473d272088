// The record (SPEC section 9): the leaf that describes one certified inference.

import { toHex } from "./bytes.js";
import { Reader } from "./cbor.js";
import { type Candidate, levels, outcomeOf, type Support } from "./assurance.js";
import { commitsToResult, type Level, type Policy, readPolicy } from "./policy.js";
import { DecodeError, require } from "./refusal.js";
import { PLACES_MAX, readBitmap, readDigest, readName } from "./shapes.js";

export const RECORD_LENGTH_MAX = 16384;
const CANDIDATES_MAX = 2048;

/** Owners whose votes are equal. */
export interface VoteGroup {
  /** Null: they abstained. */
  readonly commitment: Uint8Array | null;
  /** Their places on the roster, ascending. */
  readonly owners: readonly number[];
}

export type Origin = "client-signed" | "gateway-minted";

/** One certified inference. (`Record` is TypeScript's.) */
export interface InferenceRecord {
  readonly genesis: Uint8Array;
  readonly epoch: number;
  readonly config: Uint8Array;
  readonly group: string;
  readonly charter: Uint8Array;
  readonly modelSet: Uint8Array;
  readonly requestId: Uint8Array;
  readonly requestCommitment: Uint8Array;
  readonly expiryMs: number;
  readonly origin: Origin;
  readonly policy: Policy;
  readonly owners: number;
  readonly faults: number;
  readonly demand: number;
  readonly votes: readonly VoteGroup[];
  readonly outcome: "agreed" | "no-agreement";
  readonly resultCommitment: Uint8Array | null;
  readonly support: Support;
  readonly assurance: Level;
  readonly ballotsRoot: Uint8Array;
  readonly seq: number;
  readonly leafIndex: number;
  readonly agreedMs: number;
  /** The received bytes. */
  readonly bytes: Uint8Array;
}

/** A well-formed record that fills `bytes`. */
export function decodeRecord(bytes: Uint8Array): InferenceRecord {
  return Reader.all(bytes, (reader) => {
    reader.map(12);
    reader.exactly(1);
    reader.exactly(1);
    const genesis = (reader.exactly(2), readDigest(reader));
    const config = (reader.exactly(3), readConfig(reader));
    const group = (reader.exactly(4), readGroup(reader));
    const request = (reader.exactly(5), readRequest(reader));
    const terms = (reader.exactly(6), readTerms(reader));
    const votes = (reader.exactly(7), readVotes(reader, terms.owners));
    const outcome = (reader.exactly(8), readOutcome(reader));
    const tally = (reader.exactly(9), readTally(reader, terms.policy, terms.owners, votes));
    const ballotsRoot = (reader.exactly(10), readDigest(reader));
    const place = (reader.exactly(11), readPlace(reader));
    const agreedMs = (reader.exactly(12), reader.uint());
    return {
      genesis,
      ...config,
      ...group,
      ...request,
      ...terms,
      votes,
      ...outcome,
      ...tally,
      ballotsRoot,
      ...place,
      agreedMs,
      bytes,
    };
  });
}

function readConfig(reader: Reader) {
  reader.array(2);
  return { epoch: reader.uint(), config: readDigest(reader) };
}

function readGroup(reader: Reader) {
  reader.array(3);
  return { group: readName(reader), charter: readDigest(reader), modelSet: readDigest(reader) };
}

function readRequest(reader: Reader) {
  reader.array(4);
  return {
    requestId: readDigest(reader),
    requestCommitment: readDigest(reader),
    expiryMs: reader.uint(),
    origin: reader.uint(1) === 1 ? ("client-signed" as const) : ("gateway-minted" as const),
  };
}

function readTerms(reader: Reader) {
  reader.array(4);
  const terms = {
    policy: readPolicy(reader),
    owners: reader.uint(PLACES_MAX),
    faults: reader.uint(PLACES_MAX),
    demand: reader.uint(3),
  };
  if (terms.demand === 0) throw new DecodeError("a request demands at least 1");
  return terms;
}

function readVotes(reader: Reader, owners: number): VoteGroup[] {
  const groups = reader.list(owners, (item) => {
    item.array(2);
    return { commitment: item.orNull(readDigest), owners: readBitmap(item, owners) };
  });
  const voted = groups.flatMap((group) => group.owners);
  const names = groups.map(({ commitment }) => (commitment === null ? "null" : toHex(commitment)));
  if (groups.some((group) => group.owners.length === 0)) throw new DecodeError("a group of votes is empty");
  if (new Set(voted).size !== voted.length) throw new DecodeError("an owner is in two groups");
  if (new Set(names).size !== names.length) throw new DecodeError("two groups have the same commitment");
  groups.forEach((group, i) => {
    const next = groups[i + 1];
    if (next === undefined) return;
    if (group.commitment === null) throw new DecodeError("abstentions do not stand last");
    if (next.commitment !== null && next.owners.length > group.owners.length)
      throw new DecodeError("counts of groups ascend");
  });
  return groups;
}

function readOutcome(reader: Reader) {
  reader.array(2);
  const outcome = reader.uint(2);
  if (outcome === 0) throw new DecodeError("0 is no outcome");
  return {
    outcome: outcome === 1 ? ("agreed" as const) : ("no-agreement" as const),
    resultCommitment: reader.orNull(readDigest),
  };
}

function readTally(reader: Reader, policy: Policy, owners: number, votes: readonly VoteGroup[]) {
  reader.array(2);
  return { support: readSupport(reader, policy, owners, votes), assurance: reader.uint(3) as Level };
}

function readSupport(reader: Reader, policy: Policy, owners: number, votes: readonly VoteGroup[]): Support {
  switch (policy.name) {
    case "borda": {
      const candidates = reader.list(CANDIDATES_MAX, readCandidate);
      if (candidates.some(({ points }, i) => i > 0 && points > candidates[i - 1]!.points))
        throw new DecodeError("points ascend");
      return { kind: "candidates", candidates };
    }
    case "within":
      reader.array(2);
      return { kind: "cluster", owners: readBitmap(reader, owners), reach: reader.uint(PLACES_MAX) };
    default: {
      reader.array(votes.length);
      for (const group of votes) reader.exactly(group.owners.length);
      return { kind: "counts" };
    }
  }
}

function readCandidate(reader: Reader): Candidate {
  reader.array(2);
  return { points: reader.uint(), named: reader.uint() };
}

function readPlace(reader: Reader) {
  reader.array(2);
  return { seq: reader.uint(), leafIndex: reader.uint() };
}

/** Section 9, "the record follows": refuses with `wrong-outcome` a record that its own tally does not lead to. */
export function requireFollows(record: InferenceRecord): void {
  const { policy, owners, faults, support } = record;
  const voting = record.votes.filter(({ commitment }) => commitment !== null);
  const abstained = record.votes.find(({ commitment }) => commitment === null)?.owners.length ?? 0;
  const counts = voting.map((group) => group.owners.length);
  const voters = counts.reduce((total, count) => total + count, 0);
  // 1
  require(voters + abstained <= owners, "wrong-outcome", "there are more votes than owners");
  require(isPossible(
    policy,
    support,
    new Set(voting.flatMap((group) => group.owners)),
  ), "wrong-outcome", "no votes give this support");
  // 2
  const reached = levels(policy, { owners, faults, abstained, counts, support });
  require(outcomeOf(reached, record.demand) ===
    record.outcome, "wrong-outcome", "the tally does not lead to the outcome");
  // 3
  require(record.assurance === reached.now, "wrong-outcome", "the tally does not carry the assurance");
  // 4
  const resultDue = record.outcome === "agreed" && commitsToResult(policy);
  require((record.resultCommitment !== null) ===
    resultDue, "wrong-outcome", "the result is committed to exactly if it must be");
}

function isPossible(policy: Policy, support: Support, voters: ReadonlySet<number>): boolean {
  switch (support.kind) {
    case "counts":
      return true;
    case "candidates": {
      const ranks = policy.name === "borda" ? policy.ranks : 0;
      const fits = ({ points, named }: Candidate): boolean =>
        1 <= named && named <= voters.size && named <= points && points <= ranks * named;
      return support.candidates.every(fits) && support.candidates.length > 0 === voters.size > 0;
    }
    case "cluster": {
      const cluster = support.owners.length;
      return (
        cluster <= support.reach &&
        support.reach <= voters.size &&
        (cluster === 0) === (voters.size === 0) &&
        support.owners.every((owner) => voters.has(owner))
      );
    }
  }
}
