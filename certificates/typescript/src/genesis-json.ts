// The JSON form of a genesis (SPEC section 5). The digest is computed from the CBOR encoding, never from this text: what
// JSON.parse does not tell apart (1 and 1.0, a member named twice) changes nothing that the digest does not cover.

import { equal, fromHex, toHex } from "./bytes.js";
import {
  type Charter,
  type Genesis,
  labelsDigest,
  makeCharter,
  makeCommittee,
  makeGenesis,
  type Member,
  type Owner,
} from "./genesis.js";
import { isAdmissible } from "./key.js";
import { isTensorForm, type Level, LEVEL_NAMES, type Policy, type TensorForm } from "./policy.js";
import { DecodeError } from "./refusal.js";
import { CLASS_MAX } from "./vote.js";

/** The file that was given as trust root is none. */
export class TrustRootError extends Error {
  override readonly name = "TrustRootError";
}

/** Label tables by the hex of their digest, class 0 first. */
export type LabelTables = ReadonlyMap<string, readonly string[]>;

/** Reads a genesis from JSON text, with the label tables that it carries. */
export function genesisFromJson(json: string): { genesis: Genesis; labels: LabelTables } {
  try {
    return readGenesis(new Json(JSON.parse(json), "genesis"));
  } catch (error) {
    if (!(error instanceof DecodeError || error instanceof SyntaxError)) throw error;
    throw new TrustRootError(`this file is not a genesis: ${error.message}`, { cause: error });
  }
}

/** A value of a JSON document and where it stands. */
class Json {
  readonly #value: unknown;
  readonly #where: string;

  constructor(value: unknown, where: string) {
    this.#value = value;
    this.#where = where;
  }

  /** An object with exactly these members, but for those whose name ends in `?`, which may be absent (and then are null). */
  object(...names: readonly string[]): (name: string) => Json {
    const value = this.#value;
    if (typeof value !== "object" || value === null || Array.isArray(value)) this.fail("is not an object");
    const known = names.map((name) => name.replace("?", ""));
    for (const name of Object.keys(value)) if (!known.includes(name)) this.fail(`has an unknown member "${name}"`);
    for (const name of names) if (!name.endsWith("?") && !Object.hasOwn(value, name)) this.fail(`has no "${name}"`);
    const members = new Map<string, unknown>(Object.entries(value));
    return (name) => new Json(members.get(name) ?? null, `${this.#where}.${name}`);
  }

  list(): Json[] {
    const value = this.#value;
    if (!Array.isArray(value)) this.fail("is not a list");
    return value.map((item: unknown, i) => new Json(item, `${this.#where}[${i}]`));
  }

  /** An object's name for what it is: the text itself, or the member `name`. */
  isText(): boolean {
    return typeof this.#value === "string";
  }

  isNull(): boolean {
    return this.#value === null;
  }

  text(): string {
    if (typeof this.#value !== "string") this.fail("is not a text");
    if (/\p{Surrogate}/u.test(this.#value)) this.fail("is not Unicode text");
    return this.#value;
  }

  int(min: number, max: number): number {
    const value = this.#value;
    if (typeof value !== "number" || !Number.isSafeInteger(value)) this.fail("is not an integer");
    if (Object.is(value, -0)) this.fail("is spelled -0");
    if (value < min || value > max) this.fail(`is not between ${min} and ${max}`);
    return value;
  }

  uint(max: number = Number.MAX_SAFE_INTEGER): number {
    return this.int(0, max);
  }

  hex32(): Uint8Array {
    const bytes = fromHex(this.text());
    if (bytes?.length !== 32) this.fail("is not 32 bytes in lower-case hex");
    return bytes;
  }

  key(): Uint8Array {
    const bytes = this.hex32();
    if (!isAdmissible(bytes)) this.fail("is not an admissible key");
    return bytes;
  }

  fail(problem: string): never {
    throw new DecodeError(`${this.#where} ${problem}`);
  }
}

function readGenesis(json: Json): { genesis: Genesis; labels: LabelTables } {
  const member = json.object("format", "market", "digest", "created_ms", "rules", "committee", "gateways", "groups");
  if (member("format").text() !== "dropbear-genesis/1") member("format").fail("is not dropbear-genesis/1");
  const rules = member("rules").object("request_lifetime_ms_max", "clock_skew_ms_max");
  const committee = member("committee").object("epoch", "members");
  const labels = new Map<string, readonly string[]>();
  const genesis = makeGenesis({
    market: member("market").text(),
    createdMs: member("created_ms").uint(),
    requestLifetimeMsMax: rules("request_lifetime_ms_max").uint(),
    clockSkewMsMax: rules("clock_skew_ms_max").uint(),
    committee: makeCommittee(committee("epoch").uint(), committee("members").list().map(readMember)),
    gateways: member("gateways").list().map(readGateway),
    charters: member("groups")
      .list()
      .map((group) => readGroup(group, labels)),
  });
  const digest = member("digest").hex32();
  if (!equal(genesis.digest, digest)) member("digest").fail(`is not that of the content, ${toHex(genesis.digest)}`);
  return { genesis, labels };
}

function readMember(json: Json): Member {
  const member = json.object("name", "attestation_key", "engine_key");
  return {
    name: member("name").text(),
    attestationKey: member("attestation_key").key(),
    engineKey: member("engine_key").key(),
  };
}

function readGateway(json: Json): { name: string; key: Uint8Array } {
  const member = json.object("name", "key");
  return { name: member("name").text(), key: member("key").key() };
}

function readGroup(json: Json, tables: Map<string, readonly string[]>): Charter {
  const member = json.object(
    ...[
      "group",
      "task",
      "classes",
      "policy",
      "fault_bound",
      "assurance",
      "notice_blocks",
      "approvals",
      "fee",
      "owners",
    ],
    "labels?",
  );
  return makeCharter({
    group: member("group").text(),
    task: member("task").text(),
    classes: member("classes").uint(CLASS_MAX),
    labels: readLabels(member("labels"), tables),
    roster: member("owners").list().map(readOwner),
    policy: readPolicy(member("policy")),
    faults: member("fault_bound").uint(),
    assurance: readAssurance(member("assurance")),
    noticeBlocks: member("notice_blocks").uint(),
    approvals: member("approvals").uint(),
    fee: member("fee").uint(),
  });
}

function readLabels(json: Json, tables: Map<string, readonly string[]>): Uint8Array | null {
  if (json.isNull()) return null;
  const labels = json.list().map((label) => label.text());
  const digest = labelsDigest(labels);
  tables.set(toHex(digest), labels);
  return digest;
}

function readOwner(json: Json): Owner {
  const member = json.object("name", "key", "controlling_party", "lineage");
  return {
    name: member("name").text(),
    key: member("key").key(),
    party: member("controlling_party").text(),
    lineage: member("lineage").text(),
  };
}

function readAssurance(json: Json): Level {
  const level = LEVEL_NAMES.indexOf(json.text() as (typeof LEVEL_NAMES)[number]);
  if (level < 1) json.fail("is not supported, decisive or robust");
  return level as Level;
}

const PARAMETERS = new Map<string, readonly string[]>([
  ["plurality", []],
  ["borda", ["ranks"]],
  ["exact", ["quorum"]],
  ["median", ["tensor"]],
  ["trimmed-mean", ["tensor"]],
  ["within", ["tensor", "epsilon", "quorum"]],
]);

function readPolicy(json: Json): Policy {
  if (json.isText()) {
    if (json.text() !== "plurality") json.fail('is a text other than "plurality"');
    return { name: "plurality" };
  }
  const any = json.object("name", "ranks?", "quorum?", "tensor?", "epsilon?");
  const name = any("name").text();
  const parameters = PARAMETERS.get(name);
  if (parameters === undefined) json.fail(`names an unknown policy "${name}"`);
  const member = json.object("name", ...parameters);
  switch (name) {
    case "borda":
      return { name, ranks: member("ranks").uint() };
    case "exact":
      return { name, quorum: member("quorum").uint() };
    case "median":
    case "trimmed-mean":
      return { name, tensor: readTensorForm(member("tensor")) };
    case "within":
      return {
        name,
        tensor: readTensorForm(member("tensor")),
        epsilon: member("epsilon").uint(),
        quorum: member("quorum").uint(),
      };
    default:
      return { name: "plurality" };
  }
}

function readTensorForm(json: Json): TensorForm {
  const member = json.object("length", "fraction_bits", "min", "max");
  const form = {
    length: member("length").uint(),
    fractionBits: member("fraction_bits").uint(),
    min: member("min").int(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    max: member("max").int(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  };
  if (!isTensorForm(form)) json.fail("is out of bounds");
  return form;
}
