// Signatures (SPEC section 3, rules 2 and 3), and the exact bytes that are signed.

import { equal, fromHex, toHex } from "./bytes.js";
import { encodeArray, encodeBytes, encodeInt, encodeMap, encodeText } from "./cbor.js";
import { keyId, L, littleEndian } from "./key.js";

/** COSE algorithm -8, EdDSA. */
export const ALGORITHM = -8;
const EMPTY = new Uint8Array(0);
const IDENTITY = Uint8Array.of(1, ...new Uint8Array(31));

/** The bytes of a COSE_Sign1's Sig_structure (RFC 9052 section 4.4) with empty external data. */
export function signature1(protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array {
  return encodeArray([
    encodeText("Signature1"),
    encodeBytes(protectedHeader),
    encodeBytes(EMPTY),
    encodeBytes(payload),
  ]);
}

/** The media type of a statement; it keeps a signature of one kind from passing for another. */
export type StatementType = "application/dropbear-request+cose;v=1" | "application/dropbear-ballot+cose;v=1";

/** What the key's holder signs when it signs a statement. */
export function statementToSign(type: StatementType, key: Uint8Array, statement: Uint8Array): Uint8Array {
  const protectedHeader = encodeMap([
    [1, encodeInt(ALGORITHM)],
    [4, encodeBytes(keyId(key))],
    [16, encodeText(type)],
  ]);
  return signature1(protectedHeader, statement);
}

/** Importing a key costs WebCrypto as much as a good part of a verification. */
const IMPORTED_KEYS_MAX = 1024;
const imported = new Map<string, Promise<CryptoKey>>();

function importKey(key: Uint8Array): Promise<CryptoKey> {
  const name = toHex(key);
  let found = imported.get(name);
  if (found === undefined) {
    found = crypto.subtle.importKey("raw", key as BufferSource, "Ed25519", true, ["verify"]);
    if (imported.size >= IMPORTED_KEYS_MAX) imported.clear();
    imported.set(name, found);
  }
  return found;
}

/**
 * Whether an *admissible* key signed the message. On admitted keys WebCrypto follows the rules but for R = identity; the
 * bound on S is checked here as well, so that it hangs on no implementation.
 */
export async function isSigned(key: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (signature.length !== 64) return false;
  if (equal(signature.subarray(0, 32), IDENTITY)) return false;
  if (littleEndian(signature.subarray(32)) >= L) return false;
  return crypto.subtle.verify("Ed25519", await importKey(key), signature as BufferSource, message as BufferSource);
}

/** The DER of an Ed25519 private key (RFC 8410) up to its 32 bytes; WebCrypto does not import them raw. */
const PKCS8_PREFIX = fromHex("302e020100300506032b657004220420")!;

/** A key pair that signs. */
export class SigningKey {
  /** The public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly #secret: CryptoKey;

  private constructor(publicKey: Uint8Array, secret: CryptoKey) {
    this.publicKey = publicKey;
    this.#secret = secret;
  }

  /** A new key of this platform's random source. */
  static generate(): Promise<SigningKey> {
    return SigningKey.fromSecret(crypto.getRandomValues(new Uint8Array(32)));
  }

  /** The key of 32 secret bytes (the seed of RFC 8032). */
  static async fromSecret(secret: Uint8Array): Promise<SigningKey> {
    if (secret.length !== 32) throw new RangeError("a secret key has 32 bytes");
    const der = Uint8Array.of(...PKCS8_PREFIX, ...secret);
    const key = await crypto.subtle.importKey("pkcs8", der, "Ed25519", true, ["sign"]);
    const { x } = await crypto.subtle.exportKey("jwk", key);
    if (x === undefined) throw new Error("WebCrypto did not name the public key");
    const publicKey = Uint8Array.from(atob(x.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    return new SigningKey(publicKey, key);
  }

  async sign(message: Uint8Array): Promise<Uint8Array> {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.#secret, message as BufferSource));
  }
}
