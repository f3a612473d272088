// The header (SPEC section 10): what each coordinator attests, once per seq.

import { concat, equal, toHex } from "./bytes.js";
import { encodeArray, encodeBytes, Reader } from "./cbor.js";
import { keyId } from "./key.js";
import { DecodeError } from "./refusal.js";
import { readDigest } from "./shapes.js";
import { ALGORITHM, signature1 } from "./signature.js";

export const TEMPLATE_LENGTH_MAX = 512;

export interface Header {
  readonly genesis: Uint8Array;
  readonly epoch: number;
  readonly config: Uint8Array;
  readonly seq: number;
  readonly treeSize: number;
  /** The root of the ledger tree over all headers before this one. */
  readonly ledgerRoot: Uint8Array;
  /** The seq of the last block with a governance entry, 0 if there was none. */
  readonly governanceSeq: number;
  readonly agreedMs: number;
  /** The received bytes: the protected header without a key id. */
  readonly template: Uint8Array;
}

/** A template that fills `template`; anything that differs from the one form is refused. */
export function decodeTemplate(template: Uint8Array): Header {
  return Reader.all(template, (reader) => {
    reader.map(5);
    reader.exactly(1);
    reader.exactly(ALGORITHM);
    reader.exactly(15);
    reader.map(3);
    reader.exactly(1);
    const issuer = reader.text();
    reader.exactly(2);
    reader.exactText("ledger");
    reader.exactly(6);
    const issuedAtS = reader.uint();
    reader.exactly(16);
    reader.exactText("application/dropbear-header+cose;v=1");
    reader.exactly(395);
    reader.exactly(1);
    reader.exactly(-70001);
    const fields = readFields(reader);
    if (issuer !== `dropbear:${toHex(fields.genesis.subarray(0, 8))}`)
      throw new DecodeError("the issuer is another market");
    if (issuedAtS !== Math.floor(fields.agreedMs / 1000)) throw new DecodeError("it is issued at another second");
    return { ...fields, template };
  });
}

function readFields(reader: Reader): Omit<Header, "template"> {
  reader.array(9);
  reader.exactly(1);
  const fields = {
    genesis: readDigest(reader),
    epoch: reader.uint(),
    config: readDigest(reader),
    seq: reader.uint(),
    treeSize: reader.uint(),
    ledgerRoot: readDigest(reader),
    governanceSeq: reader.uint(),
    agreedMs: reader.uint(),
  };
  if (fields.seq === 0) throw new DecodeError("seqs count from 1");
  return fields;
}

/** The first bytes of every template: a map of 5 pairs, and its first pair. */
const TEMPLATE_PREFIX = Uint8Array.of(0xa5, 0x01, 0x27);
const PROTECTED_PREFIX = Uint8Array.of(0xa6, 0x01, 0x27);

/** The protected header as the key's holder signs it: the template with `4: key id` after its first pair. */
export function protectedHeader({ template }: Header, key: Uint8Array): Uint8Array {
  if (!equal(template.subarray(0, 3), TEMPLATE_PREFIX)) throw new TypeError("a decoded template begins otherwise");
  return concat(PROTECTED_PREFIX, Uint8Array.of(4), encodeBytes(keyId(key)), template.subarray(3));
}

/** What the member with this attestation key signs. */
export function headerToSign(header: Header, key: Uint8Array, recordRoot: Uint8Array): Uint8Array {
  return signature1(protectedHeader(header, key), recordRoot);
}

/** The header's leaf in the ledger tree. */
export function ledgerLeaf(template: Uint8Array, recordRoot: Uint8Array): Uint8Array {
  return encodeArray([encodeBytes(template), encodeBytes(recordRoot)]);
}
