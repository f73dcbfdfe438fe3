"""Dataset: prepared rows under one fingerprint; RecordEntry: what the register keeps of each row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneward.domain.later import later


@dataclass(frozen=True)
class Dataset:
    """What ``prepare`` made.

    Attributes:
        id: ``dat_…``.
        project: the project's name.
        fingerprint: Merkle root (RFC 9162) over the keyed record digests: train, test, reserve, each in file order.
        tree: digest of the artefact tree that holds ``train.jsonl``, ``test.jsonl``, ``card.json`` and ``card.html``.
        inputs_digest: digest of everything that ``prepare`` depends on (files, settings, policy, base tokenizer).
        base: digest of the base model whose tokenizer and context were checked.
        train_rows: rows that train.
        test_rows: rows held out.
        counts: what came in, what left and why, findings by kind and action.
        created_at: UTC, ISO 8601.
        terms: digest over the terms of all rows, in order (``terms.json`` of the tree); None where none were said.
        inspector: digest of the rules by which its rows were inspected (:func:`inspection.identity.rules_digest`); None
            in datasets made before it was kept.
    """

    id: str
    project: str
    fingerprint: str
    tree: str
    inputs_digest: str
    base: str
    train_rows: int
    test_rows: int
    counts: Mapping[str, Any]
    created_at: str
    terms: str | None = later(None)
    inspector: str | None = later(None)


@dataclass(frozen=True)
class RecordEntry:
    """A row's place in the lineage: ids and keyed digests, no content.

    Attributes:
        id: the record's id.
        dataset: the dataset's id.
        position: 0-based place in its split.
        split: ``train``, ``test`` or ``reserve``.
        subject: keyed pseudonym or None.
        digest: keyed digest of the prepared row (a leaf of the fingerprint).
        source: ``file:line``.
        terms: digest of the terms under which it came in (a :class:`domain.law.TermsEntry` of the dataset), or None.
        shard: the shard that its subject's rows train in, from 0; None in datasets made before shards were entered.
    """

    id: str
    dataset: str
    position: int
    split: str
    subject: str | None
    digest: str
    source: str
    terms: str | None = later(None)
    shard: int | None = later(None)
