r"""Detector of secrets: keys of common vendors by their prefix, private keys, tokens, passwords beside a word.

Place on the road: one entry of ``inspection.detectors.DETECTORS``. Every rule has a literal that is looked for first;
a text without it costs one substring search. Repetitions are possessive (``{20,}+``), so nothing backtracks. A generic
secret is reported only beside a word that announces one, and only if it mixes letters with digits or is random enough.
Not caught: passwords in running prose, vendor keys without a prefix and without a word beside them.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from tuneward.domain.finding import Finding
from tuneward.inspection.boundaries import BEGINNING

KIND: Final = "api_key"


class _Rule(NamedTuple):
    name: str
    literals: tuple[str, ...]
    pattern: re.Pattern[str]
    confidence: float


def _rule(name: str, literals: str, pattern: str, *, confidence: float = 0.97) -> _Rule:
    return _Rule(f"api_key.{name}", tuple(literals.split()), re.compile(BEGINNING + pattern), confidence)


#: Vendors' documented formats. The literal must occur in every match of the pattern.
_RULES: Final = (
    _rule("aws", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _rule(  # random text has digits and long pieces; the class names of web pages (`sk-loading-indicator`) have neither
        "openai_like",
        "sk-",
        r"sk-(?:proj-|svcacct-|admin-|ant-|or-)?+(?=[A-Za-z_\-]{0,64}+[0-9])(?=[A-Za-z0-9_\-]{0,64}?[A-Za-z0-9]{12})"
        r"[A-Za-z0-9_\-]{20,}+",
    ),
    _rule("github", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{20,}+"),
    _rule("github", "github_pat_", r"github_pat_[A-Za-z0-9_]{20,}+"),
    _rule("gitlab", "glpat-", r"glpat-[A-Za-z0-9_\-]{18,}+"),
    _rule("slack", "xox", r"xox[abeoprs]-[A-Za-z0-9\-]{10,}+"),
    _rule("slack", "xapp-", r"xapp-[A-Za-z0-9\-]{10,}+"),
    _rule("slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}+"),
    _rule("google", "AIza", r"AIza[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])"),
    _rule("google_oauth", "ya29. GOCSPX-", r"(?:ya29\.|GOCSPX-)[A-Za-z0-9_\-]{20,}+"),
    _rule("stripe", "k_live_ k_test_", r"[rsp]k_(?:live|test)_[A-Za-z0-9]{10,}+"),
    _rule("stripe_webhook", "whsec_", r"whsec_[A-Za-z0-9+/=]{20,}+"),
    _rule("hugging_face", "hf_", r"hf_[A-Za-z0-9]{30,}+"),
    _rule("npm", "npm_", r"npm_[A-Za-z0-9]{30,}+"),
    _rule("pypi", "pypi-", r"pypi-[A-Za-z0-9_\-]{50,}+"),
    _rule("sendgrid", "SG.", r"SG\.[A-Za-z0-9_\-]{16,}+\.[A-Za-z0-9_\-]{16,}+"),
    _rule("jwt", "eyJ", r"(?<![A-Za-z0-9_\-.])eyJ[A-Za-z0-9_\-]{8,}+\.eyJ[A-Za-z0-9_\-]{8,}+\.[A-Za-z0-9_\-]*+"),
    _rule(
        "url_password",
        "://",
        r"[A-Za-z][A-Za-z0-9+.\-]{1,15}://[^\s/:@\"'\\]{1,64}:(?P<value>[^\s/@\"'\\]{3,128})@(?=[A-Za-z0-9\[])",
        confidence=0.99,  # above that of the e-mail address which the same characters resemble
    ),
)
_BY_LITERAL: Final = tuple((literal, rule) for rule in _RULES for literal in rule.literals)
_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,\-]*+")
_MAX_KEY_BLOCK = 20_000

_WORD_LITERALS: Final = ("key", "secret", "token", "passw", "kennwort", "pwd", "bearer", "credential")
_BESIDE_WORD = re.compile(
    r"(?i:api[ _\-]?key|access[ _\-]?key(?:[ _\-]?id)?|secret[ _\-]?(?:access[ _\-]?)?key|account[ _\-]?key|"
    r"private[ _\-]?key|client[ _\-]?secret|auth(?:orization)?[ _\-]?token|access[ _\-]?token|refresh[ _\-]?token|"
    r"api[ _\-]?token|bearer|secret|token|credentials?|(?P<password>password|passwort|passwd|kennwort|pwd))"
    r"[\"'`]?[ \t]{0,3}(?:(?P<sign>:=|=>|=|:)|(?i:is|ist|lautet)(?=[ \t:])|(?=[ \t]))[ \t:]{0,3}[\"'`]?"
    r"(?P<value>[A-Za-z0-9_\-./+=~!$%^&*@?]{8,}+)"
)


def find_secrets(text: str) -> Iterator[Finding]:
    """Find keys, tokens and passwords, in no particular order and possibly overlapping."""
    for rule in [rule for literal, rule in _BY_LITERAL if literal in text]:
        for found in rule.pattern.finditer(text):
            start, end = found.span("value") if "value" in rule.pattern.groupindex else found.span()
            yield Finding(kind=KIND, start=start, end=end, confidence=rule.confidence, rule=rule.name)
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    lowered = text.lower()
    for literal in _WORD_LITERALS:
        if literal in lowered:
            yield from _beside_words(text)
            break


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
        yield Finding(kind=KIND, start=begin.start(), end=end, confidence=0.99, rule="api_key.private_key")
        position = end


def _beside_words(text: str) -> Iterator[Finding]:
    for found in _BESIDE_WORD.finditer(text):
        start, end = found.span("value")
        while end > start and text[end - 1] == ".":  # the sentence's; other signs may belong to the secret
            end -= 1
        value = text[start : min(end, start + 256)]
        if found["password"]:
            rule, secret = "api_key.password_beside_word", bool(found["sign"]) and _mixes(value)
        else:
            enough = 12 if found["sign"] else 20
            rule = "api_key.beside_word"
            secret = len(value) >= enough and _mixes(value) and bits_per_character(value) >= 3.0
        if secret and end - start >= 8:
            yield Finding(kind=KIND, start=start, end=end, confidence=0.75, rule=rule)


def _mixes(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def bits_per_character(value: str) -> float:
    """Shannon entropy of the characters' frequencies, in bits per character."""
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values())
