"""Detectors of contact data: e-mail addresses and phone numbers.

Place on the road: two entries of ``inspection.detectors.DETECTORS``. Phone numbers are recognised by their shape
(international, North American, national with trunk 0, Italian mobile) or by the word before them, and are told from
dates, amounts and reference numbers. Knows no policy. Not caught: addresses spelled out (``jane at example dot com``)
and nine-digit national numbers without a word before them (Spain, Portugal, Poland).
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from tuneward.domain.finding import Finding
from tuneward.inspection.boundaries import introduced_by
from tuneward.inspection.numbering import is_planned, is_valid
from tuneward.inspection.sketch import sketch

_LOCAL_CHARACTERS: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+-=?^_`{|}~"
) | frozenset(chr(c) for c in range(0xC0, 0x250))
_DOMAIN = re.compile(r"(?:[A-Za-z0-9À-ɏ](?:[A-Za-z0-9À-ɏ-]{0,62})\.){1,8}[A-Za-zÀ-ɏ]{2,24}(?![A-Za-zÀ-ɏ0-9])")
_MAX_LOCAL = 64


def find_emails(text: str) -> Iterator[Finding]:
    """Find e-mail addresses: a dotted local part of at most 64 characters (RFC 5321 section 4.5.3.1) and a domain.

    Looks only around each ``@``, at most 64 characters back and a bounded domain forth: linear in the text.
    """
    at = text.find("@")
    while at >= 0:
        start = at
        while start > 0 and at - start < _MAX_LOCAL and text[start - 1] in _LOCAL_CHARACTERS:
            start -= 1
        if start > 0 and text[start - 1] == "\\" and start < at and text[start] in "nrtbf":
            start += 1  # the letter belongs to an escape in JSON text
        while start < at and text[start] in ".'`{|}*=?&!#$%^":
            start += 1
        domain = _DOMAIN.match(text, at + 1)
        if start < at and domain:
            yield Finding(kind="email", start=start, end=domain.end(), confidence=0.98, rule="email.address")
            at = text.find("@", domain.end())
        else:
            at = text.find("@", at + 1)


#: ITU-T E.164 country codes: two digits, one digit, three digits.
_COUNTRY_CODE = re.compile(
    r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|1|7|21[12368]|2[2-6]\d|29[01789]|3[578]\d|42[013]|"
    r"5[09]\d|6[7-9]\d|80[08]|85[02356]|87[08]|88\d|9[679]\d"
)
#: Country code → digits of a whole number, country code included, where the plan fixes it.
_FIXED_LENGTHS: Final = {"1": 11, "33": 11, "34": 11, "41": 11, "48": 11, "351": 12, "45": 10, "47": 10}
_RUN = re.compile(r"[0-9](?:[ \u00a0().\-/]{0,3}[0-9]){6,}+")
_GROUP = re.compile(r"[0-9]+")
_EXTENSION = re.compile(r" ?(?:x|ext\.?) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
_LOOSE_WORD = re.compile(r"-[A-Z]?[a-z]{2}")
_MAX_GROUPS = 15


class _Group(NamedTuple):
    """Digits without a separator: ``start`` and ``end`` in the text, ``before`` the separator that leads to them."""

    start: int
    end: int
    before: str
    dated: bool

    @property
    def size(self) -> int:
        return self.end - self.start


def find_phones(text: str) -> Iterator[Finding]:
    """Find phone numbers. At every group of digits at most fifteen groups ahead are looked at: linear in the text."""
    if sketch(text).digits < 7:
        return
    for run in _RUN.finditer(text):
        groups = _groups(text, run.start(), run.end())
        index, fresh = 0, True
        while index < len(groups):
            hit = None if groups[index].dated else _phone_at(text, groups, index, fresh)
            if hit is None:
                fresh = groups[index].dated
                index += 1
                continue
            taken, rule, confidence = hit
            start = _with_opening(text, groups[index].start)
            end = _with_rest(text, start, groups[index + taken - 1].end)
            yield Finding(kind="phone", start=start, end=end, confidence=confidence, rule=rule)
            index += taken
            fresh = True


def _with_rest(text: str, start: int, end: int) -> int:
    """The end with an extension (``x4587``), or with the bracket that closes the one before the number."""
    if extension := _EXTENSION.match(text, end):
        return extension.end()
    closes = text[end : end + 1] == ")" and text.count("(", start, end) > text.count(")", start, end)
    return end + 1 if closes else end


def _groups(text: str, start: int, end: int) -> list[_Group]:
    spans = [found.span() for found in _GROUP.finditer(text, start, end)]
    separators = [""] + [text[a[1] : b[0]] for a, b in pairwise(spans)]
    dated = [False] * len(spans)
    for i in range(len(spans) - 2):
        separator = separators[i + 1]
        if separator not in {".", "/", "-"} or separators[i + 2] != separator:
            continue
        goes_on = i + 3 < len(spans) and separators[i + 3] == separator
        if goes_on or (i > 0 and separators[i] == separator):
            continue
        if all(b - a <= 4 for a, b in spans[i : i + 3]) and _is_date([text[a:b] for a, b in spans[i : i + 3]]):
            dated[i : i + 3] = [True] * 3
    return [_Group(*span, sep, date) for span, sep, date in zip(spans, separators, dated, strict=True)]


def _is_date(parts: list[str]) -> bool:
    sizes = [len(part) for part in parts]
    if sizes[0] == 4 and max(sizes[1:]) <= 2:
        year, month, day = (int(part) for part in parts)
        return 1800 <= year <= 2200 and 1 <= month <= 12 and 1 <= day <= 31
    if max(sizes[:2]) <= 2 and sizes[2] in {2, 4}:
        first, second, _ = (int(part) for part in parts)
        return 1 <= min(first, second) <= 12 and 1 <= max(first, second) <= 31
    return False


def _phone_at(text: str, groups: list[_Group], index: int, fresh: bool) -> tuple[int, str, float] | None:
    """Try each form at ``groups[index]``: (groups taken, rule, confidence) or None."""
    ahead = _reach(groups, index)
    digits = "".join(text[g.start : g.end] for g in ahead)
    start = groups[index].start
    if text[max(0, start - 2) : start].rstrip("(").endswith("+"):
        taken = _international(text, groups, index, ahead, digits)
        return (taken, "phone.international", 0.97) if taken else None
    if not _begins_well(text, groups, index, fresh):
        return None
    hit = _by_shape(text, groups, index, ahead, digits)
    word = introduced_by(text, _with_opening(text, start)) if hit or len(digits) >= 7 else None
    if word == "phone" and (hit is None or hit[1] == "phone.planned"):
        taken = _longest(text, groups, index, [g.size for g in ahead], low=7, high=15)
        return (taken, "phone.after_word", 0.85) if taken else hit
    return hit if word != "reference" else None


def _by_shape(
    text: str, groups: list[_Group], index: int, ahead: list[_Group], digits: str
) -> tuple[int, str, float] | None:
    if digits.startswith("00") and len(ahead) > 1:
        taken = _international(text, groups, index, ahead, digits[2:], trunk=2)
        if taken:
            return taken, "phone.international", 0.93
    sizes, start = [g.size for g in ahead], groups[index].start
    for taken, offset in ((3, 0), (4, 1)):
        if (
            sizes[:taken] == [1, 3, 3, 4][1 - offset :]
            and (not offset or digits[0] == "1")
            and digits[offset] in "23456789"
            and digits[offset + 3] in "23456789"
            and _ends_well(text, groups, index, taken)
        ):
            return taken, "phone.north_american", 0.9
    if digits.startswith("0") and not digits.startswith("00") and 2 <= sizes[0] <= 6 and len(ahead) > 1:
        taken = _longest(text, groups, index, sizes, low=9, high=12)
        if taken > 1:
            return taken, "phone.national", 0.85
    if digits[0] == "3" and digits[1:2] not in {"", "0"} and (sizes[:2] == [3, 7] or sizes[:3] == [3, 3, 4]):
        taken = 2 if sizes[:2] == [3, 7] else 3
        if _ends_well(text, groups, index, taken):
            return taken, "phone.italian_mobile", 0.7
    for shape in ([3, 3, 3], [3, 2, 2, 2], [2, 2, 2, 2]):
        taken = len(shape)
        if (
            sizes[:taken] == shape
            and _ends_well(text, groups, index, taken)
            and not _is_amount(text, groups[index : index + taken])
        ):
            regions = _REGIONS[sum(shape)]
            if any(is_valid("".join(text[g.start : g.end] for g in ahead[:taken]), region) for region in regions):
                return taken, "phone.valid_national", 0.6
    alone = _standing_alone(groups, index)
    if 2 <= len(alone) <= 5 and not _is_amount(text, alone):
        opened = text[start - 1 : start] == "(" and ")" in alone[1].before
        written, separator = [text[g.start : g.end] for g in alone], alone[1].before
        end = alone[-1].end
        counts = not opened and {g.size for g in alone[1:]} == {3} and written[0][0] != "0"
        counts = counts and (separator == "." or _NOUN.match(text, end) is not None)
        if (
            not counts
            and not _REFERS.search(text, max(0, start - 48), start)
            and not _LETTERS.search(text, max(0, start - 6), start)
            and not _STREET.match(text, end)
            and separator != "/"
            and is_planned(written, opened=opened)
            and _ends_well(text, groups, index, len(alone))
        ):
            return len(alone), "phone.planned", 0.5
    return None


def _standing_alone(groups: list[_Group], index: int) -> list[_Group]:
    """The groups from ``index`` to the end of their sentence; none where they go on from others."""
    if index and not _is_break(groups[index].before):
        return []
    alone = groups[index : index + 1]
    for group in groups[index + 1 : index + 7]:
        if _is_break(group.before):
            break
        alone.append(group)
    return [] if any(group.dated for group in alone) else alone


def _is_break(separator: str) -> bool:
    """Whether the sentence ends between two groups, or a dash stands there: ``. ``, `` - ``."""
    return separator.startswith(". ") or " - " in separator


#: Countries whose numbers are written without a trunk digit, by the number of digits.
_REGIONS: Final = {9: ("ES", "PL", "CZ", "PT"), 8: ("DK", "NO")}
_UNIT_BEHIND = re.compile(r" ?(?:€|\$|£|%|[A-Z]{3}\b|euros?|dollars|people|units|km|kg|mio|million)", re.IGNORECASE)
#: Capitals that belong to a policy's or contract's number: ``LI 462 5946``.
_LETTERS = re.compile(r"(?<![A-Za-z])[A-Z]{2,4} $")
_NOUN = re.compile(r" [^\W\d_]{4}")
#: What numbers are called that are none of a phone; a number in mere groups is taken for what it is called.
_REFERS = re.compile(
    r"(?:\b(?:no|nr|num|number|nummer|numero|número|numéro|ref|reference|referenz|code|codice|id|serial|part|batch|lot|model"
    r"|quote|case|ticket|order|invoice|policy|claim|contract|account|version|page|room|flight|isbn|vin)\b|n[°º]|#)"
    r"[^!?\n]{0,20}$",
    re.IGNORECASE,
)
_STREET = re.compile(
    r"(?: [^\W\d_]{2,20}){1,3}? (?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|way|place)\b",
    re.IGNORECASE,
)


def _is_amount(text: str, groups: list[_Group]) -> bool:
    """Whether digits in threes count something: behind a sign of currency or before a unit."""
    before = text[max(0, groups[0].start - 2) : groups[0].start]
    return bool(_UNIT_BEHIND.match(text, groups[-1].end)) or before.strip()[-1:] in {"$", "€", "£"}


def _reach(groups: list[_Group], index: int) -> list[_Group]:
    """The groups from ``index`` that could belong to one number: at most fifteen, no date, no group over 15 digits."""
    ahead: list[_Group] = []
    for group in groups[index : index + _MAX_GROUPS]:
        if group.dated or group.size > 15:
            break
        ahead.append(group)
    return ahead or [groups[index]._replace(end=groups[index].start + min(groups[index].size, 16))]


def _international(
    text: str, groups: list[_Group], index: int, ahead: list[_Group], digits: str, trunk: int = 0
) -> int:
    code = _COUNTRY_CODE.match(digits)
    if code is None:
        return 0
    sizes = [g.size for g in ahead]
    sizes[0] -= trunk
    fixed = _FIXED_LENGTHS.get(code[0])
    if fixed and (taken := _longest(text, groups, index, sizes, low=fixed, high=fixed)):
        return taken
    return _longest(text, groups, index, sizes, low=8, high=15)


def _longest(text: str, groups: list[_Group], index: int, sizes: list[int], *, low: int, high: int) -> int:
    """The most leading groups with ``low`` to ``high`` digits together after which a number may end; 0 if none."""
    total, best = 0, 0
    for count, size in enumerate(sizes, start=1):
        total += size
        if total > high:
            break
        if total >= low and _ends_well(text, groups, index, count):
            best = count
    return best


def _begins_well(text: str, groups: list[_Group], index: int, fresh: bool) -> bool:
    start = _with_opening(text, groups[index].start)
    if index == 0:
        before = text[max(0, start - 2) : start]
        if not before or before in {"\\n", "\\r", "\\t"}:
            return True
        if before[-1].isalnum() or before[-1] in "_$€£#@":
            return False
        return not (before[-1] in "-./,:" and len(before) == 2 and before[0].isalnum() and before[-1] != ":")
    if fresh:
        return True
    following = groups[index + 1].before if index + 1 < len(groups) else ""
    return bool(groups[index].before.strip(" ") == "" and following and following != groups[index].before)


def _ends_well(text: str, groups: list[_Group], index: int, taken: int) -> bool:
    """No letter follows, and the number does not go on with the separator (other than a space) it was written with."""
    end = groups[index + taken - 1].end
    following = text[end : end + 2]
    if _EXTENSION.match(text, end):
        return True
    if following[:1].isalnum() or following[:1] in {"_", "@", "%", "=", "<", "*"}:
        return False
    if len(following) == 2 and following[0] in "-,." and following[1].isalnum():
        return bool(_LOOSE_WORD.match(text, end))
    if index + taken < len(groups):
        separator = groups[index + taken].before
        return not (taken > 1 and separator.strip() and separator == groups[index + taken - 1].before)
    return True


def _with_opening(text: str, start: int) -> int:
    while start > 0 and text[start - 1] in "+(":
        start -= 1
    return start
