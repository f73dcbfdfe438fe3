"""Detectors of addresses in networks: URL and domain, IP version 4 and 6, MAC, and of coordinates on the globe.

Place on the road: entries of ``inspection.detectors.DETECTORS``. Each starts from a sign that its form cannot do
without. Not caught: bare domains under endings that are also words (``sentence.it``) unless ``www.`` or a path says
that they are one; private host names without a dot.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.sketch import sketch, vocabulary, words

_SCHEME = re.compile(r"(?:https?|ftp|ftps|sftp|ssh|wss?)://[^\s<>\"'`{}|\\^\[\]]{3,2048}+", re.IGNORECASE)
_WWW = re.compile(r"www\.[A-Za-z0-9À-ɏ][A-Za-z0-9À-ɏ.\-]{2,252}+(?:/[^\s<>\"'`{}|\\^\[\]]{0,1024}+)?", re.IGNORECASE)
#: Endings of registries that are no word and no file's ending in the five languages.
_ENDING = re.compile(
    r"\.(?:com|org|net|edu|gov|mil|int|info|biz|name|museum|online|shop|site|website|eu|de|uk|fr|ch|nl|pl|cz|dk|fi|hu|pt|"
    r"gr|ro|bg|hr|sk|lt|lv|ee|ie|lu|cy|mt|br|au|ca|jp|cn|ru|ua|us|nz|za|mx|io|ai|app|dev)"
    r"(?![A-Za-z0-9À-ɏ_@]|-[A-Za-z0-9]|\.[A-Za-z0-9])"
)
_PATH = re.compile(r"(?::[0-9]{2,5})?(?:[/?][^\s<>\"'`{}|\\^\[\]]{0,1024}+)?")
_LABELS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
_CLOSERS: Final = ".,;:!?'\")]}>*…"


def find_urls(text: str) -> Iterator[Finding]:
    """Find URLs by scheme or ``www.``, and bare domains by the ending of a registry."""
    if "." not in text:
        return
    covered = 0
    if "://" in text:
        for found in _SCHEME.finditer(text):
            covered = found.start() + len(found[0].rstrip(_CLOSERS))
            yield Finding(kind="url", start=found.start(), end=covered, confidence=0.95, rule="url.scheme")
    if "www." in sketch(text).lowered:
        for found in _WWW.finditer(text):
            if text[max(0, found.start() - 1) : found.start()] not in {"/", "@", "."}:
                end = found.start() + len(found[0].rstrip(_CLOSERS))
                yield Finding(kind="url", start=found.start(), end=end, confidence=0.95, rule="url.www")
    for found in _ENDING.finditer(text):
        start = found.start()
        while start > 0 and found.start() - start < 253 and text[start - 1] in _LABELS:
            start -= 1
        while start < found.start() and text[start] in ".-":
            start += 1
        labels = text[start : found.start()]
        before = text[max(0, start - 1) : start]
        if len(labels) < 2 or ".." in labels or before in {"@", "/", "\\", "_", "%", "="} or labels.isdigit():
            continue
        path = _PATH.match(text, found.end())
        end = found.end() if path is None else path.end()
        end -= len(text[found.end() : end]) - len(text[found.end() : end].rstrip(_CLOSERS))
        yield Finding(kind="url", start=start, end=end, confidence=0.8, rule="url.domain")


_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(
    rf"[0-9](?<![\w.\-][0-9])(?<!\w\.[0-9])(?:(?<=25)[0-5]|[0-9]{{0,2}})\.{_OCTET}\.{_OCTET}\.{_OCTET}(?![\w\-]|\.[0-9])"
)
_VERSION = re.compile(
    r"(?:\bv|version|release|firmware|section|chapter|abschnitt|kapitel|§|build)\.?\s?$", re.IGNORECASE
)
#: From the first colon on; what stands before it is read backwards.
_HEX_RUN = re.compile(
    r":(?:[0-9A-Fa-f]{1,4}:|:[0-9A-Fa-f])[0-9A-Fa-f:]{0,36}(?:(?<=:)[0-9.]{7,15})?(?:/[0-9]{1,3})?(?![\w:])"
)
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_MAC = re.compile(
    r"(?<![\w:\-])(?:[0-9A-Fa-f]{2}:(?:[0-9A-Fa-f]{2}:){4}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{2}-(?:[0-9A-Fa-f]{2}-){4}"
    r"[0-9A-Fa-f]{2})(?![\w:\-])"
)
_CISCO = re.compile(r"(?<![\w.])[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?![\w.])")
_MAC_WORDS = vocabulary(("mac", "ethernet", "wifi", "wlan", "hwaddr"))


def find_hosts(text: str) -> Iterator[Finding]:
    """Find IP addresses (kind ``ip``; RFC 791, RFC 4291 section 2.2) and MAC addresses (kind ``mac``; IEEE 802)."""
    seen = sketch(text)
    if seen.digits < 1:
        return
    if seen.digits >= 4 and text.count(".") >= 3:
        for found in _IPV4.finditer(text):
            if int(text[found.start() : text.index(".", found.start())]) <= 255 and not _VERSION.search(
                text, max(0, found.start() - 12), found.start()
            ):
                yield Finding(kind="ip", start=found.start(), end=found.end(), confidence=0.95, rule="ip.v4")
    if text.count(":") >= 2:
        for found in _HEX_RUN.finditer(text):
            start = found.start()
            while start > 0 and found.start() - start < 5 and text[start - 1] in _HEX:
                start -= 1
            before = text[max(0, start - 1) : start]
            if not (before.isalnum() or before in {":", ".", "-", "_"}) and _is_ipv6(text[start : found.end()]):
                yield Finding(kind="ip", start=start, end=found.end(), confidence=0.95, rule="ip.v6")
    if text.count(":") >= 5 or text.count("-") >= 5:
        for found in _MAC.finditer(text):
            yield Finding(kind="mac", start=found.start(), end=found.end(), confidence=0.95, rule="mac.ieee802")
    if seen.holds(_MAC_WORDS):
        for found in _CISCO.finditer(text):
            yield Finding(kind="mac", start=found.start(), end=found.end(), confidence=0.85, rule="mac.dotted")


def _is_ipv6(written: str) -> bool:
    address = written.partition("/")[0]
    if not any(c.isdigit() for c in address) or (address.count(":") < 7 and "::" not in address) or len(address) < 4:
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


_DECIMAL = re.compile(
    r"[0-9](?<![\w.,][0-9])[0-9]?\.[0-9]{4,10}°?\s?[NSns]?\s{0,2}[,;/ "
    r"]\s{0,2}-?[0-9]{1,3}\.[0-9]{4,10}(?![\w.])°?(?:\s?[EWOewo]\b)?"
)
_SEXAGESIMAL = re.compile(
    r"[0-9](?<![\w.][0-9])[0-9]?\s?°\s?[0-9]{1,2}(?:[.,][0-9]{1,6})?\s?['′’](?:\s?[0-9]{1,2}(?:[.,][0-9]{1,6})?\s?(?:\"|″|”|''))?\s?"
    r"[NSns][,;]?\s{0,2}[0-9]{1,3}\s?°\s?[0-9]{1,2}(?:[.,][0-9]{1,6})?\s?['′’](?:\s?[0-9]{1,2}(?:[.,][0-9]{1,6})?\s?(?:\"|″|”|''))?\s?"
    r"[EWOewo](?!\w)"
)
_GEO_WORDS = vocabulary(
    words(
        "latitude longitude lat lon lng gps coordinates coordinate coords geo breitengrad längengrad koordinaten "
        "standort latitudine longitudine coordinate coordonnées coordenadas latitud longitud position location"
    )
)
_LABELLED = re.compile(
    r"(?:latitude|longitude|latitud|longitud|latitudine|longitudine|breitengrad|längengrad|\blat|\blon|\blng)"
    r"[\"']?\s{0,2}[:=]?\s{0,2}[\"']?(?P<value>-?[0-9]{1,3}\.[0-9]{3,12})(?![\w.])",
    re.IGNORECASE,
)


def find_coordinates(text: str) -> Iterator[Finding]:
    """Find pairs of latitude and longitude: in degrees and minutes, decimal, or each after its word (ISO 6709)."""
    seen = sketch(text)
    if seen.digits < 4:
        return
    if "°" in text:
        for found in _SEXAGESIMAL.finditer(text):
            yield _position(found.start(), found.end(), 0.95, "coordinates.degrees")
    if text.count(".") >= 2 and seen.digits >= 10:
        worded = seen.holds(_GEO_WORDS)
        for found in _DECIMAL.finditer(text):
            start = found.start() - (text[max(0, found.start() - 1) : found.start()] in {"-", "+"})
            first, second = (abs(float(n)) for n in re.findall(r"[0-9]+\.[0-9]+", found[0]))
            if first <= 90 and second <= 180 and (worded or any(c in found[0] for c in "°NSEW")):
                yield _position(start, found.end(), 0.9, "coordinates.decimal")
    if seen.holds(_GEO_WORDS):
        for found in _LABELLED.finditer(text):
            if abs(float(found["value"])) <= 180:
                yield _position(*found.span("value"), 0.85, "coordinates.labelled")


def _position(start: int, end: int, confidence: float, rule: str) -> Finding:
    return Finding(kind="coordinates", start=start, end=end, confidence=confidence, rule=rule)
