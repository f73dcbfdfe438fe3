"""Truncation: answers that end before they are finished, and JSON that is broken.

Place on the road: two of ``detectors.DETECTORS``. Looks at a text's end alone, so that a model is not taught to stop in
the middle of a word. Knows no limit of tokens.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from tuneward.inspection.quality.issue import Issue

_LEAST_WORDS: Final = 12
_SENTENCES: Final = re.compile(r"[.!?…。！？][\"'”’“»)\]*_`]*(?:\s|$)")
_ENDS: Final = frozenset(".!?…:;。！？\"'”’“«»)]}*`_>~|%€$£")
#: Words that no sentence ends with: articles, prepositions, conjunctions of five languages.
_NEVER_LAST: Final = re.compile(
    r"(?:"
    r"the|a|an|and|or|because|although|if|than|whose|my|your|their|der|dem|den|und|oder|von|weil|obwohl|"
    r"wenn|aber|als|für|zum|zur|einem|einer|eines|il|lo|gli|e|di|con|da|per|perché|benché|che|ma|della|"
    r"dello|degli|nel|nella|un|una|le|les|et|ou|de|avec|pour|parce|mais|du|des|dans|une|sur|el|los|las|y|"
    r"por|para|porque|aunque|pero|del|al"
    r")"
)
_TAIL: Final = 400


def truncated(text: str) -> Iterator[Issue]:
    """An answer that stops in mid-sentence: sentences before, and no end to the last one."""
    tail = text.rstrip()
    if not tail or _looks_like_json(tail):
        return
    if tail.count("```") % 2:
        yield Issue("truncated", "open_code", 0.6, "repair")
        return
    if len(tail.split(None, _LEAST_WORDS)) < _LEAST_WORDS:
        return
    last_line = tail[tail.rfind("\n") + 1 :][-_TAIL:]
    word = re.sub(r"^\W+|\W+$", "", last_line.split()[-1]).casefold()
    if tail[-1] in ",-–—(&/" or tail.endswith(("...and", "z.B", "e.g")):
        yield Issue("truncated", "open_sign", 0.6, "repair")
    elif tail[-1] not in _ENDS and _NEVER_LAST.fullmatch(word):
        yield Issue("truncated", "open_word", 0.6, "repair")
    elif tail[-1] not in _ENDS and _is_prose(tail, last_line):
        yield Issue("truncated", "open_sentence", 0.4, "look")


def broken_json(text: str) -> Iterator[Issue]:
    """An answer that begins as JSON and cannot be read as JSON."""
    body = text.strip()
    if body.startswith("```"):
        body = body.removeprefix("```").removeprefix("json").strip().removesuffix("```").strip()
    if not _looks_like_json(body):
        return
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        yield Issue("broken_json", "does_not_parse", 0.8, "drop")


def _looks_like_json(text: str) -> bool:
    """Whether a text begins as an object with a key, or as a list of objects, numbers or strings."""
    return bool(re.match(r"\{\s*(?:\"|\}|$)|\[\s*(?:\{|\"|-?\d+\s*,|\[)", text))


def _is_prose(text: str, last_line: str) -> bool:
    """Whether the other sentences end properly, and the last line is no heading, item of a list or signature."""
    ended = len(_SENTENCES.findall(text[-4 * _TAIL :]))
    if ended < 1:
        return False
    words = last_line.split()
    if len(words) < 3 or re.match(r"\s*(?:[-*•#>|]|\d+[.)])", last_line):
        return False
    fresh = _SENTENCES.split(last_line)[-1].split()  # the words behind the last sentence's end
    return len(fresh) >= 2 and any(word[:1].islower() for word in fresh)
