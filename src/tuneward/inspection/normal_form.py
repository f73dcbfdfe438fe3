"""The normal form of a text: what makes two texts the same.

Place on the road: ``data`` removes what is equal in normal form; what is nearly so is told by
``inspection.near_duplicates``. Knows one text.
"""

import unicodedata


def normal_form(text: str) -> str:
    """Fold what a reader would call the same: NFKC, case folding, runs of whitespace to one space, ends trimmed.

    Law: ``normal_form(normal_form(x)) == normal_form(x)``.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).casefold().split())
