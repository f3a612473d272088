// Attachments held against the record (SPEC section 13, steps 14 to 19).

import { equal, equalOrNull } from "./bytes.js";
import type { Support } from "./assurance.js";
import type {
  BallotProof,
  ModelsOpening,
  RequestOpening,
  ResultOpening,
  SingleOpening,
  VotesOpening,
} from "./attachments.js";
import { BALLOT_TYPE, ballotsLeaf, decodeBallotStatement, votesLeaf } from "./ballot.js";
import type { Certificate } from "./certificate.js";
import { type CastVote, combine } from "./combine.js";
import { type Charter, modelSetDigest } from "./genesis.js";
import { leafHash, rootOfPath } from "./merkle.js";
import { commitsToResult } from "./policy.js";
import type { InferenceRecord, VoteGroup } from "./record.js";
import { decoding, require } from "./refusal.js";
import { encodeRequestStatement, REQUEST_TYPE, requestId, saltedRequestCommitment } from "./request.js";
import { isSigned, statementToSign } from "./signature.js";
import { resultCommitment, saltedResultCommitment, saltedVoteCommitment, voteCommitment } from "./vote.js";

/** Refuses a certificate with an attachment that does not open what it claims to open. */
export async function requireOpenings({ record, attachments }: Certificate, charter: Charter): Promise<void> {
  const { request, votes, models, result, single, ballots } = attachments;
  if (request !== null) await requireRequest(request, record);
  if (votes !== null) requireVotes(votes, record, charter);
  if (models !== null) opens(equal(modelSetDigest(models.bytes), record.modelSet), "the model set is another one");
  if (result !== null) requireResult(result, record);
  for (const opening of single ?? []) requireSingle(opening, record);
  for (const proof of ballots ?? []) await requireBallot(proof, record, charter, models);
}

function opens(condition: boolean, problem: string): asserts condition {
  require(condition, "bad-opening", problem);
}

/** Step 14. */
async function requireRequest(opening: RequestOpening, record: InferenceRecord): Promise<void> {
  const commitment = saltedRequestCommitment(opening.salt, opening.seedDigest, opening.input);
  opens(equal(commitment, record.requestCommitment), "the shown request is not the one committed to");
  const { genesis, group, origin, expiryMs, demand } = record;
  const { signer, nonce, signature } = opening;
  const statement = encodeRequestStatement({ genesis, group, signer, origin, nonce, commitment, expiryMs, demand });
  opens(equal(requestId(statement), record.requestId), "the shown requester and nonce do not give the request id");
  if (signature === null) return;
  opens(
    await isSigned(signer, statementToSign(REQUEST_TYPE, signer, statement), signature),
    "the requester did not sign the request",
  );
}

/** Steps 15 and 15a. */
function requireVotes({ voteSalt, votes }: VotesOpening, record: InferenceRecord, charter: Charter): void {
  const voting = record.votes.filter(({ commitment }) => commitment !== null);
  opens(votes.length === voting.length, `${votes.length} votes are shown of ${voting.length} groups`);
  votes.forEach((vote, i) => {
    opens(
      equalOrNull(voteCommitment(voteSalt, vote), voting[i]!.commitment),
      `the vote of group ${i} is not the one committed to`,
    );
  });
  const cast = record.votes.flatMap(({ owners }, i) => owners.map((owner): CastVote => [owner, votes[i] ?? null]));
  const { classes, policy, roster, faults } = charter;
  const agreement = combine({ policy, classes, owners: roster.length, faults, demand: record.demand }, cast);
  const groups = agreement.groups.map(({ vote, owners }) => ({ commitment: voteCommitment(voteSalt, vote), owners }));
  const { result } = agreement;
  const commits = record.outcome === "agreed" && commitsToResult(policy) && result !== null;
  const same =
    sameGroups(groups, record.votes) &&
    sameSupport(agreement.support, record.support) &&
    agreement.outcome === record.outcome &&
    agreement.now === record.assurance &&
    equalOrNull(commits ? resultCommitment(voteSalt, result) : null, record.resultCommitment);
  require(same, "wrong-outcome", "the shown votes do not combine to what the record says");
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((number, i) => number === b[i]);
}

function sameGroups(a: readonly VoteGroup[], b: readonly VoteGroup[]): boolean {
  const same = (group: VoteGroup, other: VoteGroup): boolean =>
    equalOrNull(group.commitment, other.commitment) && sameNumbers(group.owners, other.owners);
  return a.length === b.length && a.every((group, i) => same(group, b[i]!));
}

function sameSupport(a: Support, b: Support): boolean {
  if (a.kind === "candidates" && b.kind === "candidates") {
    const flat = ({ candidates }: typeof a): number[] => candidates.flatMap(({ points, named }) => [points, named]);
    return sameNumbers(flat(a), flat(b));
  }
  if (a.kind === "cluster" && b.kind === "cluster") return a.reach === b.reach && sameNumbers(a.owners, b.owners);
  return a.kind === "counts" && b.kind === "counts";
}

/** Step 17. */
function requireResult({ salt, vote }: ResultOpening, record: InferenceRecord): void {
  opens(record.resultCommitment !== null, "a result is shown, but the record commits to none");
  opens(vote !== null, "an abstention is shown as result");
  opens(
    equal(saltedResultCommitment(salt, vote), record.resultCommitment),
    "the shown result is not the one committed to",
  );
}

/** Step 18. */
function requireSingle({ group, salt, vote }: SingleOpening, record: InferenceRecord): void {
  const commitment = record.votes[group]?.commitment ?? null;
  opens(commitment !== null, `there is no group ${group} that voted`);
  opens(vote !== null, "an abstention is shown as vote");
  opens(equal(saltedVoteCommitment(salt, vote), commitment), `the vote of group ${group} is not the one committed to`);
}

/** Step 19. */
async function requireBallot(
  proof: BallotProof,
  record: InferenceRecord,
  charter: Charter,
  models: ModelsOpening | null,
): Promise<void> {
  const holds = (condition: boolean, problem: string): void =>
    require(condition, "bad-ballot", `owner ${proof.owner}'s ballot: ${problem}`);
  const owner = charter.roster[proof.owner];
  const group = record.votes.find(({ owners }) => owners.includes(proof.owner));
  require(owner !== undefined && group !== undefined, "bad-ballot", `owner ${proof.owner} was not counted`);
  const statement = decoding("bad-ballot", "ballot", () => decodeBallotStatement(proof.statement));
  holds(equal(statement.genesis, record.genesis), "it is of another market");
  holds(statement.group === record.group, "it is of another group");
  holds(equal(statement.charter, record.charter), "it is under another charter");
  holds(equal(statement.owner, owner.key), "it is of another owner");
  holds(statement.expiryMs >= record.agreedMs, "it had expired");
  if (models !== null) {
    const version = models.models[proof.owner] ?? null;
    holds(version !== null && equal(version.digest, statement.modelVersion), "it is of another model version");
  }
  const vote = leafHash(votesLeaf(record.requestId, group.commitment, proof.output));
  const votesRoot = rootOfPath(vote, proof.voteIndex, statement.count, proof.votesPath);
  holds(equalOrNull(votesRoot, statement.votesRoot), "it does not hold this vote");
  const counted = record.votes.flatMap(({ owners }) => owners);
  const index = counted.filter((place) => place < proof.owner).length;
  const ballot = leafHash(ballotsLeaf(proof.statement, proof.signature));
  holds(
    equalOrNull(rootOfPath(ballot, index, counted.length, proof.ballotsPath), record.ballotsRoot),
    "it was not among those counted",
  );
  holds(
    await isSigned(owner.key, statementToSign(BALLOT_TYPE, owner.key, proof.statement), proof.signature),
    "the owner did not sign it",
  );
}
