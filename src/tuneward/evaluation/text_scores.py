"""Scores of free text against a reference: exact, token F1, ROUGE-L.

Place on the road: used by text tasks, and by json tasks for fields in free words. Knows two strings and nothing else.

Tokens are runs of letters and digits of any script, case folded. There is no stemming, and no article is dropped: both
would favour English.
"""

import re
from collections import Counter
from collections.abc import Sequence

_TOKEN = re.compile(r"[^\W_]+")


def tokens(text: str) -> list[str]:
    """Split into runs of letters and digits, case folded."""
    return _TOKEN.findall(text.casefold())


def exact(answer: str, reference: str) -> float:
    """1.0 when both are the same text, white space at the ends aside."""
    return float(answer.strip() == reference.strip())


def token_f1(answer: str, reference: str) -> float:
    """F1 over the bags of tokens (Rajpurkar 2016, SQuAD, section 6.1); two empty texts agree fully."""
    given, wanted = Counter(tokens(answer)), Counter(tokens(reference))
    return _f1(sum((given & wanted).values()), sum(given.values()), sum(wanted.values()))


def rouge_l(answer: str, reference: str) -> float:
    """F1 over the longest common subsequence of tokens (Lin 2004, ROUGE-L with beta = 1)."""
    given, wanted = tokens(answer), tokens(reference)
    return _f1(common_subsequence(given, wanted), len(given), len(wanted))


def _f1(common: int, given: int, wanted: int) -> float:
    return 1.0 if given == wanted == 0 else 2 * common / (given + wanted)


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel (Hyyrö 2004): one row of the table is one integer, so the work is len(right) operations on integers
    of len(left) bits.
    """
    places: dict[str, int] = {}
    for index, token in enumerate(left):
        places[token] = places.get(token, 0) | 1 << index
    full = (1 << len(left)) - 1
    row = full
    for token in right:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(left) - row.bit_count()
