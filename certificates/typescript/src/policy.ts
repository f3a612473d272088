// Policies and assurance (SPEC section 8): pure functions from votes to an outcome, in integers only.

import { compare } from "./bytes.js";
import { encodeArray, encodeInt, type Reader } from "./cbor.js";
import { DecodeError } from "./refusal.js";
import { classVote, RANKS_MAX, TENSOR_LENGTH_MAX, TENSOR_VALUE_MAX, tensorVote, type Vote } from "./vote.js";

const FRACTION_BITS_MAX = 30;
/** Twice epsilon still is an integer that everybody can hold. */
const EPSILON_MAX = Math.floor(Number.MAX_SAFE_INTEGER / 2);

/** The form of tensor votes; a value v stands for v / 2^fractionBits. */
export interface TensorForm {
  readonly length: number;
  readonly fractionBits: number;
  readonly min: number;
  readonly max: number;
}

export type Policy =
  | { readonly name: "plurality" }
  | { readonly name: "borda"; readonly ranks: number }
  | { readonly name: "exact"; readonly quorum: number }
  | { readonly name: "median"; readonly tensor: TensorForm }
  | { readonly name: "trimmed-mean"; readonly tensor: TensorForm }
  | { readonly name: "within"; readonly tensor: TensorForm; readonly epsilon: number; readonly quorum: number };

/** 0 none, 1 supported, 2 decisive, 3 robust. */
export type Level = 0 | 1 | 2 | 3;
export const LEVEL_NAMES = ["none", "supported", "decisive", "robust"] as const;

/** What of the votes stands in a record beside the groups. */
export type Support =
  | { readonly kind: "counts" }
  | { readonly kind: "candidates"; readonly candidates: readonly Candidate[] }
  | { readonly kind: "cluster"; readonly owners: readonly number[]; readonly reach: number };

export interface Candidate {
  readonly points: number;
  readonly named: number;
}

/** What levels are computed from. */
export interface Tally {
  /** Owners on the roster, and how many of them may be faulty. */
  readonly owners: number;
  readonly faults: number;
  readonly abstained: number;
  /** Owners per group, abstentions left out, descending. */
  readonly counts: readonly number[];
  readonly support: Support;
}

/** The level that holds, and the best that ballots still missing could bring about. */
export interface Levels {
  readonly now: Level;
  readonly reachable: Level;
}

export function readPolicy(reader: Reader): Policy {
  const parameters = reader.arrayHead(4) - 1;
  if (parameters < 0) throw new DecodeError("a policy is not empty");
  const kind = reader.uint();
  const has = (count: number): void => {
    if (parameters !== count) throw new DecodeError(`policy ${kind} has ${count} parameters, not ${parameters}`);
  };
  switch (kind) {
    case 1:
      has(0);
      return { name: "plurality" };
    case 2:
      has(1);
      return { name: "borda", ranks: reader.uint() };
    case 3:
      has(1);
      return { name: "exact", quorum: reader.uint() };
    case 4:
      has(1);
      return { name: "median", tensor: readTensorForm(reader) };
    case 5:
      has(1);
      return { name: "trimmed-mean", tensor: readTensorForm(reader) };
    case 6:
      has(3);
      return { name: "within", tensor: readTensorForm(reader), epsilon: reader.uint(), quorum: reader.uint() };
    default:
      throw new DecodeError(`${kind} is no policy`);
  }
}

function readTensorForm(reader: Reader): TensorForm {
  reader.array(4);
  const form = { length: reader.uint(), fractionBits: reader.uint(), min: reader.int(), max: reader.int() };
  if (!isTensorForm(form)) throw new DecodeError("a tensor's form is out of bounds");
  return form;
}

export function isTensorForm({ length, fractionBits, min, max }: TensorForm): boolean {
  return (
    1 <= length &&
    length <= TENSOR_LENGTH_MAX &&
    fractionBits <= FRACTION_BITS_MAX &&
    -TENSOR_VALUE_MAX <= min &&
    min <= max &&
    max <= TENSOR_VALUE_MAX
  );
}

export function encodePolicy(policy: Policy): Uint8Array {
  const tensor = ({ length, fractionBits, min, max }: TensorForm): Uint8Array =>
    encodeArray([length, fractionBits, min, max].map(encodeInt));
  switch (policy.name) {
    case "plurality":
      return encodeArray([encodeInt(1)]);
    case "borda":
      return encodeArray([2, policy.ranks].map(encodeInt));
    case "exact":
      return encodeArray([3, policy.quorum].map(encodeInt));
    case "median":
      return encodeArray([encodeInt(4), tensor(policy.tensor)]);
    case "trimmed-mean":
      return encodeArray([encodeInt(5), tensor(policy.tensor)]);
    case "within":
      return encodeArray([encodeInt(6), tensor(policy.tensor), encodeInt(policy.epsilon), encodeInt(policy.quorum)]);
  }
}

/** Whether a policy makes sense for this many owners and faults. */
export function isWellFormedPolicy(policy: Policy, owners: number, faults: number): boolean {
  const intersects = (quorum: number): boolean => quorum <= owners && 2 * quorum > owners + faults;
  switch (policy.name) {
    case "borda":
      return 1 <= policy.ranks && policy.ranks <= RANKS_MAX;
    case "exact":
      return intersects(policy.quorum);
    case "within":
      return policy.epsilon <= EPSILON_MAX && intersects(policy.quorum);
    default:
      return true;
  }
}

/** The strongest level that the policy can reach. */
export function strongest(policy: Policy): Level {
  return policy.name === "plurality" || policy.name === "borda" || policy.name === "exact" ? 3 : 1;
}

/** Whether the record commits to a result that is not simply the first group's vote. */
export function commitsToResult(policy: Policy): boolean {
  return policy.name !== "plurality" && policy.name !== "exact";
}

function admits(policy: Policy, classes: number, vote: Vote): boolean {
  switch (policy.name) {
    case "plurality":
      return vote.kind === "class" && vote.class < classes;
    case "borda":
      return (
        vote.kind === "ranking" &&
        1 <= vote.classes.length &&
        vote.classes.length <= policy.ranks &&
        vote.classes.every((item) => item < classes) &&
        new Set(vote.classes).size === vote.classes.length
      );
    case "exact":
      return vote.kind === "output";
    default: {
      const { length, min, max } = policy.tensor;
      return vote.kind === "tensor" && vote.values.length === length && vote.values.every((v) => min <= v && v <= max);
    }
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
const lessAtLeast0 = (a: number, b: number): number => Math.max(a - b, 0);

/** `level(named, lead, w, missing)` of SPEC. */
function levelOf(named: number, lead: number, weight: number, missing: number, faults: number): Level {
  if (lead === 0 || named <= faults) return 0;
  if (lead > weight * (faults + missing)) return 3;
  return lead > weight * missing ? 2 : 1;
}

/** The levels of a tally whose support is of the policy's kind. */
export function levels(policy: Policy, tally: Tally): Levels {
  const { faults, abstained, counts, support } = tally;
  const voters = sum(counts);
  const open = lessAtLeast0(tally.owners, voters + abstained);
  const missing = open + abstained;
  const [first = 0, second = 0] = counts;
  switch (policy.name) {
    case "plurality":
      return {
        now: levelOf(first, lessAtLeast0(first, second), 1, missing, faults),
        reachable: levelOf(first + open, lessAtLeast0(first + open, second), 1, abstained, faults),
      };
    case "exact":
      return { now: first >= policy.quorum ? 3 : 0, reachable: first + open >= policy.quorum ? 3 : 0 };
    case "borda":
      if (support.kind !== "candidates") throw new TypeError("borda is supported by candidates");
      return bordaLevels(policy.ranks, support.candidates, open, abstained, faults);
    case "median":
    case "trimmed-mean": {
      const needed = 2 * faults + 1;
      return { now: voters >= needed ? 1 : 0, reachable: voters + open >= needed ? 1 : 0 };
    }
    case "within": {
      if (support.kind !== "cluster") throw new TypeError("within is supported by a cluster");
      const cluster = support.owners.length;
      const now = cluster >= policy.quorum ? 1 : 0;
      const best = Math.max(support.reach + open, cluster);
      return { now, reachable: open === 0 ? now : best >= policy.quorum ? 1 : 0 };
    }
  }
}

function bordaLevels(k: number, candidates: readonly Candidate[], open: number, abstained: number, faults: number): Levels {
  const nobody: Candidate = { points: 0, named: 0 };
  const [first = nobody, second = nobody] = candidates;
  const reachable = ({ points, named }: Candidate, place: number): Level => {
    const rival = place === 0 ? second : first;
    return levelOf(named + open, lessAtLeast0(points + k * open, rival.points), k, abstained, faults);
  };
  const reached = (candidates.length === 0 ? [nobody] : candidates).map(reachable);
  return {
    now: levelOf(first.named, lessAtLeast0(first.points, second.points), k, open + abstained, faults),
    reachable: Math.max(...reached) as Level,
  };
}

export type Outcome = "agreed" | "no-agreement" | "insufficient";

/** The outcome under a demanded level. `insufficient` is never recorded: ask the owners that are still open. */
export function outcomeOf({ now, reachable }: Levels, demand: number): Outcome {
  if (now >= demand) return "agreed";
  return reachable >= demand ? "insufficient" : "no-agreement";
}

/** Owners with equal votes. */
export interface Group {
  /** Null: they abstained. */
  readonly vote: Vote | null;
  /** Their places, ascending. */
  readonly owners: readonly number[];
}

/** What a policy makes of all votes. */
export interface Agreement extends Levels {
  readonly groups: readonly Group[];
  readonly support: Support;
  readonly outcome: Outcome;
  /** Null if no level holds. */
  readonly result: Vote | null;
}

/** The terms that votes are combined under. */
export interface Terms {
  readonly policy: Policy;
  readonly classes: number;
  readonly owners: number;
  readonly faults: number;
  readonly demand: number;
}

/** One ballot's vote: null if the owner abstained. */
export type CastVote = readonly [owner: number, vote: Vote | null];

/** Combines the counted ballots' votes, at most one per owner. */
export function combine(terms: Terms, votes: readonly CastVote[]): Agreement {
  const { policy, owners, faults, demand } = terms;
  const groups = groupsOf(terms, votes);
  const voting = groups.filter((group): group is VotingGroup => group.vote !== null);
  const counts = voting.map((group) => group.owners.length);
  const abstained = votes.length - sum(counts);
  const found = supportOf(policy, voting);
  const reached = levels(policy, { owners, faults, abstained, counts, support: found.support });
  const result = reached.now > 0 ? resultOf(policy, voting, faults, found.leader) : null;
  return { ...reached, groups, support: found.support, outcome: outcomeOf(reached, demand), result };
}

type VotingGroup = Group & { readonly vote: Vote };

function groupsOf({ policy, classes }: Terms, votes: readonly CastVote[]): Group[] {
  const groups: { vote: Vote | null; owners: number[] }[] = [];
  for (const [owner, cast] of [...votes].sort(([a], [b]) => a - b)) {
    const vote = cast !== null && admits(policy, classes, cast) ? cast : null;
    const same = groups.find((group) => compareVotes(group.vote, vote) === 0);
    if (same === undefined) groups.push({ vote, owners: [owner] });
    else same.owners.push(owner);
  }
  return groups.sort((a, b) => {
    if (a.vote === null || b.vote === null) return Number(a.vote === null) - Number(b.vote === null);
    return b.owners.length - a.owners.length || compare(a.vote.bytes, b.vote.bytes);
  });
}

function compareVotes(a: Vote | null, b: Vote | null): number {
  return a === null || b === null ? Number(a !== b) : compare(a.bytes, b.bytes);
}

/** The support, and the class or vote that leads by it. */
interface Found {
  readonly support: Support;
  readonly leader: Vote | null;
}

function supportOf(policy: Policy, groups: readonly VotingGroup[]): Found {
  switch (policy.name) {
    case "borda":
      return candidatesOf(policy.ranks, groups);
    case "within":
      return clusterOf(policy.epsilon, groups);
    default:
      return { support: { kind: "counts" }, leader: groups[0]?.vote ?? null };
  }
}

function candidatesOf(ranks: number, groups: readonly VotingGroup[]): Found {
  const byClass = new Map<number, { class: number; points: number; named: number }>();
  for (const { vote, owners } of groups) {
    if (vote.kind !== "ranking") throw new TypeError("borda admits rankings only");
    vote.classes.forEach((ranked, rank) => {
      const candidate = byClass.get(ranked) ?? { class: ranked, points: 0, named: 0 };
      candidate.points += (ranks - rank) * owners.length;
      candidate.named += owners.length;
      byClass.set(ranked, candidate);
    });
  }
  const standing = [...byClass.values()].sort((a, b) => b.points - a.points || a.class - b.class);
  const candidates = standing.map(({ points, named }) => ({ points, named }));
  return { support: { kind: "candidates", candidates }, leader: standing[0] ? classVote(standing[0].class) : null };
}

function valuesOf(vote: Vote): readonly number[] {
  if (vote.kind !== "tensor") throw new TypeError("the policy admits tensors only");
  return vote.values;
}

function distance(a: Vote, b: Vote): number {
  const other = valuesOf(b);
  return valuesOf(a).reduce((total, value, i) => total + Math.abs(value - other[i]!), 0);
}

function clusterOf(epsilon: number, groups: readonly VotingGroup[]): Found {
  let best: { owners: number[]; total: number; vote: Vote } | null = null;
  let reach = 0;
  for (const { vote } of groups) {
    const owners: number[] = [];
    let total = 0;
    let near = 0;
    for (const other of groups) {
      const apart = distance(vote, other.vote);
      if (apart <= 2 * epsilon) near += other.owners.length;
      if (apart > epsilon) continue;
      owners.push(...other.owners);
      total += apart * other.owners.length;
    }
    reach = Math.max(reach, near);
    const larger = best === null || owners.length > best.owners.length;
    if (larger || (owners.length === best?.owners.length && total < best.total)) best = { owners, total, vote };
  }
  const owners = (best?.owners ?? []).sort((a, b) => a - b);
  return { support: { kind: "cluster", owners, reach }, leader: best?.vote ?? null };
}

function resultOf(policy: Policy, groups: readonly VotingGroup[], faults: number, leader: Vote | null): Vote | null {
  if (policy.name !== "median" && policy.name !== "trimmed-mean") return leader;
  const voted = groups.flatMap(({ vote, owners }) => owners.map(() => valuesOf(vote)));
  const element = policy.name === "median" ? medianOf : (values: readonly number[]) => trimmedMeanOf(values, faults);
  const combined = Array.from({ length: policy.tensor.length }, (_, i) =>
    element(voted.map((values) => values[i]!).sort((a, b) => a - b)),
  );
  return tensorVote(combined);
}

function medianOf(ascending: readonly number[]): number {
  return ascending[Math.floor((ascending.length - 1) / 2)]!;
}

/** Sums stay below 2^38 and divisors at most 128, so the floor of the double is the floor of the quotient. */
function trimmedMeanOf(ascending: readonly number[], faults: number): number {
  const kept = ascending.slice(faults, ascending.length - faults);
  return Math.floor(sum(kept) / kept.length);
}
