"""Numbering plans: numbers as they are written inside their country, without trunk digit and without a word before.

Place on the road: asked by ``inspection.contacts`` about digits in groups that no other form explains. Groups alone say
little, so the whole run of digits must be the number, and the plan of a country that writes its numbers in such groups
must have it (libphonenumber's metadata); seven digits of North America, which that plan cannot check without an area
code, follow its rule for exchanges. Knows no text around the number but the sign before it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

#: Sizes of the groups → countries that write numbers so. E.164 national formats of the EU, its neighbours and others.
_PLANS: Final[Mapping[tuple[int, ...], tuple[str, ...]]] = {
    (3, 4): ("EE", "IS"),
    (4, 4): ("MT", "EE", "DK", "NO", "SG", "HK"),
    (2, 6): ("CY", "LT"),
    (4, 6): ("GR",),
    (5, 5): ("IN",),
    (2, 3, 3): ("LV", "SI", "HU", "HR", "BG"),
    (3, 2, 3): ("NO", "LT"),
    (2, 3, 4): ("PT", "HU", "NL", "RO", "IE"),
    (2, 4, 4): ("GR", "GB", "BR"),
    (2, 5, 4): ("BR",),
    (3, 3, 3): ("ES", "PL", "CZ", "PT", "SK", "NL", "AU"),
    (3, 2, 2, 2): ("ES", "BE"),
    (2, 2, 2, 2): ("DK", "NO", "BE"),
    (2, 3, 2, 2): ("PL", "CH", "SK", "SE"),
}
#: Digits in a number whose area code stands in brackets; the code has two to five of them.
_IN_BRACKETS: Final = range(8, 12)


def is_planned(groups: Sequence[str], *, opened: bool) -> bool:
    """Whether groups of digits are a number of some country's plan, as that country groups them.

    Args:
        groups: the digits between separators, all of one run.
        opened: whether a bracket stands around the first group, as around area codes.
    """
    digits = "".join(groups)
    sizes = tuple(map(len, groups))
    if opened and len(groups) > 1 and 2 <= sizes[0] <= 5 and min(sizes[1:]) > 1:
        return len(digits) in _IN_BRACKETS
    if sizes == (3, 4) and _is_exchange(groups[0]) and not _is_range(groups):
        return True
    return not _is_range(groups) and any(is_valid(digits, region) for region in _PLANS.get(sizes, ()))


def is_valid(digits: str, region: str) -> bool:
    """Whether the numbering plan of ``region`` has the number (libphonenumber's metadata)."""
    import phonenumbers

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(digits, region)))
    except phonenumbers.NumberParseException:
        return False


def _is_exchange(code: str) -> bool:
    """Whether three digits may be an exchange of North America: 200 to 999, none of the services (411, 911)."""
    return code[0] in "23456789" and code[1:] != "11"


def _is_range(groups: Sequence[str]) -> bool:
    """Whether two groups rather say from where to where: years of a life or an age, or round numbers that rise."""
    if len(groups) != 2:
        return False
    first, second = (int(group) for group in groups)
    years = 1000 <= second <= 2199 and 0 < second - first < 200
    return years or (first < second and first % 10 == second % 10 == 0)
