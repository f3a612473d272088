/**
 * Verifies Dropbear inference certificates offline, in Node and in browsers, with WebCrypto alone. Written from `SPEC.md`;
 * every module names the section that it follows.
 *
 * @packageDocumentation
 */
export { fromHex, toHex } from "./bytes.js";
export { type Certificate, parseCertificate } from "./certificate.js";
export { checkConflict, type Conflict } from "./conflict.js";
export type { Attachments, BallotProof, RequestOpening } from "./attachments.js";
export type { Charter, Committee, Genesis, Member, ModelSet, ModelVersion, Owner } from "./genesis.js";
export { TrustRootError } from "./genesis-json.js";
export type { Header } from "./header.js";
export { isAdmissible } from "./key.js";
export { type Candidate, type Levels, levels, type Outcome, outcomeOf, type Support, type Tally } from "./assurance.js";
export { type Agreement, type CastVote, combine, type Group, type Terms } from "./combine.js";
export { type Level, LEVEL_NAMES, type Policy, type TensorForm } from "./policy.js";
export type { InferenceRecord, Origin, VoteGroup } from "./record.js";
export { type Code, type Fault, Refusal } from "./refusal.js";
export {
  imageDigest,
  type Input,
  inputDigest,
  newSeed,
  outputCommitment,
  requestCommitment,
  type RequestStatement,
  salt,
  seedDigest,
  type SignedRequest,
  signRequest,
} from "./request.js";
export { SigningKey } from "./signature.js";
export { TrustRoot } from "./trust.js";
export { verify, Verified } from "./verify.js";
export { classVote, outputVote, rankingVote, tensorVote, type Vote } from "./vote.js";
