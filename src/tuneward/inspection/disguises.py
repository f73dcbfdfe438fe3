"""Disguises: every view of a text that could show something new.

Place on the road: between the makers of views and ``inspection.inspector``. One automaton, which reads plain text at
hundreds of megabytes a second, says whether there may be any; only then each maker looks. Views are made of views, two
steps deep: an address in URL escapes within base64 is seen, a third wrapping is not.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from tuneward.inspection.decoding import decoded, encoded_expression
from tuneward.inspection.linear import LinearPattern
from tuneward.inspection.marks import marks_expression
from tuneward.inspection.normalisation import odd_expression, plain_characters
from tuneward.inspection.spelling import joined_spelling, spelled_expression
from tuneward.inspection.views import MARGIN, View, edited

NORMALISED = "normalised"


@cache
def _gates() -> tuple[LinearPattern, LinearPattern]:
    in_ascii = f"{spelled_expression()}|{encoded_expression()}|{marks_expression()}"
    return LinearPattern(in_ascii), LinearPattern(f"{in_ascii}|{odd_expression()}")


def is_plain(text: str) -> bool:
    """Whether the text can have neither views nor marks: asked first, since most texts are plain."""
    in_ascii, in_any = _gates()
    return not (in_ascii if text.isascii() else in_any).found_in(text)


def views_of(text: str, *, margin: int = MARGIN) -> Iterator[View]:
    """Views of ``text`` beside itself, in an order that depends on the text alone.

    Args:
        text: any string.
        margin: how many characters around an edit a view shows at least.
    """
    for outer in _views(text, margin):
        yield outer
        for inner in _views(outer.text, margin):
            through = inner.through(outer)
            yield replace(through, name=NORMALISED) if inner.name == outer.name == NORMALISED else through


def normalised(text: str) -> str:
    """A short text, such as one found, as the view ``normalised`` shows it."""
    for edits_of in (plain_characters, joined_spelling):
        for edit in reversed(edits_of(text)):
            text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _views(text: str, margin: int) -> Iterator[View]:
    for edits in (plain_characters(text), joined_spelling(text)):
        if edits:
            yield edited(NORMALISED, text, edits, margin=margin)
    for name, edits in decoded(text):
        yield edited(name, text, edits, margin=margin)
