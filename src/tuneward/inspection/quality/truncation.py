"""Truncation: answers that end before they are finished, and JSON that is broken.

Place on the road: two of ``detectors.DETECTORS``. Looks at a text's end alone, so that a model is not taught to stop in
the middle of a word. Knows no limit of tokens.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from tuneward.inspection.quality.issue import Issue
from tuneward.inspection.sketch import words

_LEAST_WORDS: Final = 12
_SENTENCES: Final = re.compile(r"[.!?…。！？][\"'”’“»)\]*_`]*(?:\s|$)")
_ENDS: Final = frozenset(".!?…:;。！？\"'”’“«»)]}*`_>~|%€$£")
#: Words that no sentence ends with: articles, prepositions, conjunctions of five languages.
_NEVER_LAST: Final = frozenset(
    words(
        "a aber afin agli ai al alla alle allo als although an and as at au auf aunque aus aux avec because bei "
        "benché between bis but ces cette che chez comme con cuando cuya cuyo da dal dalla dans dass de degli dei "
        "del della delle dello dem den der des desde di donc donde du durch during e ein einem einen einer eines "
        "either el entre entweder et every for fra from für gegen gli hacia hasta i'd i'll i'm i've if ihren il "
        "including into it's its kein keine la las le les leur leurs lo lorsque los ma mais mein meine mentre mes "
        "mientras mit my nach nei nel nella nelle nor nos notre nuestra nuestro ob obwohl oder of ohne oppure or "
        "ou our où par para parce per perché pero poiché por porque pour sans según sein seine ses sobre sondern "
        "sowie sul sulla sur sus tes than the their there's they're they've toward towards tra um un una unas und "
        "une unless uno unos unser unter until upon via vom von vor vos votre we're we've wegen weil wenn whereas "
        "whether while whose with within y you'd you'll you're you've your zum zur zwischen über"
    )
)
_LINK: Final = re.compile(r"(?:https?://|www\.)\S+$")
_TAIL: Final = 400


def truncated(text: str) -> Iterator[Issue]:
    """An answer that stops in mid-sentence: sentences before, and no end to the last one."""
    tail = text.rstrip()
    if not tail or _looks_like_json(tail):
        return
    if tail.count("```") % 2:
        yield Issue("truncated", "open_code", 0.6, "repair")
        return
    if len(tail.split(None, _LEAST_WORDS)) < _LEAST_WORDS or _LINK.search(tail[-_TAIL:]):
        return
    last_line = tail[tail.rfind("\n") + 1 :][-_TAIL:]
    word = re.sub(r"^\W+|\W+$", "", last_line.split()[-1]).casefold()
    if tail[-1] in ",-–—(&/" or tail.endswith(("...and", "z.B", "e.g")):
        yield Issue("truncated", "open_sign", 0.6, "repair")
    elif tail[-1] not in _ENDS and word in _NEVER_LAST:
        yield Issue("truncated", "open_word", 0.6, "repair")
    elif tail[-1] not in _ENDS and _is_prose(tail, last_line):
        yield Issue("truncated", "open_sentence", 0.3, "look")


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
    """Whether a text begins as an object with a key, or as a list of objects, numbers or strings; quotes may lack."""
    return bool(re.match(r"\{\s*(?:\"|'|\}|$|\w{1,40}[\"']?\s{0,3}:)|\[\s*(?:\{|\"|-?\d+\s*,|\[)", text))


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
