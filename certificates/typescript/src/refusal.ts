// Why a certificate is refused: the stable reason codes of SPEC section 13, and whose fault each is.

/** The reason codes. Every verifier gives the same one for the same bytes. */
export type Code =
  | "too-large"
  | "unknown-version"
  | "malformed"
  | "malformed-record"
  | "malformed-header"
  | "bad-path"
  | "other-genesis"
  | "bad-chain"
  | "unknown-committee"
  | "outside-epoch"
  | "no-quorum"
  | "bad-signature"
  | "contradiction"
  | "unknown-charter"
  | "charter-not-in-force"
  | "wrong-outcome"
  | "expired-request"
  | "bad-opening"
  | "bad-ballot";

/**
 * `bearer`: damaged, forged, or no certificate. `committee`: a quorum attested what the rules forbid; keep the evidence.
 * `verifier`: this verifier lacks something, such as a newer trust root.
 */
export type Fault = "bearer" | "committee" | "verifier";

const FAULTS: Partial<Record<Code, Fault>> = {
  contradiction: "committee",
  "wrong-outcome": "committee",
  "expired-request": "committee",
  "charter-not-in-force": "committee",
  "other-genesis": "verifier",
  "unknown-committee": "verifier",
  "unknown-charter": "verifier",
  "unknown-version": "verifier",
};

/** A certificate or chain is not accepted. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  /** The stable reason code. */
  readonly code: Code;
  /** Whose fault it is. */
  readonly fault: Fault;

  constructor(code: Code, message: string) {
    super(message);
    this.code = code;
    this.fault = FAULTS[code] ?? "bearer";
  }
}

/** Bytes that do not have the shape they should. The caller knows which code that is. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

/** Runs a decoder; what it cannot decode is refused with `code`. */
export function decoding<T>(code: Code, what: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof DecodeError) throw new Refusal(code, `the ${what} is malformed: ${error.message}`);
    throw error;
  }
}

/** Refuses with `code` unless `condition` holds. */
export function require(condition: boolean, code: Code, message: string): asserts condition {
  if (!condition) throw new Refusal(code, message);
}
