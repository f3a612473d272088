// The vectors of certificates/testdata, read from disk.

import { readdirSync, readFileSync } from "node:fs";
import { fromHex, Refusal, TrustRoot, type Verified, verify } from "../src/index.js";

const FOLDER = new URL("../../../testdata/", import.meta.url);

export interface Vector {
  readonly name: string;
  readonly trust: string;
  readonly certificate: string;
  readonly chain?: string | null;
  readonly input?: string | null;
  readonly expect: { readonly ok: boolean; readonly code?: string; readonly [fact: string]: unknown };
}

export interface ConflictVector {
  readonly name: string;
  readonly trust: string;
  readonly chain: string | null;
  readonly a: string;
  readonly b: string;
  readonly opening: string | null;
  readonly expect: {
    readonly verdict: string;
    readonly kind?: string;
    readonly guilty?: readonly string[];
    readonly missing?: string;
    readonly code?: string;
  };
}

/** All vectors of a folder; there must be some. */
export function vectors<T = Vector>(folder: "valid" | "invalid" | "conflicts"): T[] {
  const names = readdirSync(new URL(folder, FOLDER)).filter((name) => name.endsWith(".json"));
  if (names.length === 0) throw new Error(`there are no vectors in ${folder}`);
  return names.map((name) => json(`${folder}/${name}`) as T);
}

export function vector(name: string): Vector {
  return json(`valid/${name}.json`) as Vector;
}

export function json(name: string): unknown {
  return JSON.parse(text(name));
}

export function text(name: string): string {
  return readFileSync(new URL(name, FOLDER), "utf8");
}

/** Bytes from hex that is known to be some. */
export function unhex(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes === null) throw new Error(`"${text.slice(0, 20)}" is not hex`);
  return bytes;
}

const roots = new Map<string, TrustRoot>();

/** The trust root in that file, extended by the chain if there is one. */
export async function trustOf({ trust, chain }: { trust: string; chain?: string | null }): Promise<TrustRoot> {
  const root = roots.get(trust) ?? TrustRoot.fromJson(text(trust));
  roots.set(trust, root);
  return typeof chain === "string" ? root.extended(unhex(chain)) : root;
}

/** The reason code that a vector is refused with, or what it proves. */
export async function verdict(of: Vector): Promise<Verified | string> {
  try {
    return await verify(unhex(of.certificate), await trustOf(of));
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}
