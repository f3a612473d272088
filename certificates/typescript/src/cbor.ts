// CBOR as SPEC section 2 restricts it: a strict reader over received bytes, and writers for what is built here.

import { concat, utf8 } from "./bytes.js";
import { DecodeError } from "./refusal.js";

const UINT = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const NULL = 0xf6;

const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads items one after the other and refuses whatever is not in the one encoding that is allowed. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Reads one object that fills `bytes` exactly. */
  static all<T>(bytes: Uint8Array, read: (reader: Reader) => T): T {
    const reader = new Reader(bytes);
    const value = read(reader);
    reader.end();
    return value;
  }

  /** Refuses anything after the last item. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw new DecodeError(`bytes follow the end, at ${this.#at}`);
  }

  /** Reads with `read` and gives the received bytes of what it read as well. */
  spanned<T>(read: (reader: Reader) => T): [T, Uint8Array] {
    const start = this.#at;
    const value = read(this);
    return [value, this.#bytes.subarray(start, this.#at)];
  }

  uint(max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#head(UINT);
    if (value > max) throw new DecodeError(`${value} is above ${max}`);
    return value;
  }

  int(): number {
    return this.#major() === NEGATIVE ? -1 - this.#head(NEGATIVE) : this.#head(UINT);
  }

  /** The one integer that may stand here. */
  exactly(expected: number): void {
    const value = this.int();
    if (value !== expected) throw new DecodeError(`${value} stands where ${expected} must`);
  }

  bytes(lengthMax: number): Uint8Array {
    return this.#string(BYTES, lengthMax);
  }

  fixed(length: number): Uint8Array {
    const bytes = this.#string(BYTES, length);
    if (bytes.length !== length) throw new DecodeError(`${bytes.length} bytes stand where ${length} must`);
    return bytes;
  }

  text(lengthMax: number = Number.MAX_SAFE_INTEGER): string {
    const bytes = this.#string(TEXT, lengthMax);
    try {
      return utf8Decoder.decode(bytes);
    } catch {
      throw new DecodeError("text is not UTF-8");
    }
  }

  /** The one text that may stand here. */
  exactText(expected: string): void {
    const value = this.text();
    if (value !== expected) throw new DecodeError(`"${value}" stands where "${expected}" must`);
  }

  /** The head of an array of exactly `count` items. */
  array(count: number): void {
    const found = this.#head(ARRAY);
    if (found !== count) throw new DecodeError(`an array of ${found} items stands where ${count} must`);
  }

  /** The head of an array; its count of items. */
  arrayHead(countMax: number): number {
    const count = this.#head(ARRAY);
    if (count > countMax) throw new DecodeError(`${count} items are more than ${countMax}`);
    return count;
  }

  /** An array of at most `countMax` items of one kind. */
  list<T>(countMax: number, read: (reader: Reader) => T): T[] {
    const items: T[] = [];
    for (let left = this.arrayHead(countMax); left > 0; left--) items.push(read(this));
    return items;
  }

  /** The head of a map of exactly `count` pairs. */
  map(count: number): void {
    const found = this.mapHead(count);
    if (found !== count) throw new DecodeError(`a map of ${found} pairs stands where ${count} must`);
  }

  /** The head of a map; its count of pairs. */
  mapHead(countMax: number): number {
    const count = this.#head(MAP);
    if (count > countMax) throw new DecodeError(`${count} pairs are more than ${countMax}`);
    return count;
  }

  /** Null, or what `read` reads. */
  orNull<T>(read: (reader: Reader) => T): T | null {
    if (this.#bytes[this.#at] !== NULL) return read(this);
    this.#at++;
    return null;
  }

  #major(): number {
    const initial = this.#bytes[this.#at];
    if (initial === undefined) throw new DecodeError("it ends early");
    return initial >> 5;
  }

  #head(major: number): number {
    const found = this.#major();
    if (found !== major)
      throw new DecodeError(`an item of major type ${found} stands where ${major} must, at ${this.#at}`);
    const information = this.#bytes[this.#at++]! & 31;
    if (information < 24) return information;
    if (information > 27) throw new DecodeError("indefinite or reserved lengths are not allowed");
    const width = 2 ** (information - 24);
    let value = 0;
    for (const byte of this.#take(width)) value = value * 256 + byte;
    const shortest = width === 1 ? value >= 24 : value >= 256 ** (width / 2);
    if (!shortest) throw new DecodeError("an integer is not in its shortest form");
    // Rounding in the loop cannot bring a larger argument below 2^53: it is monotone.
    if (value > Number.MAX_SAFE_INTEGER) throw new DecodeError("an integer is beyond 2^53 - 1");
    return value;
  }

  #string(major: number, lengthMax: number): Uint8Array {
    const length = this.#head(major);
    if (length > lengthMax) throw new DecodeError(`${length} bytes are more than ${lengthMax}`);
    return this.#take(length);
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw new DecodeError("it ends early");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

function head(major: number, value: number): Uint8Array {
  const initial = major << 5;
  if (value < 24) return Uint8Array.of(initial | value);
  if (value < 2 ** 8) return Uint8Array.of(initial | 24, value);
  const wide = value < 2 ** 16 ? 2 : value < 2 ** 32 ? 4 : 8;
  const bytes = new Uint8Array(1 + wide);
  bytes[0] = initial | (24 + Math.log2(wide));
  for (let i = wide, rest = value; i > 0; i--, rest = Math.floor(rest / 256)) bytes[i] = rest % 256;
  return bytes;
}

/** An integer of magnitude below 2^53. */
export function encodeInt(value: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not an integer below 2^53`);
  return value < 0 ? head(NEGATIVE, -1 - value) : head(UINT, value);
}

export function encodeBytes(bytes: Uint8Array): Uint8Array {
  return concat(head(BYTES, bytes.length), bytes);
}

export function encodeText(text: string): Uint8Array {
  const bytes = utf8(text);
  return concat(head(TEXT, bytes.length), bytes);
}

/** An array of items that are encoded already. */
export function encodeArray(items: readonly Uint8Array[]): Uint8Array {
  return concat(head(ARRAY, items.length), ...items);
}

/** A map of pairs that are encoded already and stand in the order of their keys. */
export function encodeMap(pairs: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  return concat(head(MAP, pairs.length), ...pairs.flatMap(([key, value]) => [encodeInt(key), value]));
}

/** The bytes, or null. */
export function encodeOrNull(bytes: Uint8Array | null): Uint8Array {
  return bytes === null ? Uint8Array.of(NULL) : encodeBytes(bytes);
}
