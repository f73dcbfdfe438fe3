"""Contamination: training rows that hold what is tested, nearly or word for word.

Place on the road: beneath ``data.overlap``, which finds what is equal; here is what is nearly so. Tested are the rows
of the test set and the items of every suite that the evaluation will use. Takes rows in any number of pieces and keeps
only what is tested and the hits. Knows no policy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from tuneward.domain.record import Record
from tuneward.inspection.near_lookup import NearLookup
from tuneward.inspection.ngrams import Ngrams
from tuneward.inspection.normal_form import normal_form

Kind = Literal["near", "ngram"]

#: Share of a tested row's runs of thirteen words that one training row must hold.
LEAST_SHARE: Final = 0.5


@dataclass(frozen=True)
class Tested:
    """One item that is tested.

    Attributes:
        name: ``file:line``, or the suite's name and the item's number.
        asked: what is asked, in normal form.
        whole: question and answer, in normal form.
    """

    name: str
    asked: str
    whole: str


@dataclass(frozen=True)
class Hit:
    """A training row that holds what is tested.

    Attributes:
        row: the training row, counted in the order in which rows were looked at.
        tested: name of the item.
        kind: ``near``, or ``ngram`` where the item stands within other text.
        share: of the item's runs of words, for ``ngram``; else 1.
    """

    row: int
    tested: str
    kind: Kind
    share: float = 1.0


def asked(record: Record) -> str:
    """What a row asks, in normal form: its messages before the answer but the system's; a document's text."""
    messages = record.messages if record.form == "document" else record.prompt
    return normal_form("\n".join(message.content for message in messages if message.role != "system"))


def whole(record: Record) -> str:
    """Everything that a row says, in normal form, but the system message and the worse answer."""
    return normal_form("\n".join(message.content for message in record.messages if message.role != "system"))


def tested_rows(records: Iterable[Record]) -> list[Tested]:
    """Rows of the test set as items."""
    return [Tested(str(record.source), asked(record), whole(record)) for record in records]


@dataclass
class Contamination:
    """Looks training rows up among what is tested.

    Attributes:
        tested: all items.
        hits: in the order in which rows were looked at; a row has at most one, ``near`` before ``ngram``.
    """

    tested: Sequence[Tested]
    hits: list[Hit] = field(default_factory=list)
    _looked: int = 0

    def __post_init__(self) -> None:
        self._near = NearLookup([item.asked for item in self.tested])
        self._ngrams = Ngrams([item.whole for item in self.tested], [item.asked for item in self.tested])

    def look(self, asked: Sequence[str], whole: Sequence[str]) -> None:
        """Look at the next rows, some thousands at a time.

        Args:
            asked: what each of them asks; see :func:`asked`.
            whole: everything that each of them says; see :func:`whole`.
        """
        first = self._looked
        self._looked += len(asked)
        if not self.tested:
            return
        near = self._near.match(asked)
        held: dict[int, tuple[float, int]] = {}
        for share in self._ngrams.look(whole, least=LEAST_SHARE):
            held[share.text] = max(held.get(share.text, (0.0, 0)), (share.share, -share.tested))
        for number, item in enumerate(near):
            if item is not None:
                self.hits.append(Hit(first + number, self.tested[item].name, "near"))
            elif number in held:
                part, negated = held[number]
                self.hits.append(Hit(first + number, self.tested[-negated].name, "ngram", part))

    def covered(self) -> list[tuple[str, float]]:
        """Items of whose runs of words half or more stand in the training rows, taken together, with that share."""
        shares = self._ngrams.covered()
        return [
            (item.name, float(share))
            for item, share in zip(self.tested, shares, strict=True)
            if share >= LEAST_SHARE  # NaN: too short to tell
        ]
