"""Verification (SPEC.md section 13), and what a verified certificate says (section 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple

from .assurance import Assurance, Outcome
from .budget import Budget
from .certificate import Certificate
from .errors import Refused
from .genesis import Charter, Committee
from .openings import check_attachments
from .quorum import verify_quorum
from .receipt import expand
from .request import Origin
from .trust import TrustRoot
from .vote import ClassVote, Vote


@dataclass(frozen=True)
class Verified:
    """A certificate that :func:`verify` accepted; made nowhere else."""

    certificate: Certificate
    trust: TrustRoot
    """The trust root, extended by the chain that was attached, if any."""
    committee: Committee
    charter: Charter
    signers: Tuple[int, ...]
    """The places of the members whose signatures were checked."""

    @property
    def id(self) -> bytes:
        """The certificate id."""
        return self.certificate.id()

    @property
    def outcome(self) -> Outcome:
        """``AGREED`` or ``NO_AGREEMENT``."""
        return self.certificate.record.outcome

    @property
    def assurance(self) -> Assurance:
        """The level reached."""
        return self.certificate.record.assurance

    @property
    def origin(self) -> Origin:
        """Who minted the request."""
        return self.certificate.record.origin

    @property
    def result(self) -> Optional[Vote]:
        """The agreed result, if it is shown."""
        record, shown = self.certificate.record, self.certificate.attachments
        if self.outcome is not Outcome.AGREED:
            return None
        if record.result_commitment is not None:
            return shown.result.vote if shown.result else None
        if shown.votes:
            return shown.votes.votes[0]
        return next((opening.vote for opening in shown.single_votes if opening.group == 0), None)

    @property
    def class_(self) -> Optional[int]:
        """The result, if it is shown and a class."""
        return self.result.index if isinstance(self.result, ClassVote) else None

    @property
    def label(self) -> Optional[str]:
        """The label of :attr:`class_`, from the table that the charter names by digest."""
        return None if self.class_ is None else self.trust.label(self.charter, self.class_)

    @property
    def requester(self) -> Optional[bytes]:
        """The key that asked, if it is shown."""
        request = self.certificate.attachments.request
        return request.signer if request else None

    @property
    def signature_shown(self) -> bool:
        """Whether the requester's own signature is shown, rather than vouched for by the committee."""
        request = self.certificate.attachments.request
        return request is not None and request.signature is not None

    @property
    def owners_proven(self) -> Tuple[int, ...]:
        """The roster places whose own signatures on their votes are shown."""
        return tuple(proof.owner for proof in self.certificate.attachments.ballots)

    @property
    def trust_current(self) -> bool:
        """Whether the trust root knows all governance that the header knew of."""
        return self.certificate.header.governance_seq <= self.trust.governance_seq

    def is_about_input(self, digest: bytes) -> Optional[bool]:
        """Whether the request was for the input of this digest; None if the request is not shown."""
        request = self.certificate.attachments.request
        return None if request is None else request.input_digest == digest

    def receipts(self) -> List[bytes]:
        """One RFC 9942 receipt per attestation."""
        return expand(self.certificate, self.committee, list(self.signers))


def verify(certificate: bytes, trust: TrustRoot, budget: Optional[Budget] = None) -> Verified:
    """Verifies a certificate's bytes; raises :class:`Refused` with the code of the first step that fails."""
    budget = budget or Budget()
    parsed = Certificate.from_bytes(certificate, budget)
    header, record, attachments = parsed.header, parsed.record, parsed.attachments
    if header.genesis != trust.genesis.digest:
        raise Refused("other-genesis")
    if attachments.chain:
        trust = trust.extended(attachments.chain, budget)
    committee = trust.epoch_of(header).committee
    signers = verify_quorum(header, parsed.record_root, committee, parsed.signers, parsed.signatures, budget)
    _check_header(parsed)
    charter = trust.charter_at(record.charter, header.seq)
    _check_charter(parsed, charter)
    if not record.follows():
        raise Refused("wrong-outcome")
    if record.expiry_ms < record.agreed_ms:
        raise Refused("expired-request")
    check_attachments(record, charter, attachments, budget)
    return Verified(parsed, trust, committee, charter, signers)


def _check_header(certificate: Certificate) -> None:
    """Step 9: record and header speak of the same place."""
    header, record = certificate.header, certificate.record
    said = (record.genesis, record.epoch, record.config, record.seq, record.agreed_ms)
    if said != (header.genesis, header.epoch, header.config, header.seq, header.agreed_ms) or record.leaf_index == 0:
        raise Refused("contradiction")


def _check_charter(certificate: Certificate, charter: Charter) -> None:
    """Step 11: record and charter speak of the same rules."""
    record = certificate.record
    said = (record.group, record.policy, record.owners, record.faults)
    if said != (charter.group, charter.policy, len(charter.roster), charter.faults):
        raise Refused("contradiction")
