// The certificate (SPEC section 11): parsed, and consistent in itself, but not verified against any trust root.

import { equal } from "./bytes.js";
import { type Attachments, readAttachments } from "./attachments.js";
import { Reader } from "./cbor.js";
import { decodeTemplate, type Header, ledgerLeaf, TEMPLATE_LENGTH_MAX } from "./header.js";
import { leafHash, rootOfPath } from "./merkle.js";
import { type Attestations, readAttestations } from "./quorum.js";
import { decodeRecord, type InferenceRecord, RECORD_LENGTH_MAX } from "./record.js";
import { decoding, require } from "./refusal.js";
import { readPath } from "./shapes.js";
import { tag } from "./sha256.js";

export const CERTIFICATE_LENGTH_MAX = 65536;
const VERSION = 1;
const ITEMS_MAX = 255;

/** What a file says. Nobody has attested it as far as this type knows. */
export interface Certificate {
  readonly header: Header;
  readonly path: Uint8Array;
  readonly attestations: Attestations;
  readonly record: InferenceRecord;
  readonly attachments: Attachments;
  /** The root of the record tree that the path leads to. */
  readonly recordRoot: Uint8Array;
  /** Equal for every quorum of the same record. */
  readonly id: Uint8Array;
}

/** Steps 1 to 5 of section 13: those that need no trust root. */
export function parseCertificate(received: Uint8Array): Certificate {
  // 1
  require(received.length <=
    CERTIFICATE_LENGTH_MAX, "too-large", `a certificate has at most ${CERTIFICATE_LENGTH_MAX} bytes`);
  // A copy: the caller may change its bytes while signatures are awaited, and Node's Buffer slices by reference.
  const bytes = Uint8Array.from(received);
  // 2
  const version = decoding("malformed", "certificate", () => readVersion(bytes));
  require(version === VERSION, "unknown-version", `version ${version} is not known here; a newer verifier may know it`);
  // 3
  const { template, path, attestations, recordBytes, attachments } = decoding("malformed", "certificate", () =>
    Reader.all(bytes, readItems),
  );
  // 4
  const record = decoding("malformed-record", "record", () => decodeRecord(recordBytes));
  // 4a
  const header = decoding("malformed-header", "header", () => decodeTemplate(template));
  // 5
  const recordRoot = rootOfPath(leafHash(recordBytes), record.leafIndex, header.treeSize, path);
  require(recordRoot !== null, "bad-path", "the path does not fit the leaf index and the tree size");
  return { header, path, attestations, record, attachments, recordRoot, id: certificateId(header, recordRoot, record) };
}

function readVersion(bytes: Uint8Array): number {
  const reader = new Reader(bytes);
  reader.arrayHead(ITEMS_MAX);
  return reader.uint();
}

function readItems(reader: Reader) {
  reader.array(7);
  reader.exactly(VERSION);
  const template = reader.bytes(TEMPLATE_LENGTH_MAX);
  const path = readPath(reader);
  const attestations = readAttestations(reader);
  const recordBytes = reader.bytes(RECORD_LENGTH_MAX);
  return { template, path, attestations, recordBytes, attachments: readAttachments(reader) };
}

function certificateId({ template }: Header, recordRoot: Uint8Array, { leafIndex }: InferenceRecord): Uint8Array {
  const index = new DataView(new ArrayBuffer(8));
  index.setBigUint64(0, BigInt(leafIndex));
  return tag("dropbear/certificate/v1", leafHash(ledgerLeaf(template, recordRoot)), new Uint8Array(index.buffer));
}

/** Whether two certificates are of the same header. */
export function sameHeader(a: Certificate, b: Certificate): boolean {
  return equal(a.header.template, b.header.template) && equal(a.recordRoot, b.recordRoot);
}
