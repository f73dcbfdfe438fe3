"""Shards: the fixed place of a row among its like, so that erasing a person touches one shard.

Place on the road: beside the split; asked again by training by shard and by erasure. A function of the pseudonym alone:
rows that come later, and rows that leave, move nobody (Bourtoule et al. 2021, SISA training).
"""

from collections import Counter
from collections.abc import Sequence

from tuneward.digests import keyed_digest
from tuneward.domain.record import Record


def shard_of(record: Record, *, shards: int, key: bytes) -> int:
    """The shard of a row, 0 to ``shards - 1``: by its subject's pseudonym, or by its id where it names nobody.

    Args:
        record: the row.
        shards: how many there are.
        key: the site's key for records, so that nobody outside can choose a shard.
    """
    name = record.subject if record.subject is not None else record.id
    return int(keyed_digest(key, b"shard " + name.encode())[:16], 16) % shards


def shard_sizes(records: Sequence[Record], *, shards: int, key: bytes) -> list[int]:
    """Rows in each shard."""
    if shards == 1:
        return [len(records)]
    counted = Counter(shard_of(record, shards=shards, key=key) for record in records)
    return [counted[shard] for shard in range(shards)]
