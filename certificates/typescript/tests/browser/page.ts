// The page's own code: it verifies a certificate, refuses a tampered one, and runs all vectors.

import { fromHex, Refusal, toHex, TrustRoot, verify } from "@dropbear/certificates";

interface Vector {
  readonly name: string;
  readonly trust: string;
  readonly certificate: string;
  readonly chain?: string | null;
  readonly expect: { readonly ok: boolean; readonly code?: string };
}

const json = async (path: string) => (await fetch(path)).json();
const text = async (path: string) => (await fetch(path)).text();
const roots = new Map<string, Promise<TrustRoot>>();

function rootOf({ trust }: Vector): Promise<TrustRoot> {
  const root = roots.get(trust) ?? text(`/testdata/${trust}`).then((file) => TrustRoot.fromJson(file));
  roots.set(trust, root);
  return root;
}

function show(
  id: string,
  verdict: "verified" | "refused",
  title: string,
  facts: Readonly<Record<string, string>>,
): void {
  const section = document.getElementById(id)!;
  section.querySelector("h2")!.textContent = title;
  for (const [name, value] of Object.entries(facts)) {
    const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, detail.textContent] = [name, value];
    section.querySelector("dl")!.append(term, detail);
  }
  section.dataset["verdict"] = verdict;
}

async function check(id: string, bytes: Uint8Array, trust: TrustRoot): Promise<void> {
  try {
    const verified = await verify(bytes, trust);
    show(id, "verified", "Verified", {
      answer: verified.label ?? "not shown",
      assurance: verified.assurance,
      "attested by": verified.signerNames.join(", "),
      request: verified.origin,
      when: new Date(verified.record.agreedMs).toISOString(),
      certificate: toHex(verified.id),
    });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    show(id, "refused", "Refused", { code: error.code, reason: error.message, fault: error.fault });
  }
}

async function codeOf(vector: Vector): Promise<string> {
  try {
    const root = await rootOf(vector);
    const trust = vector.chain ? await root.extended(fromHex(vector.chain)!) : root;
    await verify(fromHex(vector.certificate)!, trust);
    return "verified";
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

async function checkVectors(): Promise<void> {
  const vectors = (await json("/vectors.json")) as readonly Vector[];
  const differing: string[] = [];
  for (const vector of vectors) {
    const expected = vector.expect.ok ? "verified" : vector.expect.code;
    if ((await codeOf(vector)) !== expected) differing.push(vector.name);
  }
  const facts = { vectors: String(vectors.length), differing: differing.join(", ") || "none" };
  show("vectors", differing.length === 0 ? "verified" : "refused", "All test vectors", facts);
}

const full = (await json("/testdata/valid/plurality-agreed.json")) as Vector;
await check("genuine", fromHex(full.certificate)!, await rootOf(full));
// The shown vote for class 285 ends the file: it becomes one for class 284.
const example = (await json("/testdata/valid/example.json")) as Vector;
const tampered = fromHex(example.certificate)!;
tampered[tampered.length - 1]! ^= 1;
await check("tampered", tampered, await rootOf(example));
await checkVectors();
document.body.dataset["done"] = "yes";
