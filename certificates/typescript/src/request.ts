// Requests (SPEC section 6): seeds and salts, commitments, ids, and requests that a client signs itself.

import { encodeArray, encodeBytes, encodeInt, encodeText } from "./cbor.js";
import { utf8 } from "./bytes.js";
import type { Origin } from "./record.js";
import { hmacSha256, sha256, tag } from "./sha256.js";
import { type SigningKey, statementToSign } from "./signature.js";

export const REQUEST_TYPE = "application/dropbear-request+cose;v=1";

/** What a model is asked about. */
export interface Input {
  readonly name: string;
  readonly datatype: string;
  /** Without the batch dimension. */
  readonly shape: readonly number[];
  /** Little-endian; for BYTES, the one element's bytes. */
  readonly data: Uint8Array;
}

export function inputDigest({ name, datatype, shape, data }: Input): Uint8Array {
  const item = encodeArray([
    encodeText(name),
    encodeText(datatype),
    encodeArray(shape.map(encodeInt)),
    encodeBytes(sha256(data)),
  ]);
  return tag("dropbear/input/v1", item);
}

/** The digest of an image as clients send it: one BYTES element named `image`. */
export function imageDigest(image: Uint8Array): Uint8Array {
  return inputDigest({ name: "image", datatype: "BYTES", shape: [], data: image });
}

/** A fresh seed: keep it, it opens everything of the request. */
export function newSeed(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(32));
}

export function salt(seed: Uint8Array, field: "request" | "vote" | "output"): Uint8Array {
  return hmacSha256(seed, utf8(field));
}

export function seedDigest(seed: Uint8Array): Uint8Array {
  return tag("dropbear/seed/v1", seed);
}

/** The commitment to a request under its salt. */
export function saltedRequestCommitment(requestSalt: Uint8Array, seed: Uint8Array, input: Uint8Array): Uint8Array {
  return tag("dropbear/request/v1", requestSalt, seed, input);
}

/** The commitment to an input (its digest) under a client's seed. */
export function requestCommitment(seed: Uint8Array, input: Uint8Array): Uint8Array {
  return saltedRequestCommitment(salt(seed, "request"), seedDigest(seed), input);
}

export function outputCommitment(seed: Uint8Array, output: Uint8Array): Uint8Array {
  return tag("dropbear/output/v1", salt(seed, "output"), sha256(output));
}

/** What the signer of a request states. */
export interface RequestStatement {
  readonly genesis: Uint8Array;
  readonly group: string;
  readonly signer: Uint8Array;
  readonly origin: Origin;
  /** 16 bytes; a client never uses one twice. */
  readonly nonce: Uint8Array;
  readonly commitment: Uint8Array;
  readonly expiryMs: number;
  /** The assurance that the outcome must reach, 1 to 3. */
  readonly demand: number;
}

export function encodeRequestStatement(statement: RequestStatement): Uint8Array {
  return encodeArray([
    encodeInt(1),
    encodeBytes(statement.genesis),
    encodeText(statement.group),
    encodeBytes(statement.signer),
    encodeInt(statement.origin === "client-signed" ? 1 : 0),
    encodeBytes(statement.nonce),
    encodeBytes(statement.commitment),
    encodeInt(statement.expiryMs),
    encodeInt(statement.demand),
  ]);
}

export function requestId(statement: Uint8Array): Uint8Array {
  return tag("dropbear/request-id/v1", statement);
}

/** A request that its signer vouches for. */
export interface SignedRequest extends RequestStatement {
  /** The encoded statement. */
  readonly bytes: Uint8Array;
  readonly id: Uint8Array;
  readonly signature: Uint8Array;
}

/** Signs a request. A client that signs its own request gets a certificate that says so: `client-signed`. */
export async function signRequest(
  key: SigningKey,
  request: Omit<RequestStatement, "signer" | "origin" | "nonce"> & Partial<Pick<RequestStatement, "origin" | "nonce">>,
): Promise<SignedRequest> {
  const nonce = request.nonce ?? crypto.getRandomValues(new Uint8Array(16));
  const statement: RequestStatement = { origin: "client-signed", ...request, nonce, signer: key.publicKey };
  if (nonce.length !== 16) throw new RangeError("a nonce has 16 bytes");
  if (![1, 2, 3].includes(statement.demand)) throw new RangeError("the demanded assurance is 1, 2 or 3");
  const bytes = encodeRequestStatement(statement);
  const signature = await key.sign(statementToSign(REQUEST_TYPE, key.publicKey, bytes));
  return { ...statement, bytes, id: requestId(bytes), signature };
}
