"""Evidence: what the words of a name and around it say about its kind, where a small model of language guesses.

Place on the road: the second thought of ``inspection.recognizer``. The model finds where names stand better than whose
they are: it takes foreign names of persons for organisations and towns for persons. Given names, legal forms,
prepositions and verbs decide then. Knows no model.
"""

import re
from collections.abc import Callable
from typing import Final

from tuneward.inspection.introductions import NOT_NAMES
from tuneward.inspection.letters import LOWER, UPPER
from tuneward.inspection.lexicon import read
from tuneward.inspection.sketch import words

GIVEN_NAMES: Final = frozenset(
    name.lower() for written in read("given_names.yaml").values() for name in written.split()
)
SURNAMES: Final = frozenset(name for written in read("surnames.yaml").values() for name in written.split())

HOUSE_WORD: Final = re.compile(
    r"\b(?:Inc|LLC|Ltd|Corp|Corporation|Incorporated|Limited|PLC|plc|GmbH|AG|Company|Bank|University|College|School|Foundation|"
    r"Institute|Insurance|Holdings|Group|Partners|Associates|Agency|Association|Society|Committee|Council|Ministry|Department|"
    r"Force|Party|Union|Club|Hospital|Clinic|Church|Museum|Airlines|Airways|Motors|Systems|Software|Technologies|Solutions|"
    r"Services|Media|Records|Orchestra|Times|Post|News|Court|Parliament|Commission|Bureau|Office|Center|Centre|International)\b"
)
_PLACE_WORD = re.compile(
    r"\b(?:River|Lake|Mount|Mountains?|Valley|Island|Islands|Bay|Beach|Hills?|Village|County|City|Town|Ocean|Sea|Park|Bridge|"
    r"Airport|Street|Road|Avenue|Square|Station|North|South|East|West|Northern|Southern|Eastern|Western|Saint|St|San|Santa)\b"
)
_STREET_WORD = re.compile(
    r"(?: (?:Street|Road|Avenue|Lane|Drive|Boulevard|Square|Highway)|stra(?:ss|ß)e|straat|gatan|vej)$"
)
_TO_PERSON = re.compile(
    r"(?:\b(?:said|says|asked|told|tell|with|starring|directed by|written by|sung by|played by|led by|by"
    r"|named|called|calls me|"
    r"name|under|thanks|dear|meet|met|married|marry|mrs\.?|mr\.?|ms\.?|dr\.?|singer|actor|actress|player|songwriter|author|"
    r"artist|commenter|president|minister|wife|husband|son|daughter|brother|sister|mother|father|friend"
    r"|assistant to|change it "
    r"to|to add|early|late|heard|given|why is|where is|who is|but|remember|and)[,:]? ['\"]?)$",
    re.IGNORECASE,
)
_FROM_PERSON = re.compile(
    r"(?:'s|’s)? (?:said|says|asked|told|lives?|lived|spent|speaks?|has to|had given|gave|is (?:a very|so"
    r"|not here)|was influenced|just|"
    r"died|married|smiled|thinks?|thought|wants?|bought|went|goes|got|ate|works?|worked|loves?|hates?|knows?|earns?|sells?|makes?|"
    r"has|had|can|will|would|could|needs?|decided|started|takes?|took|walks?|runs?|saw|plays?|points? out"
    r"|listed|employs|from)\b"
    r"|['’]s (?!office)|, can I|: | as guardian|, the [a-z]|, who\b",
)
_TO_PLACE = re.compile(
    r"(?:\b(?:in|near|through|across|outside|visit(?:ed|ing)?|(?:move[ds]?|moved here|return(?:ed)?"
    r"|travel(?:l?ing|l?ed)?|went|go|"
    r"going|fly|flew|drive|trip|flight|way|back|came|come|coming) (?:to|from)|arrived (?:at|in)|originally from|"
    r"based in|capital of|city of|town of|serving|southern|northern|eastern|western|downtown|leaving) (?:the )?)$",
    re.IGNORECASE,
)
_FROM_PLACE = re.compile(r" (?:bridge|airport|street|beach|river|is a (?:city|town|country|village))\b")
#: Words before a house's name. Behind those of ``OF_HOUSE`` a capitalised word is one, known word or not.
OF_HOUSE: Final = (
    r"ceo of|cfo of|founders? of|co-founder of|employees? of|customers? of|subsidiary of|shares (?:of|in)|stock in"
    r"|employed by|hired by|fired (?:by|from)|owned by|acquired by|founded by|insured (?:by|with)"
    r"|account (?:with|at)|(?:year|job|position|office|intern|interned|internship|career|meet|clerk|manager"
    r"|engineer|developer|analyst|consultant"
    r"|works?|worked|working) (?:at|for)|on behalf of|lawsuit against|contract with|merger with|partnership with"
)
_TO_HOUSE = re.compile(
    rf"(?:\b(?:at|for|joined|became|becomes|acquired|by the company|employer|company|firm|{OF_HOUSE}) )$", re.IGNORECASE
)
_FROM_HOUSE = re.compile(
    r"(?:['’]s)? (?:headquarters|shares|stock|employees|customers|subsidiar(?:y|ies)|shareholders|investors|website|app"
    r"|board of directors)\b|"
    r" (?:office|inc|announced|acquired|launched|laid off|is (?:a|an|the) (?:company|firm|agency|[a-z]+ agency"
    r"|[a-z]+ company|bank|startup|provider|brand|retailer|manufacturer|organi[sz]ation)|songwriter|orchestra"
    r"|spokes\w+)\b",
    re.IGNORECASE,
)
_NOT_HOUSES: Final = frozenset(
    words(
        "iban atm asap pin ssn id faq usb pdf url dvd cd tv pc ceo cfo cto cv gps sms sim wifi zip dob vat http https "
        "html json bot user nan po apo fpo dpo apt st mobile desk fax phone aa ae ap kg ok usd eur gbp am pm ac diy"
    )
)
#: Endings of nationalities, peoples, faiths and parties; what has none of them is some other name.
_PEOPLE = re.compile(
    r"(?:(?:[ai]ns?|ish|ese|ch|ics?|is?|ites?|ists?|ews?|eeks?|iss|ims?|crats?|als?|ots?|ers?|nes?|dus?)$)"
)
_INITIAL = re.compile(rf"(?:^|[ ])[{UPPER}]\.?(?: |$)")
_WORDS = re.compile(rf"[{UPPER}{LOWER}]+")

Known = Callable[[str], bool]


def kind_of(text: str, start: int, end: int, *, guess: str | None, known: Known) -> str | None:
    """Say what the name there is: ``person``, ``place``, ``organisation``, ``nationality`` or nothing.

    Args:
        text: the whole text; at most 40 characters before and 32 behind are looked at.
        start: where the name begins.
        end: one past its end.
        guess: what the model said; None where it passed over the name.
        known: whether a word in small letters is one of the language; unknown words make names of persons.
    """
    name = text[start:end]
    words = [word.lower() for word in _WORDS.findall(name)]
    if (
        not words
        or len(name) < 2
        or name.lower() in _NOT_HOUSES
        or words[0] in NOT_NAMES
        or not any(c.isupper() for c in name)
    ):
        return None
    if guess == "nationality":
        if _PEOPLE.search(words[-1]) and words[0] not in GIVEN_NAMES:
            return guess
        guess = None
    before, at = text[max(0, start - 40) : start], end
    if HOUSE_WORD.search(name):
        return "organisation"
    points = {"person": 0.0, "place": 0.0, "organisation": 0.0}
    if guess:
        points[guess] += _TRUST[guess]
    if guess == "person" and all(map(known, words)) and _is_no_name(words):
        points["person"] -= 0.6  # `Guilty Pleasures`
    if words[0] in GIVEN_NAMES:
        points["person"] += 2.0 if len(words) > 1 or len(words[0]) > 2 else 0.5
    if _INITIAL.search(name) and len(words) > 1:
        points["person"] += 1.5
    if _PLACE_WORD.search(name):
        points["place"] += 1.0
    if _STREET_WORD.search(name):
        points["place"] += 2.0
    if _TO_PERSON.search(before):
        points["person"] += 1.2
    if _FROM_PERSON.match(text, at, min(len(text), at + 32)):
        points["person"] += 1.2
    if _TO_PLACE.search(before):
        points["place"] += 2.0
    if _FROM_PLACE.match(text, at):
        points["place"] += 2.0
    if _TO_HOUSE.search(before) and not points["place"] >= 2.0:
        points["organisation"] += 1.5
    if _FROM_HOUSE.match(text, at):
        points["organisation"] += 2.0
    if len(words) in {2, 3} and not any(known(word) for word in words):
        points["person"] += 1.0
    best = max(points, key=lambda kind: (points[kind], kind == guess))
    return best if points[best] >= 1.0 else None


def _is_no_name(words: list[str]) -> bool:
    return GIVEN_NAMES.isdisjoint(words) and SURNAMES.isdisjoint(words)


#: How far the model is believed, in the same points.
_TRUST: Final = {"person": 1.2, "place": 1.1, "organisation": 0.9}
