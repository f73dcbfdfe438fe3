"""Phrases with choices: reads ``situations.txt`` and ``phrases.txt`` and says them at random.

Place on the road: beside ``make_data.py``, before the first command. Knows nothing of claims.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_PLURAL = {"is": "are", "has": "have", "was": "were", "does": "do", "lies": "lie", "looks": "look", "stinks": "stink"}
_PLURAL_VERB = re.compile(r"(\{[Oo]bj\}) (" + "|".join(_PLURAL) + r")\b")


@dataclass(frozen=True)
class Situation:
    """One kind of mishap: what it is called and how people tell it."""

    category: str
    event: str
    objects: tuple[str, ...]
    costs: tuple[str, ...]
    low: int
    high: int
    flags: tuple[str, ...]
    always: tuple[str, ...]
    stories: tuple[str, ...]


@dataclass
class Protected:
    """Facts inside a text, kept apart as single private characters so that no typo or change of case can hit them."""

    values: list[str] = field(default_factory=list)

    def hold(self, value: str) -> str:
        """Put ``value`` away and return the character that stands for it."""
        self.values.append(value)
        return chr(0xE000 + len(self.values) - 1)

    def capitalise(self, character: str) -> None:
        """Let the value behind ``character`` begin a sentence; numbers and codes stay as they are."""
        value = self.values[ord(character) - 0xE000]
        if value.split(" ")[0].isalpha():
            self.values[ord(character) - 0xE000] = value[0].upper() + value[1:]

    def restore(self, text: str) -> str:
        """Inverse of every :meth:`hold` in ``text``."""
        return "".join(self.values[ord(c) - 0xE000] if 0xE000 <= ord(c) < 0xF000 else c for c in text)


def read_phrases(path: Path = HERE / "phrases.txt") -> dict[str, list[str]]:
    """Group name → phrasings."""
    groups: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            groups[line[3:].strip()] = current = []
        elif line.strip() and not line.startswith("#"):
            current.append(line.strip())
    return groups


def read_situations(path: Path = HERE / "situations.txt") -> list[Situation]:
    """All situations, in file order."""
    found: list[Situation] = []
    for block in re.split(r"^= ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        title, *lines = block.strip().splitlines()
        category, event = (part.strip() for part in title.split("|"))
        values: dict[str, list[str]] = {}
        for line in lines:
            key, _, value = line.partition(": ")
            values.setdefault(key, []).append(value.strip())
        low, _, high = values["range"][0].partition("-")
        found.append(
            Situation(
                category=category,
                event=event,
                objects=tuple(part.strip() for part in values["obj"][0].split(";")),
                costs=tuple(part.strip() for part in values["cost"][0].split(";")),
                low=int(low),
                high=int(high),
                flags=tuple(values["flags"][0].split()),
                always=tuple(values.get("always", [""])[0].split()),
                stories=tuple(values["story"]),
            )
        )
    return found


def say(rng: random.Random, phrase: str, held: Protected, **slots: str) -> str:
    """Choose among ``[a|b|]``, fill ``{slots}`` as protected facts; ``{Slot}`` capitalises. Verbs follow plurals."""
    begins_with_date = phrase.startswith("{When}")
    while (match := _CHOICE.search(phrase)) is not None:
        choice = rng.choice(match.group(1).split("|"))
        phrase = phrase[: match.start()] + choice + phrase[match.end() :]
    if _is_plural(slots.get("obj", "")):
        phrase = _PLURAL_VERB.sub(lambda found: f"{found[1]} {_PLURAL[found[2]]}", phrase)
    parts: list[str] = []
    end = 0
    for match in _SLOT.finditer(phrase):
        name = match.group(1)
        value = slots[name.lower()]
        parts.append(phrase[end : match.start()])
        if value:
            parts.append(held.hold(value[0].upper() + value[1:] if name[0].isupper() else value))
        end = match.end()
    parts.append(phrase[end:])
    text = re.sub(r"\s+", " ", "".join(parts))
    text = re.sub(r"\s+([.,;:!?])", r"\1", text).strip()
    if text and 0xE000 <= ord(text[0]) < 0xF000:
        held.capitalise(text[0])
    return text[0].upper() + text[1:] if begins_with_date else text


def _is_plural(thing: str) -> bool:
    return thing.endswith("s") and not thing.endswith("ss")
