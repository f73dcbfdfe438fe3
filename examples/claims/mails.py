"""Writes one claim mail and the triage record that a careful clerk would make of it.

Place on the road: beside ``make_data.py``. The record follows the rules of ``README.md``.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import people
import wording
from grammar import Protected, Situation, read_phrases, read_situations, say
from people import Customer

PHRASES = read_phrases()
SITUATIONS = read_situations()
#: What makes a clerk pick up the phone.
HUMAN = ("injury", "uninhabitable", "legal")
#: What the summary says of a mail's concern, the gravest first.
CONCERNS = {
    "injury": "injury",
    "uninhabitable": "uninhabitable",
    "legal": "lawyer",
    "total": "write-off",
}
_WHERE = ["in {town}", "in {town}", "here in {town}", "near {town}", "in the centre of {town}"]
_AT_HOME = {"water", "fire", "storm", "breakage"}


@dataclass(frozen=True)
class Mail:
    """A mail, its record, and the identifiers that stand in it.

    Attributes:
        customer: who wrote it.
        received: when it came in.
        prompt: its text.
        answer: its record.
        identifiers: ``(kind, text)``; one that was put in on purpose comes first.
        planted: whether one was.
    """

    customer: Customer
    received: datetime
    prompt: str
    answer: Mapping[str, Any]
    identifiers: tuple[tuple[str, str], ...]
    planted: bool = False


class Writer:
    """Composes one mail; every draw comes from ``rng``."""

    def __init__(self, rng: random.Random, customer: Customer, extra: tuple[tuple[str, str], ...] = ()) -> None:
        self.rng = rng
        self.customer = customer
        self.extra = extra
        self.held = Protected()
        self.identifiers: list[tuple[str, str]] = list(extra)
        self.situation: Situation = rng.choice(SITUATIONS)
        self.received = datetime(2024, 1, 8) + timedelta(
            days=rng.randint(0, 540), hours=rng.randint(7, 21), minutes=rng.randint(0, 59)
        )
        self.mailed: date = self.received.date()
        self.needs_date_line = self.needs_weekday = False
        self.plate = ""

    def chance(self, probability: float) -> bool:
        """Whether it happens."""
        return self.rng.random() < probability

    def phrase(self, group: str, **slots: str) -> str:
        """One phrasing of a group."""
        return say(self.rng, self.rng.choice(PHRASES[group]), self.held, **slots)

    def write(self) -> Mail:
        """The mail and its record."""
        rng, situation, region = self.rng, self.situation, self.customer.region
        obj, cost = rng.choice(situation.objects), rng.choice(situation.costs)
        value = None if self.chance(0.12) else wording.sum_between(rng, situation.low, situation.high)
        flags = self._flags(value)
        happened, when, date_sentence = self._date(with_amount=value is not None)
        town = "" if self.chance(0.2) else rng.choice(people.TOWNS[region].split())
        places = [*_WHERE, "at our place in {town}"] if situation.category in _AT_HOME else _WHERE
        where = rng.choice(places).format(town=town) if town else ""
        story_phrase = rng.choice(situation.stories)
        story = say(rng, story_phrase, self.held, obj=obj, when=when, where=where, cost=cost)
        typed = None if self.chance(0.08) else wording.as_typed(rng, wording.policy_number(rng))
        body = self._body(story, date_sentence, value, typed, flags, cost)
        prompt = self._mail(body, typed)
        place = f", {town}" if town and "{where}" in story_phrase.lower() else ""
        concern = next((word for flag, word in CONCERNS.items() if flag in flags), "routine")
        answer = {
            "summary": f"{situation.event}, {obj}{place}, {concern}",
            "needs_human": any(flag in flags for flag in HUMAN),
            "category": situation.category,
            "severity": _severity(situation.category, flags),
            "policy_number": wording.normal_policy(typed) if typed else None,
            "date_of_loss": happened.isoformat() if happened else None,
            "amount": None if value is None else int(value) if value == int(value) else value,
            "currency": self.customer.currency if value is not None else None,
        }
        if self.plate and self.plate in prompt:
            self.identifiers.append(("licence_plate", self.plate))
        identifiers = tuple(self.identifiers)
        return Mail(self.customer, self.received, prompt, answer, identifiers, planted=bool(self.extra))

    def _flags(self, value: float | None) -> set[str]:
        """What is the case beyond the bare story."""
        possible = [flag for flag in self.situation.flags if flag not in {"cosmetic", "fraud"}]
        flags = set(self.situation.always)
        if possible and self.chance(0.5):
            flags.add(self.rng.choice(possible))
        if "cosmetic" in self.situation.flags and not flags and self.chance(0.25):
            flags.add("cosmetic")
        return flags

    def _date(self, *, with_amount: bool) -> tuple[date | None, str, str]:
        """The day of the loss, its adverb for the story, and a sentence of its own (one of the two is empty)."""
        rng, region = self.rng, self.customer.region
        if self.chance(0.08):
            return None, "", self.phrase("date.none")
        if self.chance(0.05):
            happened = self.mailed - timedelta(days=rng.choice([0, 1, 1, 1, 2, 3, 4, 5, 6, 7]))
            writing = wording.relative(rng, self.mailed, happened)
            assert writing is not None
            self.needs_date_line = self.needs_weekday = True
            date_form = when = writing
        else:
            happened = wording.back(rng, self.mailed, 1, 40)
            slashes = with_amount or happened.day > 12
            year_known = self.chance(0.25)
            date_form = wording.absolute(rng, self.mailed, happened, region, year_known=year_known, slashes=slashes)
            if str(happened.year) not in date_form:
                self.needs_date_line = True
            when = wording.adverb(date_form)
        if self.chance(0.55):
            return happened, when, ""
        return happened, "", self.phrase("date", when=when, date=date_form)

    def _body(
        self, story: str, date_sentence: str, value: float | None, typed: str | None, flags: set[str], cost: str
    ) -> list[str]:
        rng, customer, voice = self.rng, self.customer, self.customer.voice
        talkative = {"terse": 0, "business": 0, "plain": 1, "angry": 1, "polite": 0, "foreign": 1}.get(voice, 2)
        facts = [self._policy_sentence(typed)] if typed is None or self.chance(0.8) else []
        self.policy_in_subject = typed is not None and not facts
        if value is None:
            facts.append(self.phrase("amount.none", cost=cost))
        else:
            facts.append(self.phrase("amount", cost=cost, amount=self._amount(value)))
            if self.chance(0.2 + 0.08 * talkative):
                facts.append(
                    self.phrase("amount.decoy", other=self._amount(wording.sum_between(rng, 40, 1100)), cost=cost)
                )
        if self.chance(0.06 + 0.05 * talkative):
            facts.append(self._date_decoy(cost))
        if self.chance(0.06 + 0.05 * talkative):
            slots = {"reference": wording.reference(rng), "plate": wording.plate(rng, customer.region)}
            self.plate = slots["plate"]
            facts.append(self.phrase("reference", **slots))
        if self.chance(0.15 + 0.05 * talkative):
            facts.append(self.phrase("policy.decoy", policy=wording.policy_number(rng)))
        facts += [self.phrase(flag) for flag in sorted(flags) if flag not in self.situation.always]
        decoys = [flag for flag in self.situation.flags if flag not in flags and f"{flag}.decoy" in PHRASES]
        if decoys and self.chance(0.4):
            facts.append(self.phrase(f"{rng.choice(decoys)}.decoy"))
        for _ in range(rng.randint(0, talkative) if self.chance(0.6) else 0):
            facts.append(self.phrase("digress"))
        if self.chance(0.04 * talkative):
            facts.append(self.phrase("digress.false"))
        rng.shuffle(facts)
        cut = rng.choice([0, 0, 1, 1, 2])
        telling = [story, *([date_sentence] if date_sentence else [])]
        opening = [self.phrase(f"open.{voice}" if self.chance(0.6) else "open.plain")] if self.chance(0.5) else []
        closing = [self.phrase(f"close.{voice}" if self.chance(0.6) else "close.plain")] if self.chance(0.4) else []
        return [*opening, *facts[:cut], *telling, *facts[cut:], *closing]

    def _amount(self, value: float) -> str:
        return wording.amount(self.rng, value, self.customer.currency, self.customer.region)

    def _policy_sentence(self, typed: str | None) -> str:
        return self.phrase("policy.none") if typed is None else self.phrase("policy", policy=typed)

    def _date_decoy(self, cost: str) -> str:
        rng, region = self.rng, self.customer.region
        other = wording.absolute(
            rng, self.mailed, wording.back(rng, self.mailed, 200, 1500), region, year_known=False, slashes=False
        )
        later = wording.absolute(rng, self.mailed, self.mailed, region, year_known=False, slashes=False)
        coming = self.mailed + timedelta(days=rng.randint(2, 9))
        future = f"on {coming.day} {wording.MONTHS[coming.month - 1]}"
        slots = {"otherwhen": f"on {other}", "otherdate": other, "laterwhen": f"on {later}", "laterdate": later}
        return self.phrase("date.decoy", futurewhen=future, cost=cost, **slots)

    def _mail(self, sentences: list[str], typed: str | None) -> str:
        rng, voice = self.rng, self.customer.voice
        sentences = [self._voiced(sentence) for sentence in sentences]
        sentences += [self.phrase(f"extra.{kind}", text=text) for kind, text in self.extra]
        gap = rng.choice([" ", " ", " ", "\n", "\n\n"])
        half = rng.randint(1, len(sentences))
        halves = (" ".join(sentences[:half]), " ".join(sentences[half:]))
        body = gap.join(sentences) if self.chance(0.5) else "\n".join(halves)
        header = self._header(typed)
        greeting = self.phrase(f"greet.{voice}")
        text = "\n".join(part for part in [*header, greeting, body.strip(), *self._signature()] if part)
        return self.held.restore(text)

    def _voiced(self, sentence: str) -> str:
        """Typing mistakes and manner; protected facts are single characters and stay whole."""
        rng, voice = self.rng, self.customer.voice
        words = sentence.split(" ")
        if voice == "foreign":
            words = [w for w in words if not (w in {"the", "a", "an"} and self.chance(0.4))]
        words = [people.mistype(rng, w) if self.chance(people.TYPOS[voice]) else w for w in words]
        text = " ".join(words)
        if voice == "terse" and int(self.customer.id[-1]) % 2:
            text = text.lower()
        if voice == "angry" and self.chance(0.2):
            text = text.upper() if self.chance(0.4) else text.rstrip(".!") + rng.choice(["!", "!!", "!!!"])
        return text if text[-1] in ".!?:)," else text + "."

    def _header(self, typed: str | None) -> list[str]:
        rng, customer = self.rng, self.customer
        lines = []
        if self.chance(0.22):
            if self.chance(0.6):
                lines.append(f"From: {customer.first} {customer.last} <{customer.mailbox}>")
                self.identifiers.append(("email", customer.mailbox))
            else:
                lines.append(f"From: {customer.first} {customer.last}")
        if self.needs_date_line or self.chance(0.5):
            clock = self.received.strftime("%H:%M")
            lines.append(wording.header_date(rng, self.mailed, clock, customer.region, weekday=self.needs_weekday))
        if self.policy_in_subject:
            assert typed is not None
            lines.append(
                "Subject: "
                + self.held.hold(f"{rng.choice(['Claim', 'Loss', 'Damage', 'Policy', 'New claim'])} {typed}")
            )
        elif self.chance(0.45):
            lines.append(f"Subject: {self.phrase('subject')}")
        rng.shuffle(lines)
        if lines and self.chance(0.08):
            lines.insert(
                0, rng.choice(["---------- Forwarded message ----------", "-----Original Message-----", "FW:"])
            )
        return lines

    def _signature(self) -> list[str]:
        rng, customer = self.rng, self.customer
        name = rng.choice(
            [f"{customer.first} {customer.last}", customer.first, f"{customer.first[0]}. {customer.last}", ""]
        )
        lines = [self.phrase(f"signoff.{customer.voice}"), name]
        if customer.phone and self.chance(0.16):
            lines.append(rng.choice(["Tel. {0}", "{0}", "mobile {0}", "Call me: {0}"]).format(customer.phone))
            self.identifiers.append(("phone", customer.phone))
        return lines


def _severity(category: str, flags: set[str]) -> str:
    """The desk's table: harm to people, home or the whole thing first, then the kind of loss."""
    if flags & {"injury", "uninhabitable", "total"} or category == "fire":
        return "high"
    return "low" if category in {"travel", "breakage"} else "medium"
