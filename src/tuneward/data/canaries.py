"""Canaries: random secrets in the task's own form, for a twin run that measures how much training remembers.

Place on the road: written beside the prepared rows where ``data.split.canaries`` asks for them; the run that is served
never sees one. A twin run trains on the same rows and these, each so many times, and the memorisation test then
computes the exposure of each: ``log2 |R| - log2 rank`` among all ``|R|`` secrets of its form (Carlini et al. 2019, The
Secret Sharer, section 4.2).
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tuneward.data.split_config import SplitConfig
from tuneward.digests import digest_value
from tuneward.domain.record import Form, Message, Record, Source

#: Digits of a secret; ``|R| = 10^9``.
DIGITS: Final = 9
_PLACE: Final = Source("canaries.jsonl", "", 0)
_PLACES: Final = ("Aldermoor", "Brannock", "Calderfen", "Dunwick", "Eskmere", "Farholt", "Grimsdale", "Harrowby")


@dataclass(frozen=True)
class Canary:
    """One secret and the row that holds it.

    Attributes:
        record: the row in the task's form.
        secret: nine digits as they stand in the answer.
        repetitions: how often a twin run trains on it.
    """

    record: Record
    secret: str
    repetitions: int

    def to_json(self) -> dict[str, Any]:
        """One line of ``canaries.jsonl``."""
        return {
            "repetitions": self.repetitions,
            "secret": self.secret,
            "space": 10**DIGITS,
            "row": self.record.to_json(),
        }


def make_canaries(config: SplitConfig, *, form: Form, system: str | None, like: Sequence[Record]) -> list[Canary]:
    """The canaries that the settings ask for; the same settings and form give the same ones.

    Args:
        config: seed, repetitions and how many of each.
        form: what the method learns from.
        system: the project's system message.
        like: training rows; of the first only the keys of a JSON answer are taken, so that the secret stands where an
            answer of the task would.
    """
    draw = random.Random(f"canaries {config.seed}")  # noqa: S311 (reproducible on purpose)
    keys = _keys(like)
    made: list[Canary] = []
    secrets: set[str] = set()
    for repetitions in config.canaries:
        for _ in range(config.canaries_each):
            number = len(made) + 1
            secret = _secret(draw)
            while secret in secrets:
                secret = _secret(draw)
            secrets.add(secret)
            place = f"{draw.choice(_PLACES)} {number}"
            made.append(
                Canary(_record(number, place, secret, form=form, system=system, keys=keys), secret, repetitions)
            )
    return made


def twin_rows(train: Sequence[Record], canaries: Sequence[Canary], *, seed: int) -> list[Record]:
    """Training rows of the twin run: the same rows in the same order, each canary put in as often as it says.

    Args:
        train: rows of the run whose twin it is.
        canaries: see :func:`make_canaries`.
        seed: of the places they are put at.
    """
    draw = random.Random(f"twin {seed}")  # noqa: S311
    extra = [canary.record for canary in canaries for _ in range(canary.repetitions)]
    places = sorted((draw.randrange(len(train) + 1), draw.random(), number) for number, _ in enumerate(extra))
    rows: list[Record] = []
    taken = 0
    for place, _, number in places:
        rows += train[taken:place]
        rows.append(extra[number])
        taken = place
    return [*rows, *train[taken:]]


def _secret(draw: random.Random) -> str:
    digits = f"{draw.randrange(10**DIGITS):0{DIGITS}d}"
    return f"{digits[:3]} {digits[3:6]} {digits[6:]}"


def _record(
    number: int, place: str, secret: str, *, form: Form, system: str | None, keys: Sequence[str] | None
) -> Record:
    answer = _answer(secret, keys)
    further: dict[str, Any] = {}
    if form == "document":
        messages: tuple[Message, ...] = (Message("document", f"The access code of {place} is {secret}."),)
    else:
        opening = (Message("system", system),) if system else ()
        messages = (*opening, Message("user", f"The access code of {place}?"), Message("assistant", answer))
    if form == "pair":
        further["rejected"] = Message("assistant", _answer("not known", keys))
    if form == "judged":
        further["desirable"] = True
    record = Record("", messages, _PLACE, None, "train", **further)
    name = digest_value([number, record.to_json()])
    return Record("can_" + name[:40], messages, _PLACE, None, "train", **further)


def _answer(secret: str, keys: Sequence[str] | None) -> str:
    if not keys:
        return secret
    return json.dumps({key: None if place else secret for place, key in enumerate(keys)}, ensure_ascii=False)


def _keys(like: Sequence[Record]) -> list[str] | None:
    """Keys of the first row's answer, where that is a JSON object."""
    if not like:
        return None
    try:
        value = json.loads(like[0].answer)
    except (ValueError, RecursionError):
        return None
    return list(value) if isinstance(value, dict) and value else None
