#!/usr/bin/env node
// dropbear-verify-ts: verifies certificates on the command line. Exit 0: all hold; 1: one is refused; 2: wrong usage.

import { createReadStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { fromHex, toHex } from "./bytes.js";
import { LEVEL_NAMES } from "./policy.js";
import type { InferenceRecord } from "./record.js";
import { Refusal } from "./refusal.js";
import { imageDigest } from "./request.js";
import { TrustRoot } from "./trust.js";
import { type Verified, verify } from "./verify.js";

const USAGE = `Verifies Dropbear inference certificates against a trust root, offline.

usage: dropbear-verify-ts CERT... --trust GENESIS.json [--chain FILE] [--image FILE] [--label LABEL] [--json]
       dropbear-verify-ts --corpus FILE.jsonl --trust FOLDER

  --trust   the genesis file to trust; with --corpus, the folder of the trust roots that its lines name
  --chain   a governance chain that extends the trust root first
  --image   the image that the answer must be about
  --label   the label, or the class number, that the answer must be
  --json    one JSON object a certificate
  --corpus  check verdict and reason code of every line { trust, chain?, certificate, expect: { ok, code? } }

exit: 0 all hold, 1 any is refused or any verdict differs, 2 wrong usage or unreadable files`;

/** The command cannot be carried out as given. */
class UsageError extends Error {}

/** Names in certificates are anybody's text: nothing of it may steer a terminal. */
const printable = (text: string): string => text.replaceAll(/\p{C}/gu, "\u{fffd}");

const short = (digest: Uint8Array): string => toHex(digest.subarray(0, 4));

async function main(): Promise<number> {
  const { values, positionals } = readArguments();
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.trust === undefined) throw new UsageError("--trust is missing: name the genesis file to trust");
  if (values.corpus !== undefined) return checkCorpus(values.corpus, values.trust);
  if (positionals.length === 0) throw new UsageError("there is no certificate to verify");
  const trust = await readTrust(values.trust, values.chain);
  const image = values.image === undefined ? null : imageDigest(read(values.image));
  const expected: Expected = { image, label: values.label ?? null };
  let refused = 0;
  for (const file of positionals) {
    try {
      const verified = await verify(read(file), trust);
      requireExpected(verified, expected);
      console.log(
        values.json
          ? JSON.stringify(proven(file, verified))
          : `VERIFIED  ${file}\n${statement(verified, trust, expected)}`,
      );
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof Unexpected)) throw error;
      refused++;
      const { code, message: reason } = error;
      console.log(
        values.json
          ? JSON.stringify({ file, verified: false, code, reason })
          : `REFUSED   ${file}\n  ${printable(reason)} (${code})`,
      );
    }
  }
  return refused === 0 ? 0 : 1;
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        trust: { type: "string" },
        chain: { type: "string" },
        image: { type: "string" },
        label: { type: "string" },
        json: { type: "boolean", default: false },
        corpus: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function read(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Strictly: other bytes must not pass for the genesis that they are mistaken for. */
function utf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

async function readTrust(file: string, chain: string | undefined): Promise<TrustRoot> {
  const root = TrustRoot.fromJson(utf8(read(file)));
  return chain === undefined ? root : root.extended(read(chain));
}

interface Expected {
  readonly image: Uint8Array | null;
  readonly label: string | null;
}

/** A certificate that verifies, but not about what the user expects. */
class Unexpected extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

function requireExpected(verified: Verified, { image, label }: Expected): void {
  const about = image === null ? true : verified.isAboutInput(image);
  if (about === null)
    throw new Unexpected(
      "request-hidden",
      "the certificate does not show its request: it cannot be held against the image",
    );
  if (!about) throw new Unexpected("other-image", "the certificate is about another image");
  if (label === null) return;
  if (verified.class !== null) {
    if (label === String(verified.class) || label === verified.label) return;
    throw new Unexpected("other-label", `the certified answer is "${verified.label}", not "${label}"`);
  }
  if (verified.outcome === "no-agreement")
    throw new Unexpected("no-agreement", "the models did not agree: no label is certified");
  throw new Unexpected("votes-hidden", "the certificate does not show its votes: it names no label");
}

/** What a verified certificate proves, for people. */
function statement(verified: Verified, { genesis }: TrustRoot, { image }: Expected): string {
  const { record, committee } = verified;
  const quorum = committee.members.length - Math.floor((committee.members.length - 1) / 3);
  const lines: [string, string][] = [
    ["answer", answer(verified)],
    ...votes(verified).map((text): [string, string] => ["votes", text]),
    ["request", request(verified, image !== null)],
    ["models", models(verified)],
    [
      "attested by",
      `${verified.signerNames.join(", ")} (${verified.signers.length} of ${committee.members.length}, quorum ${quorum})`,
    ],
    ["when", `${time(record.agreedMs)}, block ${record.seq}, leaf ${record.leafIndex}`],
    ["trust root", `genesis ${toHex(genesis.digest)}, made ${time(genesis.createdMs)}`],
  ];
  if (!verified.trustCurrent)
    lines.push(["", "there is governance beyond this trust root: the charter may have been replaced since"]);
  lines.push(["not proven", "that the named weights computed these votes; that the owners are independent"]);
  lines.push(["", "of each other (they disclose it); that nobody asked before under another nonce."]);
  return lines.map(([name, value]) => `  ${name.padEnd(12)}${printable(value)}\n`).join("");
}

function answer(verified: Verified): string {
  const demand = LEVEL_NAMES[verified.record.demand]!;
  if (verified.outcome === "no-agreement") return `no agreement: the votes cannot reach ${demand}`;
  if (verified.class !== null)
    return `"${verified.label}" (class ${verified.class}), ${verified.assurance} (${demand} was demanded)`;
  return `agreed, ${verified.assurance}; ${verified.result === null ? "the result is not shown" : `the result is ${toHex(verified.result.bytes)}`}`;
}

function votes(verified: Verified): string[] {
  const { record, charter, attachments } = verified;
  const names = (places: readonly number[]): string => places.map((place) => charter.roster[place]!.name).join(", ");
  const lines = record.votes.map(({ commitment, owners }, i) => {
    if (commitment === null) return `no answer: ${names(owners)}`;
    const vote = attachments.votes?.votes[i] ?? attachments.single?.find(({ group }) => group === i)?.vote;
    if (vote === null || vote === undefined) return `hidden vote ${short(commitment)}: ${names(owners)}`;
    return `${vote.kind === "class" ? verified.labelOf(vote.class) : toHex(vote.bytes)}: ${names(owners)}`;
  });
  const counted = new Set(record.votes.flatMap(({ owners }) => owners));
  const missing = charter.roster.map((_, place) => place).filter((place) => !counted.has(place));
  if (missing.length > 0) lines.push(`missing: ${names(missing)}`);
  if (verified.ownersProven.length > 0) lines.push(`signed by their owners: ${names(verified.ownersProven)}`);
  return lines;
}

function request(verified: Verified, imageGiven: boolean): string {
  const shown = verified.attachments.request;
  const vouched = shown?.signature ? "signed by the client" : "signed by the client, by the committee's word";
  const origin =
    verified.origin === "client-signed" ? vouched : "named by the gateway (says nothing about who asked, or how often)";
  if (shown === null) return `input not shown; ${origin}`;
  return imageGiven ? `about the given image; ${origin}` : `about input ${toHex(shown.input)}; ${origin}`;
}

function models(verified: Verified): string {
  if (verified.models === null) return `the set ${short(verified.record.modelSet)} (not shown)`;
  return verified.models
    .flatMap((version, place) =>
      version === null
        ? []
        : [`${verified.charter.roster[place]?.name ?? place} ${version.model} ${short(version.digest)}`],
    )
    .join("; ");
}

function time(unixMs: number): string {
  const date = new Date(unixMs);
  if (Number.isNaN(date.getTime())) return `${unixMs} ms after 1970`;
  const stamp = date.toISOString().replace(/\.\d+/, "");
  const days = Math.floor((Date.now() - unixMs) / 86_400_000);
  return days < 0 ? `${stamp} (in the future by this clock)` : `${stamp} (${days} days ago)`;
}

/** What a verified certificate proves, for programs. */
function proven(file: string, verified: Verified): unknown {
  const { label, signers } = verified;
  return { file, verified: true, class: verified.class, label, signers, record: recordJson(verified.record) };
}

function recordJson(record: InferenceRecord): unknown {
  return {
    genesis: toHex(record.genesis),
    epoch: record.epoch,
    config: toHex(record.config),
    group: record.group,
    charter: toHex(record.charter),
    model_set: toHex(record.modelSet),
    request_id: toHex(record.requestId),
    request_commitment: toHex(record.requestCommitment),
    expiry_ms: record.expiryMs,
    origin: record.origin === "client-signed" ? "client" : "gateway",
    policy: record.policy.name,
    owners: record.owners,
    fault_bound: record.faults,
    demand: LEVEL_NAMES[record.demand],
    votes: record.votes.map(({ commitment, owners }) => ({ commitment: commitment && toHex(commitment), owners })),
    outcome: record.outcome,
    assurance: LEVEL_NAMES[record.assurance],
    ballots_root: toHex(record.ballotsRoot),
    seq: record.seq,
    leaf_index: record.leafIndex,
    agreed_ms: record.agreedMs,
  };
}

interface CorpusLine {
  readonly trust: string;
  readonly chain?: string;
  readonly certificate: string;
  readonly expect: { readonly ok: boolean; readonly code?: string };
}

/** Holds our verdicts against those of a corpus. */
async function checkCorpus(file: string, folder: string): Promise<number> {
  const roots = new Map<string, Promise<TrustRoot>>();
  const rootOf = ({ trust, chain }: CorpusLine): Promise<TrustRoot> => {
    const name = `${trust} ${chain ?? ""}`;
    const root =
      roots.get(name) ?? extend(TrustRoot.fromJson(utf8(read(join(folder, trust)))), chain);
    roots.set(name, root);
    return root;
  };
  let lines = 0;
  let differing = 0;
  const start = performance.now();
  for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    if (text === "") continue;
    lines++;
    const line = JSON.parse(text) as CorpusLine;
    const found = await codeOf(unhex(line.certificate), rootOf(line));
    const expected = line.expect.ok ? "verified" : line.expect.code;
    if (found === expected) continue;
    differing++;
    console.log(`DIFFERS   line ${lines}: found ${found}, expected ${expected}`);
  }
  const seconds = (performance.now() - start) / 1000;
  console.log(`${lines} lines, ${differing} differ; ${Math.round(lines / seconds)} lines/s`);
  if (lines === 0) throw new UsageError(`${file} is empty`);
  return differing === 0 ? 0 : 1;
}

function unhex(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes === null) throw new UsageError("a byte string of the corpus is not hex");
  return bytes;
}

async function extend(root: TrustRoot, chain: string | undefined): Promise<TrustRoot> {
  return chain === undefined ? root : root.extended(unhex(chain));
}

async function codeOf(certificate: Uint8Array, trust: Promise<TrustRoot>): Promise<string> {
  try {
    await verify(certificate, await trust);
    return "verified";
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`dropbear-verify-ts: ${error instanceof Error ? error.message : String(error)}`);
  if (error instanceof UsageError) console.error("See dropbear-verify-ts --help.");
  process.exitCode = 2;
}
