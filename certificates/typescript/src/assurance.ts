// Assurance (SPEC section 8): from a tally to the level that holds, the level still reachable, and the outcome.

import type { Level, Policy } from "./policy.js";

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

/** The sum of numbers. */
export const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
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

function bordaLevels(
  k: number,
  candidates: readonly Candidate[],
  open: number,
  abstained: number,
  faults: number,
): Levels {
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
