// Combining votes (SPEC section 8): from all ballots' votes to groups, support and result, in integers only.

import { type Levels, levels, type Outcome, outcomeOf, sum, type Support } from "./assurance.js";
import { compare } from "./bytes.js";
import { admits, type Policy } from "./policy.js";
import { classVote, tensorVote, type Vote } from "./vote.js";

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
