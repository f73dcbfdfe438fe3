"""Detector of contact blocks: business cards, letterheads and signatures, read line by line.

Place on the road: an entry of ``inspection.detectors.DETECTORS``. A line that holds nothing but a name, followed within
three lines by an address, a number or a post, names a ``person``; a line with a post between them is a ``title``, a
line with capitals an ``organisation``, and behind the street a line with nothing but a town is a ``place``. Not
caught: blocks written on one line, and blocks in small letters.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tuneward.domain.finding import Finding
from tuneward.inspection.evidence import HOUSE_WORD
from tuneward.inspection.introductions import NAME, NOT_NAMES
from tuneward.inspection.letters import CAPITALISED
from tuneward.inspection.sketch import sketch, words

_LINE = re.compile(r"[^\n]+")
_MARGIN = re.compile(r"[^\w(]*")
_PERSON = re.compile(rf"{NAME}")
_ENTRY = re.compile(
    r"(?:phone|tel|telephone|mobile|cell|fax|desk|e-?mail|web(?:site)?|address|telefon|handy|tél|móvil|cellulare)\b",
    re.IGNORECASE,
)
_HOUSE = re.compile(
    rf"(?:[0-9]{{1,6}}[A-Za-z]?\b|(?:apt|suite|unit|flat|floor|p\.?o\.?|psc|postfach)\b"
    rf"|{CAPITALISED}(?: {CAPITALISED}){{0,3}}\.? [0-9]{{1,5}}\b)",
    re.IGNORECASE,
)
_TOWN = re.compile(rf"{CAPITALISED}(?:[ \-](?:{CAPITALISED}|[a-z]{{1,4}})){{0,4}}(?: [0-9]{{1,2}})?[ ,.]*")
_TOWN_AND_CODE = re.compile(rf"{CAPITALISED}(?: {CAPITALISED}){{0,3}} (?P<code>[0-9]{{4,6}})")
_HOUSE_NAME = re.compile(rf"{CAPITALISED}(?:(?:,? (?:and|&|of|und|et|y|e) |, |[ \-])(?:{CAPITALISED})){{0,5}}\.?[ ]*")
_POSTS: Final = frozenset(
    words(
        "manager engineer director teacher nurse consultant technician assistant clerk officer analyst specialist "
        "administrator driver operator accountant developer designer writer editor scientist physician surgeon lawyer "
        "attorney paralegal secretary receptionist supervisor coordinator representative agent broker advisor adviser "
        "planner inspector investigator installer mechanic electrician plumber carpenter painter welder machinist "
        "worker labourer laborer helper cleaner cook chef waiter waitress bartender attendant cashier salesperson "
        "buyer merchandiser trainer instructor professor lecturer researcher librarian curator archivist therapist "
        "psychologist counselor counsellor dentist pharmacist veterinarian optometrist chiropractor dietitian "
        "paramedic firefighter policeman detective guard soldier sailor pilot captain dispatcher controller conductor "
        "farmer gardener landscaper fisherman miner roofer mason plasterer tailor baker butcher hairdresser barber "
        "photographer journalist reporter actor actress musician singer dancer artist architect surveyor economist "
        "statistician mathematician physicist chemist biologist geologist programmer tester president founder owner "
        "partner ceo cto cfo coo chairman chairwoman executive head lead intern apprentice trainee auditor "
        "distributor packager interpreter translator geschäftsführer geschäftsführerin leiter leiterin ingenieur "
        "ingenieurin direttore direttrice ingegnere directeur directrice ingénieur director directora ingeniero "
        "ingeniera abogado abogada avvocato avocat avocate"
    )
)


class _Line(NamedTuple):
    start: int
    end: int
    text: str


def find_contact_blocks(text: str) -> Iterator[Finding]:
    """Find the lines of contact blocks. At every line at most eight are looked at, so that the time stays linear."""
    if text.count("\n") < 2 or not sketch(text).digits:
        return
    lines = [_stripped(found) for found in _LINE.finditer(text) if found[0].strip()]
    for number, line in enumerate(lines):
        if _is_person(line.text):
            yield from _block(lines[number : number + 8])


def _stripped(found: re.Match[str]) -> _Line:
    margin = _MARGIN.match(found[0])
    start = found.start() + (margin.end() if margin else 0)
    end = found.start() + len(found[0].rstrip(" \t\r,.;"))
    return _Line(start, max(start, end), found[0][start - found.start() : max(start, end) - found.start()])


def _is_person(line: str) -> bool:
    if len(line) > 48 or " " not in line or not line[0].isupper():
        return False
    name = _PERSON.fullmatch(line)
    if name is None or HOUSE_WORD.search(line):
        return False
    return line.split(" ")[0].lower() not in NOT_NAMES and not _is_post(line)


def _is_post(line: str) -> bool:
    words = re.findall(r"[^\W\d_]+", line)
    return 0 < len(words) <= 7 and words[-1].lower() in _POSTS and not line.endswith((".", "!", "?", ":"))


def _block(lines: list[_Line]) -> Iterator[Finding]:
    proof = next(
        (n for n, line in enumerate(lines[1:4], start=1) if _HOUSE.match(line.text) or _ENTRY.match(line.text)), None
    )
    between = lines[1 : proof or 2]
    if proof is None and not (len(lines) > 1 and _is_post(lines[1].text)):
        return
    if not all(_is_post(line.text) or _HOUSE_NAME.fullmatch(line.text) or line.text.endswith(":") for line in between):
        return
    yield Finding("person", lines[0].start, lines[0].end, 0.8, "person.block")
    for line in between:
        if _is_post(line.text):
            yield Finding("title", line.start, line.end, 0.7, "title.block")
        elif _HOUSE_NAME.fullmatch(line.text):
            yield Finding("organisation", line.start, line.end, 0.65, "organisation.block")
    if proof is not None and _HOUSE.match(lines[proof].text):
        for line in lines[proof + 1 :]:
            code = _TOWN_AND_CODE.fullmatch(line.text)
            if code:
                start = line.start + code.start("code")
                yield Finding("postcode", start, line.end, 0.65, "postcode.block")
            elif _TOWN.fullmatch(line.text):
                yield Finding("place", line.start, line.end, 0.65, "place.block")
            elif not _HOUSE.match(line.text):
                break
