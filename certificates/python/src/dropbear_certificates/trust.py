"""Trust roots: a pinned genesis, and what governance chains have added to it (SPEC.md sections 5 and 12)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, Mapping, Optional, Tuple, Union

from .budget import Budget
from .chain import Chain, CharterEntry, ConfigEntry, Link, read_entry
from .errors import Malformed, Refused
from .genesis import Charter, Committee
from .genesis_json import Genesis, read_genesis
from .header import Header
from .merkle import leaf_hash, root_of_path
from .quorum import verify_quorum

CHAIN_SIGNATURES_MAX = 1024 * 128
CHAIN_NODES_MAX = 1024 * 32


@dataclass(frozen=True)
class Epoch:
    """A committee and the span of seqs that it attests."""

    committee: Committee
    config: bytes
    first_seq: int
    last_seq: Optional[int] = None

    def spans(self, seq: int) -> bool:
        """Whether this epoch's committee attests ``seq``."""
        return self.first_seq <= seq and (self.last_seq is None or seq <= self.last_seq)


@dataclass(frozen=True)
class Term:
    """A charter and the span of seqs in which it is in force."""

    charter: Charter
    digest: bytes
    first_seq: int
    end_seq: Optional[int] = None
    """The first seq in which it is no longer in force."""

    def spans(self, seq: int) -> bool:
        """Whether the charter is in force at ``seq``."""
        return self.first_seq <= seq and (self.end_seq is None or seq < self.end_seq)


@dataclass(frozen=True)
class TrustRoot:
    """What a verifier trusts. Immutable: a chain gives a new one."""

    genesis: Genesis
    epochs: Tuple[Epoch, ...]
    """By epoch, from 0."""
    terms: Mapping[str, Tuple[Term, ...]]
    """By group, in the order of their seqs."""
    governance_seq: int = 0

    @classmethod
    def from_json(cls, data: bytes) -> TrustRoot:
        """The trust root of a genesis file; raises :class:`InvalidTrustRoot`."""
        genesis = read_genesis(data)
        first = Epoch(genesis.committee, genesis.committee.digest(), 1)
        terms = {charter.group: (Term(charter, charter.digest(), 0),) for charter in genesis.charters}
        return cls(genesis, (first,), terms)

    def epoch_of(self, header: Header) -> Epoch:
        """The header's epoch (steps 6b and 6c); raises :class:`Refused`."""
        epoch = self.epochs[header.epoch] if header.epoch < len(self.epochs) else None
        if epoch is None or epoch.config != header.config:
            raise Refused("unknown-committee")
        if not epoch.spans(header.seq):
            raise Refused("outside-epoch")
        return epoch

    def charter_at(self, digest: bytes, seq: int) -> Charter:
        """The charter of this digest, in force at ``seq`` (steps 10 and 10a); raises :class:`Refused`."""
        known = [term for terms in self.terms.values() for term in terms if term.digest == digest]
        if not known:
            raise Refused("unknown-charter")
        if not any(term.spans(seq) for term in known):
            raise Refused("charter-not-in-force")
        return known[0].charter

    def label(self, charter: Charter, index: int) -> Optional[str]:
        """The label of a class, from the table that the charter names by digest; None if it is not at hand."""
        table = () if charter.labels is None else self.genesis.labels.get(charter.labels, ())
        return table[index] if index < len(table) else None

    def extended(self, chain: Union[Chain, bytes], budget: Optional[Budget] = None) -> TrustRoot:
        """The trust root that a chain leads to; raises :class:`Refused`, as ``bad-chain`` if a link fails."""
        parsed = Chain.from_bytes(chain) if isinstance(chain, bytes) else chain
        budget = budget or Budget(CHAIN_SIGNATURES_MAX, CHAIN_NODES_MAX)
        trust, last = self, (0, 0)
        for link in parsed.links:
            try:
                trust, last = trust._extended_by(link, last, budget)
            except Malformed:
                raise Refused("bad-chain") from None
            except Refused as refused:
                raise Refused("budget-exhausted" if refused.code == "budget-exhausted" else "bad-chain") from None
        return trust

    def _extended_by(self, link: Link, last: Tuple[int, int], budget: Budget) -> Tuple[TrustRoot, Tuple[int, int]]:
        header = Header.from_template(link.template)
        budget.spend_path(link.path)
        root = root_of_path(leaf_hash(link.entry), link.index, header.tree_size, link.path)
        _require(root is not None and header.genesis == self.genesis.digest)
        epoch = self.epoch_of(header)
        verify_quorum(header, root or b"", epoch.committee, link.signers, link.signatures, budget)
        entry = read_entry(link.entry)
        _require(entry.genesis == self.genesis.digest and (header.seq, link.index) > last)
        extended = (
            self._with_config(entry, header) if isinstance(entry, ConfigEntry) else self._with_charter(entry, header)
        )
        governance_seq = max(self.governance_seq, header.seq)
        return replace(extended, governance_seq=governance_seq), (header.seq, link.index)

    def _with_config(self, entry: ConfigEntry, header: Header) -> TrustRoot:
        committee = entry.committee
        _require(committee.epoch == header.epoch + 1 and entry.previous_config == header.config)
        before = self.epochs[header.epoch]
        if committee.epoch < len(self.epochs):
            known = self.epochs[committee.epoch]
            _require(known.config == committee.digest() and before.last_seq == header.seq)
            return self
        ended = replace(before, last_seq=header.seq)
        begun = Epoch(committee, committee.digest(), header.seq + 1)
        return replace(self, epochs=(*self.epochs[:-1], ended, begun))

    def _with_charter(self, entry: CharterEntry, header: Header) -> TrustRoot:
        charter, digest = entry.charter, entry.charter.digest()
        _require(entry.from_seq > header.seq)
        terms = self.terms.get(charter.group, ())
        if any(term.digest == digest and term.first_seq == entry.from_seq for term in terms):
            return self
        latest = terms[-1] if terms else None
        _require(entry.previous_charter == (latest.digest if latest else None))
        _require(latest is None or entry.from_seq > latest.first_seq)
        earlier = (*terms[:-1], replace(latest, end_seq=entry.from_seq)) if latest else ()
        changed: Dict[str, Tuple[Term, ...]] = dict(self.terms)
        changed[charter.group] = (*earlier, Term(charter, digest, entry.from_seq))
        return replace(self, terms=changed)


def _require(holds: bool) -> None:
    if not holds:
        raise Refused("bad-chain")
