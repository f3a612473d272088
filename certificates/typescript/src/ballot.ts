// Ballots (SPEC section 7): one owner's signed answers to one batch of requests under one model version.

import { encodeArray, encodeBytes, encodeOrNull, Reader } from "./cbor.js";
import { readDigest, readKey, readName } from "./shapes.js";

export const BALLOT_TYPE = "application/dropbear-ballot+cose;v=1";
const BATCH_SIZE_MAX = 1024;

export interface BallotStatement {
  readonly genesis: Uint8Array;
  readonly group: string;
  readonly charter: Uint8Array;
  readonly batchRoot: Uint8Array;
  /** Requests in the batch. */
  readonly count: number;
  readonly modelVersion: Uint8Array;
  readonly owner: Uint8Array;
  readonly expiryMs: number;
  readonly votesRoot: Uint8Array;
}

export function decodeBallotStatement(bytes: Uint8Array): BallotStatement {
  return Reader.all(bytes, (reader) => {
    reader.array(10);
    reader.exactly(1);
    return {
      genesis: readDigest(reader),
      group: readName(reader),
      charter: readDigest(reader),
      batchRoot: readDigest(reader),
      count: reader.uint(BATCH_SIZE_MAX),
      modelVersion: readDigest(reader),
      owner: readKey(reader),
      expiryMs: reader.uint(),
      votesRoot: readDigest(reader),
    };
  });
}

/** One request's leaf in the votes tree of a ballot. */
export function votesLeaf(requestId: Uint8Array, vote: Uint8Array | null, output: Uint8Array): Uint8Array {
  return encodeArray([encodeBytes(requestId), encodeOrNull(vote), encodeBytes(output)]);
}

/** A ballot's leaf in the record's ballots tree. */
export function ballotsLeaf(statement: Uint8Array, signature: Uint8Array): Uint8Array {
  return encodeArray([encodeBytes(statement), encodeBytes(signature)]);
}
