// Attachments (SPEC section 11): what the holder of a certificate may show beside it. Parsed here, held against the
// record in `openings.ts`.

import { type Link, readLinks } from "./chain.js";
import type { Reader } from "./cbor.js";
import { decodeModelSet, type ModelSet } from "./genesis.js";
import { DecodeError } from "./refusal.js";
import { PLACE_MAX, PLACES_MAX, readDigest, readKey, readPath, readSignature } from "./shapes.js";
import { readVote, type Vote } from "./vote.js";

const STATEMENT_LENGTH_MAX = 512;
const MODEL_SET_LENGTH_MAX = 32768;
const KEY_MAX = 7;

/** Opens the request: who asked about which input. */
export interface RequestOpening {
  readonly signer: Uint8Array;
  readonly nonce: Uint8Array;
  readonly salt: Uint8Array;
  readonly seedDigest: Uint8Array;
  readonly input: Uint8Array;
  readonly signature: Uint8Array | null;
}

/** Opens all votes. */
export interface VotesOpening {
  readonly voteSalt: Uint8Array;
  readonly votes: readonly (Vote | null)[];
}

export interface ResultOpening {
  readonly salt: Uint8Array;
  readonly vote: Vote | null;
}

/** Opens one group's vote. */
export interface SingleOpening {
  readonly group: number;
  readonly salt: Uint8Array;
  readonly vote: Vote | null;
}

/** An owner's own signature on its vote. */
export interface BallotProof {
  readonly owner: number;
  readonly statement: Uint8Array;
  readonly signature: Uint8Array;
  readonly output: Uint8Array;
  readonly voteIndex: number;
  readonly votesPath: Uint8Array;
  readonly ballotsPath: Uint8Array;
}

export interface ModelsOpening {
  readonly models: ModelSet;
  /** The received bytes. */
  readonly bytes: Uint8Array;
}

/** Null where the holder does not show it. */
export interface Attachments {
  readonly request: RequestOpening | null;
  readonly votes: VotesOpening | null;
  readonly models: ModelsOpening | null;
  readonly result: ResultOpening | null;
  readonly single: readonly SingleOpening[] | null;
  readonly ballots: readonly BallotProof[] | null;
  readonly chain: readonly Link[] | null;
}

export function readAttachments(reader: Reader): Attachments {
  const found: { -readonly [Name in keyof Attachments]: Attachments[Name] } = {
    ...{ request: null, votes: null, models: null, result: null, single: null, ballots: null, chain: null },
  };
  let before = 0;
  for (let left = reader.mapHead(KEY_MAX); left > 0; left--) {
    const key = reader.uint(KEY_MAX);
    if (key <= before) throw new DecodeError("attachments do not ascend from 1");
    before = key;
    if (key === 1) found.request = readRequest(reader);
    else if (key === 2) found.votes = readVotes(reader);
    else if (key === 3) found.models = readModels(reader);
    else if (key === 4) found.result = readResult(reader);
    else if (key === 5) found.single = atLeastOne(reader.list(PLACES_MAX, readSingle), ({ group }) => group);
    else if (key === 6) found.ballots = atLeastOne(reader.list(PLACES_MAX, readBallot), ({ owner }) => owner);
    else found.chain = readLinks(reader);
  }
  return found;
}

/** The items, if there are any and their places ascend. */
function atLeastOne<T>(items: readonly T[], place: (item: T) => number): readonly T[] {
  if (items.length === 0) throw new DecodeError("an attached list is empty");
  if (items.some((item, i) => i > 0 && place(item) <= place(items[i - 1]!)))
    throw new DecodeError("an attached list does not ascend");
  return items;
}

function readRequest(reader: Reader): RequestOpening {
  reader.array(6);
  return {
    signer: readKey(reader),
    nonce: reader.fixed(16),
    salt: readDigest(reader),
    seedDigest: readDigest(reader),
    input: readDigest(reader),
    signature: reader.orNull(readSignature),
  };
}

function readVotes(reader: Reader): VotesOpening {
  reader.array(2);
  return { voteSalt: readDigest(reader), votes: reader.list(PLACES_MAX, readVote) };
}

function readModels(reader: Reader): ModelsOpening {
  const bytes = reader.bytes(MODEL_SET_LENGTH_MAX);
  return { models: decodeModelSet(bytes), bytes };
}

function readResult(reader: Reader): ResultOpening {
  reader.array(2);
  return { salt: readDigest(reader), vote: readVote(reader) };
}

function readSingle(reader: Reader): SingleOpening {
  reader.array(3);
  return { group: reader.uint(PLACE_MAX), salt: readDigest(reader), vote: readVote(reader) };
}

function readBallot(reader: Reader): BallotProof {
  reader.array(7);
  return {
    owner: reader.uint(PLACE_MAX),
    statement: reader.bytes(STATEMENT_LENGTH_MAX),
    signature: readSignature(reader),
    output: readDigest(reader),
    voteIndex: reader.uint(),
    votesPath: readPath(reader),
    ballotsPath: readPath(reader),
  };
}
