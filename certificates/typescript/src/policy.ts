// Policies (SPEC section 8): their parameters, and the votes that they admit.

import { encodeArray, encodeInt, type Reader } from "./cbor.js";
import { DecodeError } from "./refusal.js";
import { RANKS_MAX, TENSOR_LENGTH_MAX, TENSOR_VALUE_MAX, type Vote } from "./vote.js";

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

/** Whether the policy counts this vote; if not, it is an abstention. */
export function admits(policy: Policy, classes: number, vote: Vote): boolean {
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
