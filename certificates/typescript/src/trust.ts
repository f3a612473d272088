// Trust roots: a pinned genesis, and what governance chains add to it (SPEC sections 5 and 12).

import { equal, equalOrNull, toHex } from "./bytes.js";
import { decodeEntry, type GovernanceEntry, type Link, parseChain } from "./chain.js";
import type { Charter, Committee, Genesis } from "./genesis.js";
import { genesisFromJson, type LabelTables } from "./genesis-json.js";
import { decodeTemplate, type Header } from "./header.js";
import { leafHash, rootOfPath } from "./merkle.js";
import { requireQuorum } from "./quorum.js";
import { decoding, Refusal, require } from "./refusal.js";

/** A committee and the seqs that it may attest, both ends included. */
export interface Epoch {
  readonly committee: Committee;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** A charter and the seqs that it is in force for, both ends included. */
export interface Term {
  readonly charter: Charter;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

const FOREVER = Infinity;

/** What a verifier takes for granted. Never changes: `extended` gives another one. */
export class TrustRoot {
  readonly genesis: Genesis;
  /** By epoch, from 0. */
  readonly epochs: readonly Epoch[];
  readonly terms: readonly Term[];
  /** The newest seq with a governance entry that this root knows of. */
  readonly governanceSeq: number;
  readonly #labels: LabelTables;

  private constructor(
    genesis: Genesis,
    labels: LabelTables,
    epochs: readonly Epoch[],
    terms: readonly Term[],
    governanceSeq: number,
  ) {
    this.genesis = genesis;
    this.epochs = epochs;
    this.terms = terms;
    this.governanceSeq = governanceSeq;
    this.#labels = labels;
  }

  /** Reads a genesis file. Throws a `TrustRootError` for anything that is not a well-formed genesis. */
  static fromJson(json: string): TrustRoot {
    const { genesis, labels } = genesisFromJson(json);
    const epochs = [{ committee: genesis.committee, firstSeq: 1, lastSeq: FOREVER }];
    const terms = genesis.charters.map((charter) => ({ charter, firstSeq: 0, lastSeq: FOREVER }));
    return new TrustRoot(genesis, labels, epochs, terms, 0);
  }

  /** The root that a chain file leads to from this one. */
  async extended(chain: Uint8Array): Promise<TrustRoot> {
    return this.extendedBy(parseChain(chain));
  }

  /** The root that links lead to from this one; whatever fails in a link is `bad-chain`. */
  async extendedBy(links: readonly Link[]): Promise<TrustRoot> {
    let root: TrustRoot = this;
    let last: Place = { seq: 0, index: 0 };
    for (const [i, link] of links.entries()) {
      try {
        [root, last] = await root.#follow(link, last);
      } catch (error) {
        if (error instanceof Refusal) throw new Refusal("bad-chain", `link ${i} of the chain: ${error.message}`);
        throw error;
      }
    }
    return root;
  }

  /** The epoch with exactly this committee. */
  epoch(epoch: number, config: Uint8Array): Epoch | null {
    const found = this.epochs[epoch];
    return found !== undefined && equal(found.committee.digest, config) ? found : null;
  }

  /** All terms of the charter with this digest. */
  termsOf(charter: Uint8Array): readonly Term[] {
    return this.terms.filter((term) => equal(term.charter.digest, charter));
  }

  /** The label of a class under a charter, or its number where the charter's labels are not known. */
  label({ labels }: Charter, ofClass: number): string {
    const table = labels === null ? undefined : this.#labels.get(toHex(labels));
    return table?.[ofClass] ?? `class ${ofClass}`;
  }

  async #follow(link: Link, last: Place): Promise<[TrustRoot, Place]> {
    // 1
    const header = decoding("bad-chain", "header", () => decodeTemplate(link.template));
    const recordRoot = rootOfPath(leafHash(link.entry), link.index, header.treeSize, link.path);
    demand(recordRoot !== null, "its path does not fit its place");
    // 2
    demand(equal(header.genesis, this.genesis.digest), "it is of another market");
    const epoch = this.epoch(header.epoch, header.config);
    demand(epoch !== null, "its committee is not known");
    demand(isWithin(epoch, header.seq), "its epoch does not reach its seq");
    // 3
    await requireQuorum(link.attestations, epoch.committee, header, recordRoot);
    // 4
    const entry = decoding("bad-chain", "entry", () => decodeEntry(link.entry));
    demand(equal(entry.genesis, this.genesis.digest), "its entry is of another market");
    // 5
    const place = { seq: header.seq, index: link.index };
    demand(
      place.seq > last.seq || (place.seq === last.seq && place.index > last.index),
      "it does not follow the link before",
    );
    // 6, 7
    const governanceSeq = Math.max(this.governanceSeq, header.seq);
    const [epochs, terms] =
      entry.kind === "config"
        ? [this.#withCommittee(entry, header), this.terms]
        : [this.epochs, this.#withCharter(entry, header)];
    // 8
    return [new TrustRoot(this.genesis, this.#labels, epochs, terms, governanceSeq), place];
  }

  #withCommittee(entry: GovernanceEntry & { kind: "config" }, header: Header): readonly Epoch[] {
    const { committee } = entry;
    demand(committee.epoch === header.epoch + 1, "its committee is not of the next epoch");
    demand(equal(entry.previous, header.config), "its committee follows another one");
    const before = this.epochs[header.epoch]!;
    const known = this.epochs[committee.epoch];
    if (known !== undefined) {
      const same = equal(known.committee.digest, committee.digest) && before.lastSeq === header.seq;
      demand(same, "another committee of its epoch is known");
      return this.epochs;
    }
    return [
      ...this.epochs.slice(0, header.epoch),
      { ...before, lastSeq: header.seq },
      { committee, firstSeq: header.seq + 1, lastSeq: FOREVER },
    ];
  }

  #withCharter(entry: GovernanceEntry & { kind: "charter" }, header: Header): readonly Term[] {
    const { charter, fromSeq } = entry;
    demand(fromSeq > header.seq, "its charter is in force too early");
    if (this.termsOf(charter.digest).some(({ firstSeq }) => firstSeq === fromSeq)) return this.terms;
    const latest = this.terms.find((term) => term.charter.group === charter.group && term.lastSeq === FOREVER) ?? null;
    demand(equalOrNull(entry.previous, latest?.charter.digest ?? null), "its charter follows another one");
    demand(latest === null || fromSeq > latest.firstSeq, "its charter is in force before the one that it replaces");
    const others = this.terms.filter((term) => term !== latest);
    const replaced = latest === null ? [] : [{ ...latest, lastSeq: fromSeq - 1 }];
    return [...others, ...replaced, { charter, firstSeq: fromSeq, lastSeq: FOREVER }];
  }
}

/** Where a link's entry stands in the ledger. */
interface Place {
  readonly seq: number;
  readonly index: number;
}

/** Whether a seq lies in a span. */
export function isWithin({ firstSeq, lastSeq }: { firstSeq: number; lastSeq: number }, seq: number): boolean {
  return firstSeq <= seq && seq <= lastSeq;
}

function demand(condition: boolean, problem: string): asserts condition {
  require(condition, "bad-chain", problem);
}
