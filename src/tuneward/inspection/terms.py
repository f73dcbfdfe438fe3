r"""Terms: a site's own lists of words that no text may hold, such as customers or products; a million of them.

Place on the road: made from a file by ``inspection.inspector``, then a detector like any other. A term is found as
whole words, whatever their case and the white space between them. Words are looked up by the first one of each term, so
that the time does not depend on how many terms there are. Knows no policy.

Not found: a term in another grammatical form, or misspelt.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from tuneward.amounts import counted
from tuneward.domain.finding import Finding
from tuneward.errors import Fault

#: Words and signs that a term may have.
LONGEST_TERM: Final = 32
_LISTED_FAULTS: Final = 20
_CONFIDENCE: Final = 0.95
#: A run of letters and digits, a sign, or a character of a script that sets no space between words.
_TOKEN = re.compile(
    r"[^\W_\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+|[^\s]"
)


@dataclass(frozen=True)
class TermList:
    """Terms, ready to be looked up.

    Attributes:
        name: the list's.
        lengths: first word of a term → the lengths of terms that begin with it, in words and signs, as bits.
        longer: terms of several words, their words joined by one space.
        count: how many lines were terms.
    """

    name: str
    lengths: Mapping[str, int]
    longer: Set[str]
    count: int

    @property
    def kind(self) -> str:
        """The kind of its findings."""
        return f"term:{self.name}"

    def __call__(self, text: str, /) -> Iterator[Finding]:
        """Find terms from left to right, the longest at each place; none within another."""
        tokens = _TOKEN.findall(text)
        first = {token for token in set(tokens) if token.casefold() in self.lengths}
        if not first:
            return
        found: list[tuple[int, int]] = []
        end = 0
        for at in [place for place, token in enumerate(tokens) if token in first]:
            size = self._longest(tokens, at) if at >= end else 0
            if size:
                end = at + size
                found.append((at, end - 1))
        if found:
            yield from self._findings(text, found)

    def _longest(self, tokens: list[str], at: int) -> int:
        sizes = self.lengths[tokens[at].casefold()]
        if sizes == 1:
            return 1
        words = [token.casefold() for token in tokens[at : at + sizes.bit_length()]]
        for size in range(len(words), 1, -1):
            if sizes >> (size - 1) & 1 and " ".join(words[:size]) in self.longer:
                return size
        return sizes & 1

    def _findings(self, text: str, found: list[tuple[int, int]]) -> Iterator[Finding]:
        places = _TOKEN.finditer(text)
        passed = 0
        for first, last in found:
            opening = next(islice(places, first - passed, None))
            closing = opening if first == last else next(islice(places, last - first - 1, None))
            passed = last + 1
            yield Finding(self.kind, opening.start(), closing.end(), _CONFIDENCE, f"term.{self.name}")


def read_terms(path: Path, *, name: str, place: str) -> TermList | list[Fault]:
    """Read a list with one term a line, in UTF-8; blank lines are passed over.

    Args:
        path: the file.
        name: the list's name.
        place: the setting that names the file, for faults.

    Returns:
        The list; or what is wrong with it, by line and without its text: a term that would be found everywhere (one
        character, or signs alone) or nowhere (more than 32 words and signs), bytes that are not UTF-8, no term at all.
    """
    faults: list[Fault] = []
    lengths: dict[str, int] = {}
    longer: set[str] = set()
    count = more = 0
    try:
        with path.open("rb") as handle:
            for number, raw in enumerate(handle, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    wrong = "is not UTF-8"
                else:
                    tokens = [token.casefold() for token in _TOKEN.findall(unicodedata.normalize("NFKC", line))]
                    if not tokens:
                        continue
                    wrong = _wrong(tokens)
                if wrong:
                    more += len(faults) >= _LISTED_FAULTS
                    if len(faults) < _LISTED_FAULTS:
                        cure = "mend or delete the line"
                        faults.append(Fault("TW-INSP-002", wrong, f"{path.name}:{number}", cure))
                    continue
                count += 1
                lengths[tokens[0]] = lengths.get(tokens[0], 0) | 1 << (len(tokens) - 1)
                if len(tokens) > 1:
                    longer.add(" ".join(tokens))
    except OSError as error:
        message = f"`{path.name}` cannot be read: {error.strerror}"
        return [Fault("TW-INSP-001", message, place, "check the path; it is relative to the project's folder")]
    if more:
        faults.append(Fault("TW-INSP-002", f"and {counted(more, 'more line')}", path.name, "mend what is listed first"))
    if not faults and not count:
        faults.append(Fault("TW-INSP-001", f"`{path.name}` holds no term", place, "write one term a line"))
    return faults or TermList(name, lengths, longer, count)


def _wrong(tokens: list[str]) -> str:
    characters = "".join(tokens)
    if len(characters) < 2 or not any(map(str.isalnum, characters)):
        return "a term needs two characters, one of them a letter or digit: less would be found everywhere"
    if len(tokens) > LONGEST_TERM:
        return f"a term has at most {LONGEST_TERM} words and signs"
    return ""
