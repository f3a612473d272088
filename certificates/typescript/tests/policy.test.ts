// Policies: known answers, and what each level promises, held against every completion of small groups.

import assert from "node:assert/strict";
import test from "node:test";
import {
  type Agreement,
  type CastVote,
  classVote,
  combine,
  outputVote,
  type Policy,
  rankingVote,
  tensorVote,
  type Terms,
} from "../src/index.js";

const terms = (policy: Policy, owners: number, faults: number, demand = 3): Terms => ({
  policy,
  classes: 100,
  owners,
  faults,
  demand,
});
const cast = (...classes: readonly (number | null)[]): CastVote[] =>
  classes.map((item, place) => [place, item === null ? null : classVote(item)]);
const plurality: Policy = { name: "plurality" };
const tensor = { length: 2, fractionBits: 0, min: -100, max: 100 };

test("plurality: levels as the lead grows", () => {
  const now = (...classes: readonly (number | null)[]): number => combine(terms(plurality, 7, 2), cast(...classes)).now;
  assert.equal(now(5, 5, 5, 5, 5, 5, 5), 3);
  assert.equal(now(5, 5, 5, 5, 5, 6, 6), 3);
  assert.equal(now(5, 5, 5, 5, 6, 6, 7), 2);
  assert.equal(now(5, 5, 5, 6, 6, 7), 1);
  assert.equal(now(5, 5, 5, 6, 6, 6, 7), 0);
  assert.equal(now(5, 5), 0);
});

test("plurality: a class beyond the charter's is an abstention, and abstentions stand last", () => {
  const { groups, result, outcome } = combine(terms(plurality, 4, 1), cast(100, 3, 3, null));
  assert.deepEqual(
    groups.map(({ vote, owners }) => [vote === null, owners]),
    [
      [false, [1, 2]],
      [true, [0, 3]],
    ],
  );
  assert.deepEqual(result, classVote(3));
  assert.equal(outcome, "no-agreement");
});

test("groups of equal size stand by the bytes of their votes", () => {
  const { groups } = combine(terms(plurality, 4, 1), cast(30, 2, 30, 2));
  assert.deepEqual(
    groups.map(({ owners }) => owners),
    [
      [1, 3],
      [0, 2],
    ],
  );
});

test("plurality: decisive results outlive every completion; unreachable demands stay unreachable", () => {
  const owners = 5;
  const choices = [0, 1, 2, null];
  const complete = (votes: readonly (number | null)[]): (readonly (number | null)[])[] =>
    votes.length === owners ? [votes] : choices.flatMap((next) => complete([...votes, next]));
  const partial = (length: number): (readonly (number | null)[])[] =>
    length === 0 ? [[]] : partial(length - 1).flatMap((votes) => choices.map((next) => [...votes, next]));
  let checked = 0;
  for (const votes of [0, 1, 2, 3, 4].flatMap(partial)) {
    const before = combine(terms(plurality, owners, 1), cast(...votes));
    const completions = complete(votes).map((all): Agreement => combine(terms(plurality, owners, 1), cast(...all)));
    if (before.now >= 2)
      assert.ok(
        completions.every(
          ({ result }) =>
            result?.kind === "class" && before.result?.kind === "class" && result.class === before.result.class,
        ),
      );
    assert.equal(Math.max(...completions.map(({ now }) => now)), before.reachable, `after ${votes.join()}`);
    checked++;
  }
  assert.equal(checked, 1 + 4 + 16 + 64 + 256);
});

test("exact: k owners, or nothing", () => {
  const [a, b] = [outputVote(new Uint8Array(32)), outputVote(new Uint8Array(32).fill(1))];
  const policy: Policy = { name: "exact", quorum: 3 };
  assert.equal(
    combine(terms(policy, 4, 1), [
      [0, a],
      [1, a],
      [2, a],
    ]).outcome,
    "agreed",
  );
  assert.equal(
    combine(terms(policy, 4, 1), [
      [0, a],
      [1, a],
      [2, b],
    ]).outcome,
    "insufficient",
  );
  assert.equal(
    combine(terms(policy, 4, 1), [
      [0, a],
      [1, a],
      [2, b],
      [3, b],
    ]).outcome,
    "no-agreement",
  );
});

test("borda: points, ties by class, repeated classes abstain", () => {
  const policy: Policy = { name: "borda", ranks: 3 };
  const { support, result, groups } = combine(terms(policy, 4, 1), [
    [0, rankingVote([7, 8, 9])],
    [1, rankingVote([7, 9])],
    [2, rankingVote([8])],
    [3, rankingVote([7, 7])],
  ]);
  const candidates = [
    { points: 6, named: 2 },
    { points: 5, named: 2 },
    { points: 3, named: 2 },
  ];
  assert.deepEqual(support, { kind: "candidates", candidates });
  assert.deepEqual(result, classVote(7));
  assert.equal(groups.at(-1)!.vote, null);
});

test("median and trimmed mean: by element, rounded down, inside the honest range", () => {
  const votes: CastVote[] = [
    [-100, 100],
    [1, -4],
    [2, -5],
    [3, -5],
  ].map((values, place) => [place, tensorVote(values)]);
  const result = (name: "median" | "trimmed-mean"): unknown => {
    const { result } = combine(terms({ name, tensor }, 4, 1, 1), votes);
    return result?.kind === "tensor" && result.values;
  };
  assert.deepEqual(result("median"), [1, -5]);
  assert.deepEqual(result("trimmed-mean"), [1, -5]);
  assert.equal(combine(terms({ name: "median", tensor }, 4, 1, 1), votes.slice(0, 2)).outcome, "insufficient");
});

test("within: the largest cluster, then the smallest total, then the earliest group", () => {
  const policy: Policy = { name: "within", tensor, epsilon: 2, quorum: 3 };
  const votes: CastVote[] = [
    [0, 0],
    [1, 0],
    [2, 0],
    [50, 0],
  ].map((values, place) => [place, tensorVote(values)]);
  const { support, result, outcome } = combine(terms(policy, 4, 1, 1), votes);
  assert.deepEqual(support, { kind: "cluster", owners: [0, 1, 2], reach: 3 });
  assert.deepEqual(result, tensorVote([1, 0]));
  assert.equal(outcome, "agreed");
  const nobody = combine(terms(policy, 4, 1, 1), []);
  assert.deepEqual(nobody.support, { kind: "cluster", owners: [], reach: 0 });
  assert.equal(nobody.outcome, "insufficient");
});
