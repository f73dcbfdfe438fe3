"""Versions: the folder of papers of a registered model, and the check that nothing in it was changed.

Place on the road: ``register`` calls :func:`make_papers` and stores the folder; ``deploy``, ``serve`` and ``verify``
call :func:`check_version`. Functions return values; storing them is the workflow's part.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tuneward.digests import digest_bytes
from tuneward.domain.version import ModelVersion
from tuneward.errors import Fault, ProofError
from tuneward.registry.aibom import make_aibom
from tuneward.registry.card import make_card
from tuneward.registry.notice import make_notice
from tuneward.registry.provenance import Provenance
from tuneward.registry.signing import Signer, open_envelope, sign
from tuneward.registry.statement import PREDICATE_TYPE, compare_statements, make_statement

AIBOM_FILE = "aibom.cdx.json"
CARD_FILE = "model-card.md"
STATEMENT_FILE = "statement.dsse.json"
NOTICE_FILE = "NOTICE"


@dataclass(frozen=True)
class Papers:
    """The papers' bytes.

    Attributes:
        aibom: ``aibom.cdx.json``.
        card: ``model-card.md``.
        statement: ``statement.dsse.json``, the signed envelope.
        notice: ``NOTICE``; None in versions of before there was one.
    """

    aibom: bytes
    card: bytes
    statement: bytes
    notice: bytes | None = None

    @property
    def statement_digest(self) -> str:
        """SHA-256 of the envelope, as :attr:`ModelVersion.statement` holds it."""
        return digest_bytes(self.statement)

    def write(self, folder: Path) -> None:
        """Write the files into an existing folder."""
        for name, data in ((AIBOM_FILE, self.aibom), (CARD_FILE, self.card), (STATEMENT_FILE, self.statement)):
            (folder / name).write_bytes(data)
        if self.notice is not None:
            (folder / NOTICE_FILE).write_bytes(self.notice)

    @classmethod
    def read(cls, folder: Path) -> "Papers":
        """Read the files.

        Raises:
            ProofError: naming every paper that is missing.
        """
        found: dict[str, bytes] = {}
        faults = []
        for name in (AIBOM_FILE, CARD_FILE, STATEMENT_FILE):
            try:
                found[name] = (folder / name).read_bytes()
            except OSError as error:
                reason = f"{name} cannot be read: {error.strerror}"
                faults.append(Fault("TW-REG-003", reason, str(folder), "restore the folder from a copy of the site"))
        if faults:
            raise ProofError(faults)
        notice = (folder / NOTICE_FILE).read_bytes() if (folder / NOTICE_FILE).is_file() else None
        return cls(aibom=found[AIBOM_FILE], card=found[CARD_FILE], statement=found[STATEMENT_FILE], notice=notice)


def make_papers(provenance: Provenance, signer: Signer) -> Papers:
    """Make and sign a version's papers; the same provenance and key give the same bytes.

    Raises:
        ProofError: when the nouns do not belong together.
    """
    faults = provenance.faults()
    if faults:
        raise ProofError(faults)
    aibom, card, notice = make_aibom(provenance), make_card(provenance), make_notice(provenance.notice)
    statement = make_statement(
        provenance, aibom=digest_bytes(aibom), model_card=digest_bytes(card), notice=digest_bytes(notice)
    )
    return Papers(aibom=aibom, card=card, statement=sign(statement, signer), notice=notice)


def check_version(
    papers: Papers,
    provenance: Provenance,
    *,
    public: Ed25519PublicKey,
    key_id: str,
    version: ModelVersion | None = None,
) -> list[Fault]:
    """Check a version's papers against the records; every fault found, none when all agrees.

    Checked: the signature and its key; that AIBOM and model card are the signed ones; that the statement says what the
    records say, leaf by leaf; that the nouns belong together; and, with ``version``, that the registered row names this
    statement and these nouns. Not checked here: that blobs and trees have the bytes that their digests name
    (``storage.artifacts`` does), and that the gate judges the stored report alike (``verify`` judges it anew).

    Args:
        papers: as read from the artefact store.
        provenance: made from the records, not from the papers.
        public: the site's public key.
        key_id: its id.
        version: the registered row.
    """
    place = f"{provenance.project} version {provenance.number}"
    faults = provenance.faults()
    if version is not None:
        faults += _check_row(version, papers, provenance, key_id=key_id, place=place)
    try:
        signed = open_envelope(papers.statement, public, key_id=key_id, place=place)
    except ProofError as error:
        return [*faults, *error.faults]
    if signed.get("predicateType") != PREDICATE_TYPE:
        fault = Fault("TW-PROOF-024", f"the statement is no {PREDICATE_TYPE}", place, "check with a newer Tuneward")
        return [*faults, fault]
    aibom, card = digest_bytes(papers.aibom), digest_bytes(papers.card)
    # Papers are compared one by one, with their names; so the expected statement takes the signed digests for granted.
    named = _papers_named(signed)
    papers_found: tuple[tuple[str, str, str | None], ...] = (
        (AIBOM_FILE, "aibom", aibom),
        (CARD_FILE, "model_card", card),
        (NOTICE_FILE, "notice", digest_bytes(papers.notice) if papers.notice is not None else None),
    )
    for name, key, digest in papers_found:
        if named.get(key) != digest:
            cure = "restore the file from where it was published, or register the version again"
            faults.append(Fault("TW-PROOF-026", f"{name} is not the file that was signed", place, cure))
    expected = make_statement(
        provenance,
        aibom=str(named.get("aibom", aibom)),
        model_card=str(named.get("model_card", card)),
        notice=str(named["notice"]) if "notice" in named else None,
    )
    return faults + compare_statements(signed, expected, place=place)


def _papers_named(signed: dict[str, object]) -> dict[str, object]:
    predicate = signed.get("predicate")
    papers = predicate.get("papers") if isinstance(predicate, dict) else None
    return papers if isinstance(papers, dict) else {}


def _check_row(
    version: ModelVersion, papers: Papers, provenance: Provenance, *, key_id: str, place: str
) -> list[Fault]:
    expected = replace(
        version,
        project=provenance.project,
        number=provenance.number,
        adapter=provenance.adapter.id,
        base=provenance.base.id,
        dataset=provenance.dataset.id,
        run=provenance.run.id,
        approval=provenance.approval.id if provenance.approval else None,
        evaluation=provenance.evaluation.id,
        statement=papers.statement_digest,
        key_id=key_id,
        created_at=provenance.created_at,
        tool_version=provenance.tool_version,
    )
    return [
        Fault(
            "TW-PROOF-027",
            f"`{name}` of the registered version is {getattr(version, name)!r}, expected {getattr(expected, name)!r}",
            place,
            "find out which of the two was changed: the audit log names every write",
        )
        for name in [field.name for field in fields(version)]
        if getattr(version, name) != getattr(expected, name)
    ]
