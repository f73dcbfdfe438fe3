r"""Detector of secrets: vendors' keys, private keys, tokens, passwords in addresses and beside a word.

Place on the road: one detector for ``api_key``, ``private_key``, ``jwt``, ``connection_string`` and ``password`` in
``inspection.detectors.DETECTORS``. A rule's literal is looked for before its pattern. A generic secret is reported only
beside a word that announces one (in five languages), and only if it mixes letters with digits or is random enough.
Not caught: passwords in running prose, vendor keys without a prefix and without a word beside them.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.sketch import sketch, vocabulary, words
from tuneward.inspection.vendor_keys import RULES, Rule

#: A sign of a literal → its literals, so that a text without the sign is not searched for each.
_BY_SIGN: Final[dict[str, list[tuple[str, Rule]]]] = {}
for _rule in RULES:
    for _literal in _rule.literals:
        _sign = next((sign for sign in ("://", "_", "-", ".", "=", "$", "/", ":") if sign in _literal), _literal)
        _BY_SIGN.setdefault(_sign, []).append((_literal, _rule))
_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,\-]*+")
_MAX_KEY_BLOCK = 20_000

_WORDS = vocabulary(
    words(
        "key apikey accesskey secret token bearer credential credentials password passwd pwd passwort kennwort "
        "schlüssel zugangsdaten geheimnis contraseña clave passcode parola segreto chiave mot passe secreto clé "
        "passphrase pin jeton"
    )
)
_BESIDE_WORD = re.compile(
    r"(?i:api[ _\-]?key|access[ _\-]?key(?:[ _\-]?id)?|secret[ _\-]?(?:access[ _\-]?)?key|account[ _\-]?key|"
    r"private[ _\-]?key|client[ _\-]?secret|auth(?:orization)?[ _\-]?token|access[ _\-]?token|refresh[ _\-]?token|"
    r"api[ _\-]?token|bearer|secret|token|credentials?|chiave(?: api| segreta)?|clé(?: api| secrète)"
    r"|clave(?: api| secreta)|"
    r"api[ \-]?schlüssel|jeton|(?P<password>password|passwort|passwd|kennwort|pwd|passphrase|passcode|contraseña|"
    r"parola d'ordine|mot de passe|clave(?: de acceso)?))"
    r"[\"'`]?[ \t]{0,3}(?:(?P<sign>:=|=>|=|:)|(?i:is|ist|lautet|è|est|es)(?=[ \t:])|(?=[ \t]))[ \t:]{0,3}[\"'`]?"
    r"(?P<value>[A-Za-z0-9_\-./+=~!$%^&*@?]{8,}+)"
)


def find_secrets(text: str) -> Iterator[Finding]:
    """Find keys, tokens and passwords, in no particular order and possibly overlapping."""
    for sign, entries in _BY_SIGN.items():
        if sign in text:
            for literal, rule in entries:
                if literal in text:
                    yield from _of_vendor(text, rule)
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    if sketch(text).holds(_WORDS):
        yield from _beside_words(text)


def _of_vendor(text: str, rule: Rule) -> Iterator[Finding]:
    for found in rule.pattern.finditer(text):
        start, end = found.span("value") if "value" in rule.pattern.groupindex else found.span()
        confidence = 0.99 if rule.proven and rule.proven(found[0]) else rule.confidence
        yield Finding(kind=rule.kind, start=start, end=end, confidence=confidence, rule=rule.name)


def _private_keys(text: str) -> Iterator[Finding]:
    """Blocks from BEGIN to END; where END is missing or far away, as far as the text looks like key material."""
    ends = [found.end() for found in _END.finditer(text)]
    position, next_end = 0, 0
    while begin := _BEGIN.search(text, position):
        while next_end < len(ends) and ends[next_end] <= begin.end():
            next_end += 1
        if next_end < len(ends) and ends[next_end] - begin.start() <= _MAX_KEY_BLOCK:
            end = ends[next_end]
        else:
            body = _KEY_BODY.match(text, begin.end(), begin.end() + _MAX_KEY_BLOCK)
            end = body.end() if body else begin.end()
        yield Finding("private_key", begin.start(), end, confidence=0.99, rule="private_key.block")
        position = end


def _beside_words(text: str) -> Iterator[Finding]:
    for found in _BESIDE_WORD.finditer(text):
        start, end = found.span("value")
        while end > start and text[end - 1] == ".":  # the sentence's; other signs may belong to the secret
            end -= 1
        value = text[start : min(end, start + 256)]
        if found["password"]:
            kind, secret = "password", bool(found["sign"]) and _mixes(value)
        else:
            enough = 12 if found["sign"] else 20
            kind = "api_key"
            secret = len(value) >= enough and _mixes(value) and bits_per_character(value) >= 3.0
        if secret and end - start >= 8:
            yield Finding(kind=kind, start=start, end=end, confidence=0.75, rule=f"{kind}.beside_word")


def _mixes(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def bits_per_character(value: str) -> float:
    """Shannon entropy of the characters' frequencies, in bits per character."""
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values())
