"""Views: other forms of a text in which something may show that the raw text hides, each with the way back.

Place on the road: ``inspection.normalisation``, ``inspection.spelling`` and ``inspection.decoding`` say what is edited,
this file makes the view, ``inspection.inspector`` reads it. A view holds only the neighbourhoods of its edits: what
stands elsewhere is seen in the raw text already. Knows no detector.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

#: Characters on either side of an edit that a view shows, so that detectors see the words beside a number.
MARGIN: Final = 96
#: A finding in a view counts only where an edit lies in it or this near: the rest is the raw text's business.
NEAR: Final = 48
#: Between two neighbourhoods; no detector takes it for a part of anything.
GAP: Final = "\n\x1e\n"
_WORD_REST: Final = 96


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of a text and what a view shows in its place; empty where the view leaves it out."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class View:
    """A form of a text.

    Attributes:
        name: ``normalised``, ``base64``, ``hex``, ``url``, or two of them, outermost first: ``base64>url``.
        text: what detectors read.
        starts: for each character of ``text``, where that begins in the raw text for which it stands.
        ends: one past where that ends. Law: ``0 <= starts[i] <= ends[i] <= len(raw)``, and both never fall.
        changed: for each character, 1 where it or its neighbour that is left out differs from the raw text.
        cuts: places in ``text`` where a neighbourhood begins or ends although the raw text goes on.
    """

    name: str
    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    changed: bytes
    cuts: frozenset[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The raw span that ``text[start:end]`` stands for."""
        return self.starts[start], self.ends[end - 1]

    def shows(self, start: int, end: int) -> bool:
        """Whether what was found in ``text[start:end]`` owes anything to an edit."""
        return 1 in self.changed[max(0, start - NEAR) : end + NEAR]

    def is_cut(self, start: int, end: int) -> bool:
        """Whether ``text[start:end]`` ends where only a neighbourhood does, or reaches over a gap."""
        return start in self.cuts or end in self.cuts or "\x1e" in self.text[start:end]

    def through(self, outer: "View") -> "View":
        """This view of ``outer.text`` as a view of what ``outer`` shows."""
        cuts = {place for place, start in enumerate(self.starts) if start in outer.cuts}
        cuts |= {place for place, end in enumerate(self.ends, start=1) if end in outer.cuts}
        return replace(
            self,
            name=f"{outer.name}>{self.name}",
            starts=array("q", map(outer.starts.__getitem__, self.starts)),
            ends=array("q", (outer.ends[end - 1] for end in self.ends)),
            changed=bytes(map(int.__or__, self.changed, map(outer.changed.__getitem__, self.starts))),
            cuts=self.cuts | cuts,
        )


def edited(name: str, raw: str, edits: Sequence[Edit], *, margin: int = MARGIN) -> View:
    """The view that shows the neighbourhoods of ``edits``, edited.

    Args:
        name: the view's.
        raw: the text.
        edits: from left to right, none over another, none empty in ``raw``.
        margin: characters of a neighbourhood on either side.
    """
    parts: list[str] = []
    starts, ends, changed = array("q"), array("q"), bytearray()
    cuts: set[int] = set()
    for group, first, last in _neighbourhoods(raw, edits, margin):
        if first:
            if parts:
                parts.append(GAP)
                starts.extend([first] * len(GAP))
                ends.extend([first + 1] * len(GAP))
                changed.extend(bytes(len(GAP)))
            cuts.add(len(starts))
        place, left_out = first, False
        for edit in (*group, Edit(last, last, "")):
            if place < edit.start:
                parts.append(raw[place : edit.start])
                starts.extend(range(place, edit.start))
                ends.extend(range(place + 1, edit.start + 1))
                changed.append(left_out)
                changed.extend(bytes(edit.start - place - 1))
                left_out = False
            if edit.text:
                parts.append(edit.text)
                starts.extend([edit.start] * len(edit.text))
                ends.extend([edit.end] * len(edit.text))
                changed.extend(b"\1" * len(edit.text))
                left_out = False
            elif edit.start < edit.end:
                left_out = True
                if changed:
                    changed[-1] = 1
            place = edit.end
        if last < len(raw):
            cuts.add(len(starts))
    return View(name, "".join(parts), starts, ends, bytes(changed), frozenset(cuts))


def _neighbourhoods(raw: str, edits: Sequence[Edit], margin: int) -> Iterator[tuple[list[Edit], int, int]]:
    """Edits whose neighbourhoods meet, and the span to show; its ends move on to white space, so no word is cut."""
    done = at = 0
    while at < len(edits):
        group, end = [edits[at]], edits[at].end + margin
        at += 1
        while at < len(edits) and edits[at].start - margin <= end + _WORD_REST:
            group.append(edits[at])
            end = edits[at].end + margin
            at += 1
        first = _back(raw, max(done, group[0].start - margin), done)
        done = _forth(raw, min(len(raw), end), len(raw) if at == len(edits) else edits[at].start)
        yield group, first, done


def _back(raw: str, place: int, least: int) -> int:
    least = max(least, place - _WORD_REST)
    while place > least and not raw[place - 1].isspace():
        place -= 1
    return place


def _forth(raw: str, place: int, most: int) -> int:
    most = min(most, place + _WORD_REST)
    while place < most and not raw[place].isspace():
        place += 1
    return place
