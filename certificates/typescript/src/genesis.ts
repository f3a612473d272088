// Genesis, committee, charter and model set (SPEC section 5).

import { toHex } from "./bytes.js";
import { encodeArray, encodeBytes, encodeInt, encodeOrNull, encodeText, Reader } from "./cbor.js";
import { encodePolicy, isWellFormedPolicy, type Level, type Policy, readPolicy, strongest } from "./policy.js";
import { DecodeError } from "./refusal.js";
import { isAllowedName, NAME_LENGTH_MAX, PLACES_MAX, readDigest, readKey, readName } from "./shapes.js";
import { tag } from "./sha256.js";
import { CLASS_MAX } from "./vote.js";

const DISCLOSURE_LENGTH_MAX = 256;
export const GATEWAYS_MAX = 1024;
export const CHARTERS_MAX = 1024;

export interface Member {
  readonly name: string;
  readonly attestationKey: Uint8Array;
  readonly engineKey: Uint8Array;
}

/** The members of one epoch. */
export interface Committee {
  readonly epoch: number;
  readonly members: readonly Member[];
  /** The config digest. */
  readonly digest: Uint8Array;
}

export interface Owner {
  readonly name: string;
  readonly key: Uint8Array;
  readonly party: string;
  readonly lineage: string;
}

/** A model group's terms. */
export interface CharterTerms {
  readonly group: string;
  readonly task: string;
  readonly classes: number;
  readonly labels: Uint8Array | null;
  readonly roster: readonly Owner[];
  readonly policy: Policy;
  readonly faults: number;
  readonly assurance: Level;
  readonly noticeBlocks: number;
  readonly approvals: number;
  readonly fee: number;
}

export interface Charter extends CharterTerms {
  readonly digest: Uint8Array;
}

/** One model version, named by digest. */
export interface ModelVersion {
  readonly model: string;
  readonly version: string;
  readonly digest: Uint8Array;
}

/** One per roster place; null where the owner has none. */
export type ModelSet = readonly (ModelVersion | null)[];

/** floor((n - 1) / 3): how many of n may be faulty. */
export function faultsMax(count: number): number {
  return Math.floor((count - 1) / 3);
}

/** q = n - f. Never 2f + 1: at n = 5 or 6 two such quorums can miss each other's honest members. */
export function quorumOf({ members }: Committee): number {
  return members.length - faultsMax(members.length);
}

function allDifferent(items: readonly string[]): boolean {
  return new Set(items).size === items.length;
}

function check(condition: boolean, problem: string): void {
  if (!condition) throw new DecodeError(problem);
}

/** A committee, if it is well formed. */
export function makeCommittee(epoch: number, members: readonly Member[]): Committee {
  check(1 <= members.length && members.length <= PLACES_MAX, "a committee has 1 to 128 members");
  check(
    members.every(({ name }) => isAllowedName(name)),
    "a member's name is not allowed",
  );
  check(allDifferent(members.map(({ name }) => name)), "two members share a name");
  check(
    allDifferent(members.map(({ attestationKey }) => toHex(attestationKey))),
    "two members share an attestation key",
  );
  check(allDifferent(members.map(({ engineKey }) => toHex(engineKey))), "two members share an engine key");
  return { epoch, members, digest: tag("dropbear/config/v1", encodeCommittee(epoch, members)) };
}

export function encodeCommittee(epoch: number, members: readonly Member[]): Uint8Array {
  const member = ({ name, attestationKey, engineKey }: Member): Uint8Array =>
    encodeArray([encodeText(name), encodeBytes(attestationKey), encodeBytes(engineKey)]);
  return encodeArray([encodeInt(epoch), encodeArray(members.map(member))]);
}

/** A well-formed committee that fills `bytes`. */
export function decodeCommittee(bytes: Uint8Array): Committee {
  return Reader.all(bytes, (reader) => {
    reader.array(2);
    const epoch = reader.uint();
    const members = reader.list(PLACES_MAX, (item) => {
      item.array(3);
      return { name: readName(item), attestationKey: readKey(item), engineKey: readKey(item) };
    });
    return makeCommittee(epoch, members);
  });
}

/** A charter, if it is well formed. */
export function makeCharter(terms: CharterTerms): Charter {
  const { roster, faults, policy, assurance } = terms;
  check(isAllowedName(terms.group), "the group's name is not allowed");
  check(isText(terms.task, NAME_LENGTH_MAX), "the task's name is too long");
  check(1 <= roster.length && roster.length <= PLACES_MAX, "a charter has 1 to 128 owners");
  check(faults <= faultsMax(roster.length), "more faults than the roster can bear");
  check(
    roster.every(({ name }) => isAllowedName(name)),
    "an owner's name is not allowed",
  );
  check(
    roster.every(({ party }) => isText(party, DISCLOSURE_LENGTH_MAX)),
    "a controlling party is too long",
  );
  check(
    roster.every(({ lineage }) => isText(lineage, DISCLOSURE_LENGTH_MAX)),
    "a lineage is too long",
  );
  check(allDifferent(roster.map(({ name }) => name)), "two owners share a name");
  check(allDifferent(roster.map(({ key }) => toHex(key))), "two owners share a key");
  check(isWellFormedPolicy(policy, roster.length, faults), "the policy does not fit the roster");
  check(1 <= assurance && assurance <= strongest(policy), "the assurance is not one that the policy reaches");
  return { ...terms, digest: tag("dropbear/charter/v1", encodeCharter(terms)) };
}

function isText(text: string, lengthMax: number): boolean {
  return new TextEncoder().encode(text).length <= lengthMax;
}

export function encodeCharter(terms: CharterTerms): Uint8Array {
  const owner = ({ name, key, party, lineage }: Owner): Uint8Array =>
    encodeArray([encodeText(name), encodeBytes(key), encodeText(party), encodeText(lineage)]);
  return encodeArray([
    encodeInt(1),
    encodeText(terms.group),
    encodeText(terms.task),
    encodeInt(terms.classes),
    encodeOrNull(terms.labels),
    encodeArray(terms.roster.map(owner)),
    encodePolicy(terms.policy),
    encodeInt(terms.faults),
    encodeInt(terms.assurance),
    encodeInt(terms.noticeBlocks),
    encodeInt(terms.approvals),
    encodeInt(terms.fee),
  ]);
}

/** A well-formed charter that fills `bytes`. */
export function decodeCharter(bytes: Uint8Array): Charter {
  return Reader.all(bytes, (reader) => {
    reader.array(12);
    reader.exactly(1);
    return makeCharter({
      group: readName(reader),
      task: readName(reader),
      classes: reader.uint(CLASS_MAX),
      labels: reader.orNull(readDigest),
      roster: reader.list(PLACES_MAX, readOwner),
      policy: readPolicy(reader),
      faults: reader.uint(),
      assurance: reader.uint(3) as Level,
      noticeBlocks: reader.uint(),
      approvals: reader.uint(),
      fee: reader.uint(),
    });
  });
}

function readOwner(reader: Reader): Owner {
  reader.array(4);
  return {
    name: readName(reader),
    key: readKey(reader),
    party: reader.text(DISCLOSURE_LENGTH_MAX),
    lineage: reader.text(DISCLOSURE_LENGTH_MAX),
  };
}

/** A model set that fills `bytes`. */
export function decodeModelSet(bytes: Uint8Array): ModelSet {
  const readVersion = (reader: Reader): ModelVersion => {
    reader.array(3);
    return { model: readName(reader), version: readName(reader), digest: readDigest(reader) };
  };
  return Reader.all(bytes, (reader) => reader.list(PLACES_MAX, (item) => item.orNull(readVersion)));
}

export function modelSetDigest(bytes: Uint8Array): Uint8Array {
  return tag("dropbear/model-set/v1", bytes);
}

export function labelsDigest(labels: readonly string[]): Uint8Array {
  return tag("dropbear/labels/v1", encodeArray(labels.map(encodeText)));
}

/** What a market starts from. */
export interface Genesis {
  readonly market: string;
  readonly createdMs: number;
  readonly requestLifetimeMsMax: number;
  readonly clockSkewMsMax: number;
  readonly committee: Committee;
  readonly gateways: readonly { readonly name: string; readonly key: Uint8Array }[];
  readonly charters: readonly Charter[];
  readonly digest: Uint8Array;
}

/** A genesis, if it is well formed. Committee and charters are already. */
export function makeGenesis(terms: Omit<Genesis, "digest">): Genesis {
  const { committee, gateways, charters } = terms;
  check(isAllowedName(terms.market), "the market's name is not allowed");
  check(committee.epoch === 0, "the first committee has epoch 0");
  check(gateways.length <= GATEWAYS_MAX, "there are more than 1024 gateways");
  check(
    gateways.every(({ name }) => isAllowedName(name)),
    "a gateway's name is not allowed",
  );
  check(charters.length <= CHARTERS_MAX, "there are more than 1024 groups");
  check(allDifferent(charters.map(({ group }) => group)), "two charters have the same group");
  return { ...terms, digest: tag("dropbear/genesis/v1", encodeGenesis(terms)) };
}

export function encodeGenesis(terms: Omit<Genesis, "digest">): Uint8Array {
  const { epoch, members } = terms.committee;
  return encodeArray([
    encodeInt(1),
    encodeText(terms.market),
    encodeInt(terms.createdMs),
    encodeArray([terms.requestLifetimeMsMax, terms.clockSkewMsMax].map(encodeInt)),
    encodeCommittee(epoch, members),
    encodeArray(terms.gateways.map(({ name, key }) => encodeArray([encodeText(name), encodeBytes(key)]))),
    encodeArray(terms.charters.map((charter) => encodeBytes(encodeCharter(charter)))),
  ]);
}
