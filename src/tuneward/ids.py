"""Identifiers: a prefix that names the noun, then 26 characters that sort by time (the ULID layout).

Place on the road: wherever a governed thing is born. Knows nothing of what it names.
"""

import re
import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case
_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """Make a new id such as ``run_01jd3v…``; ids made by one process are strictly increasing.

    48 bits of milliseconds and 80 random bits; the random part counts up within a millisecond.
    """
    global _last
    with _lock:
        value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        if value <= _last:
            value = _last + 1
        _last = value
    return f"{prefix}_{_encode(value)}"


#: The form of a gateway's key: 32 random bytes; the prefix lets scanners recognise one that leaked.
KEY_FORM = re.compile(r"tuneward-[A-Za-z0-9_-]{43}")


def is_id(text: str, prefix: str) -> bool:
    """Whether a text has the form of ``new_id(prefix)``; what a clipboard held by mistake has not."""
    kind, _, rest = text.partition("_")
    return kind == prefix and len(rest) == 26 and not set(rest) - set(_ALPHABET)


def _encode(value: int) -> str:
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
