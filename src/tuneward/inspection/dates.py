"""Detectors of time in a person's life: dates, dates of birth and ages.

Place on the road: entries of ``inspection.detectors.DETECTORS``. A date alone says little of anybody and has a kind of
its own (``date``); beside a word of birth it is a ``date_of_birth``. Months by name in English, German, Italian, French
and Spanish. Not caught: weekdays, holidays, relative times (``last spring``) and ages in words.
"""

import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.sketch import Sketch, sketch, vocabulary, words

_TIME: Final = (
    r"(?:[T ,]{1,2}[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
    r"(?: ?(?:Z|UTC|[+\-][0-2][0-9]:?[0-5][0-9])(?!\w))?)?"
)
_YEAR_FIRST = re.compile(
    r"[12](?<![\w.\-/][12])(?:(?<=1)[89]|(?<=2)[01])[0-9]{2}(?P<sep>[\-/.])(?:1[0-2]|0?[1-9])(?P=sep)"
    rf"(?:3[01]|[12][0-9]|0?[1-9])(?![0-9]|(?P=sep)[0-9]){_TIME}(?!\w)"
)
_DAY_FIRST = re.compile(
    r"[0-9](?<![\w.\-/][0-9])[0-9]?(?P<sep>[\-/.])(?P<second>[0-9]{1,2})(?P=sep)(?P<year>(?:1[89]|20|21)[0-9]{2}|[0-9]{2})"
    rf"(?![0-9]|(?P=sep)[0-9]){_TIME}(?!\w)"
)
_SEPARATED = re.compile(r"[0-9][\-/.][0-9]{1,2}[\-/.][0-9]")
_MONTH_NAMES: Final = words(
    "january february march april may june july august september october november december jan feb mar apr jun "
    "jul aug sep sept oct nov dec januar jänner februar märz mai juni juli oktober dezember mrz okt dez gennaio "
    "febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre gen mag giu lug ago "
    "set ott dic janvier février mars avril juin juillet août septembre octobre décembre janv févr avr juil déc "
    "enero febrero abril mayo junio julio septiembre setiembre octubre noviembre diciembre ene abr"
)
_MONTHS = vocabulary(_MONTH_NAMES)
_ORDINAL: Final = r"(?:st|nd|rd|th|er|\.|º|°)?"
_DAY_BEFORE = re.compile(
    rf"(?<![\w.,/\-])(?:3[01]|[12][0-9]|0?[1-9]){_ORDINAL}(?: (?:of|de)(?: the)?)?[ \-]$", re.IGNORECASE
)
_DAY_AFTER = re.compile(rf"\.? (?:3[01]|[12][0-9]|0?[1-9])(?!\d){_ORDINAL}(?![\w:%€$])", re.IGNORECASE)
_YEAR_AFTER = re.compile(
    r"(?:\.|,)?(?: (?:of|de|del|di))?[ \-](?:1[89]|20|21)[0-9]{2}(?![\w]|[.,][0-9])", re.IGNORECASE
)
_YEAR = re.compile(
    r"[12](?<![\w.,/$€£#:+*=][12])(?<!\D-[12])(?<![$€£#] [12])(?:(?<=1)[89]"
    r"|(?<=2)0)[0-9]{2}(?![a-rt-zA-Z0-9_/*+=%]|s\w|[.,:][0-9]|-(?!(?:1[89]|20)[0-9]{2}(?![\w]))| ?[*+=×÷%€$£])"
)
_BEFORE_YEAR = re.compile(
    r"(?:\b(?:in|since|of|from|until|till|by|during|before|after|circa|around|between|and|year|seit|von|bis|vor|nach|um|"
    r"jahr|jahre|nel|dal|del|fino al|anno|l'anno|en|depuis|avant|après|année|desde|hasta|año|summer|spring|autumn|fall|"
    r"winter|early|late|mid|a|an|the|my|our|his|her|their|its|this|dated|to|class of|season|©"
    r"|copyright)[ \u00a0]|[(]c[)] )$",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r" (?:of|people|men|women|children|students|employees|workers|users|customers|members|soldiers"
    r"|visitors|more|less|fewer|"
    r"km|kg|lb|lbs|mg|ml|mm|cm|miles|meters|metres|feet|ft|inches|yards|acres|pounds|grams|tons|calories|points|pages|words|"
    r"dollars|cents|euros?|bucks|pieces|items|units|copies|cards|books|boxes|bags|bottles|seats|times|steps|hours|minutes|"
    r"seconds|days|weeks|months|years|percent|per|or|and [0-9])\b"
)
_STANDING = re.compile(
    r" ?[)\]]|'s\b|[.,;:!?]?(?:\s|$)(?![a-z])| (?:film|movie|album|song|season|edition|report|is|was|and"
    r"|when|after|by|to|until)\b"
)
_ON = re.compile(r"\b(?:on|next|last|this|every|by|until|am|den|on the)[ ]$", re.IGNORECASE)
_WEEKDAY_NAMES: Final = words(
    "monday tuesday wednesday thursday friday saturday sunday montag dienstag mittwoch donnerstag freitag samstag "
    "sonntag lunedì martedì mercoledì giovedì venerdì lundi mardi mercredi jeudi vendredi samedi dimanche lunes "
    "martes miércoles jueves viernes sábado domingo domenica"
)
WEEKDAYS = vocabulary(_WEEKDAY_NAMES)
#: Names of months and weekdays in five languages, in small letters; ``addresses`` takes none for a street.
DAYS_AND_MONTHS: Final = frozenset((*_MONTH_NAMES, *_WEEKDAY_NAMES))
_BIRTH = vocabulary(
    words(
        "born birth birthday birthdate dob geboren geb geburtsdatum geburtstag geburt nato nata nascita né née "
        "naissance nacido nacida nació nacimiento fdn ddn"
    )
)
_BIRTH_WORD = re.compile(
    r"\b(?:born|birth(?:day|date)?|dob|d\.o\.b|geboren|geb|geburts?(?:datum|tag)?|nat[oa]|nascita|née?|naissance|"
    r"nacid[oa]|nació|nacimiento|fdn|ddn)\b",
    re.IGNORECASE,
)
_REACH: Final = 32


def find_dates(text: str) -> Iterator[Finding]:
    """Find dates (kind ``date``), and those that a word of birth introduces (kind ``date_of_birth``).

    A bare year counts where a preposition or article leads to it and it counts nothing (``in 1977``, not ``2000 men``).
    """
    seen = sketch(text)
    if seen.holds(WEEKDAYS):
        for start, end, _ in seen.places(WEEKDAYS):
            if text[start].isupper() or _ON.search(text, max(0, start - 8), start):
                yield Finding("date", start, end, confidence=0.4, rule="date.weekday")
    if not seen.digits:
        return
    born = seen.holds(_BIRTH)
    if seen.digits >= 4 and _SEPARATED.search(text):
        for pattern, rule in ((_YEAR_FIRST, "year_first"), (_DAY_FIRST, "day_first")):
            for found in pattern.finditer(text):
                if rule == "year_first" or _plausible(found):
                    yield _date(text, found.start(), found.end(), 0.9, rule, born=born)
    written = set()
    if seen.holds(_MONTHS):
        for start, end, rule in _with_month(seen):
            written.add(end)
            yield _date(text, start, end, 0.85, rule, born=born)
    if seen.digits >= 4:
        for found in _YEAR.finditer(text):
            start, end = found.span()
            if end in written or _COUNTED.match(text, end):
                continue
            if _BEFORE_YEAR.search(text, max(0, start - 12), start):
                yield _date(text, start, end, 0.6, "year", born=born)
            elif _STANDING.match(text, end):
                yield _date(text, start, end, 0.4, "year_alone", born=born)


def _plausible(found: re.Match[str]) -> bool:
    separator, year = found["sep"], found["year"]
    first, second = int(found[0].split(separator, 1)[0]), int(found["second"])
    fits = 1 <= min(first, second) <= 12 and 1 <= max(first, second) <= 31
    return fits and (len(year) == 4 or (separator != "-" and len(found[0]) >= 6))


def _with_month(seen: Sketch) -> Iterator[tuple[int, int, str]]:
    """A month's name with a day, a year or both beside it."""
    text = seen.text
    for start, end, _ in seen.places(_MONTHS):
        before = _DAY_BEFORE.search(text, max(0, start - 16), start)
        after = None if before else _DAY_AFTER.match(text, end)
        close = after.end() if after else end
        year = _YEAR_AFTER.match(text, close)
        if before or after or year:
            yield before.start() if before else start, year.end() if year else close, "month"


def _date(text: str, start: int, end: int, confidence: float, rule: str, *, born: bool) -> Finding:
    if born:
        ends = [word.end() for word in _BIRTH_WORD.finditer(text, max(0, start - _REACH), start)]
        if ends and "\n\n" not in text[ends[-1] : start]:
            return Finding("date_of_birth", start, end, max(confidence, 0.9), f"date_of_birth.{rule}")
    return Finding(kind="date", start=start, end=end, confidence=confidence, rule=f"date.{rule}")


_BEHIND_AGE = vocabulary(words("old age yo o yr alt jahre jährige jähriger jährigen jährig anni años birthday"))
_BEFORE_AGE = vocabulary(
    words(
        "aged age ages turn turned turning turns alter età edad âge âgé âgée was were is am be m s now just only ha "
        "tiene tengo cumplió ai died of"
    )
)
_AGE_BEFORE_WORD = re.compile(
    r"[0-9](?<![\w.,/$€£\-][0-9])[0-9]{0,2}(?=(?:[ \-]| and a half )(?:years?|yrs?|months?"
    r"|weeks?)[ \-](?:old\b|of age\b)|"
    r"[ \-]?(?:y/o|y\.o\.|yo\b|yr/o)|(?:st|nd|rd|th) birthday\b|[ \-](?:Jahre?|Monate?) alt\b|[ \-]?-jährige?[rnms]?\b|"
    r"[ \-](?:jährige?[rnms]?\b|anni d'età|años de edad))",
    re.IGNORECASE,
)
_APPOSED = re.compile(r"[1-9](?<=[a-zà-ÿ], [1-9])[0-9](?=, [a-z])")
_NUMBER = re.compile(r"[0-9](?<= [0-9])[0-9]{0,2}(?![0-9])")
_AGE_WORD = re.compile(
    r"(?:\b(?:aged|ages?|age (?:is|was)|turn|turned|turning|turns|alter|im alter von|età|all'età di|edad|âge|âgée? de"
    r"|age of|died at|"
    r"(?P<plain>(?:\b(?:he|she|i|they|who|son|daughter|brother|sister|mother|father|mom|dad|wife|husband"
    r"|kid|child|baby|boy|girl) (?:was|were|is|am|will be|would be)|\b(?:i'm|he's|she's|i'll be|he'll be|she'll be))"
    r"(?: (?:only|about|almost|nearly|currently|already|just|now|still|around|exactly))?|(?:man|woman|boy|girl) of)"
    r"|(?P<weak>now|just|only|ha|tiene"
    r"|tengo|cumplió|j'ai))[:=]? )$",
    re.IGNORECASE,
)
_LAST_WORDS: Final = frozenset(
    words(
        "aged age ages turn turned turning turns alter von età di edad âge de of was were is now just only ha tiene "
        "tengo cumplió j'ai am i'm he's she's be at about almost nearly currently already still around exactly"
    )
)
_COUNTS = re.compile(
    r"[\w/$€£%]|[.,:\-][0-9]|:| ?(?:%|percent|dollars|minutes|hours|days|weeks|miles|feet|inches|of|more|times|or|x)\b|"
    r" (?!years\b|anni\b|ans\b|años\b)[a-z]{1,20}s\b"
)
_SENTENCE_GOES_ON = re.compile(
    r"[.,;!?)]|\n|$| (?:and|but|when|or so|now|today|years|yrs|at the time|next|this|in (?:january|february|march|april"
    r"|may|june|july|august|september|october|november|december))\b",
    re.IGNORECASE,
)
_SPOKEN = re.compile(
    r"\b(?P<age>(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[ \-](?:one|two|three|four|five|six|seven"
    r"|eight|nine))?|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen"
    r"|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen))[ \-](?:years?|months?)[ \-](?:of )?$"
)
OLD = vocabulary(("old", "olds", "age"))
_YEARS = re.compile(r" (?:anni|ans|años|years old)\b")


def find_ages(text: str) -> Iterator[Finding]:
    """Find a person's age beside a word that says so (kind ``age``); the span is the number, in digits or English."""
    seen = sketch(text)
    if seen.holds(OLD):
        for start, _, _ in seen.places(OLD):
            spoken = _SPOKEN.search(seen.lowered, max(0, start - 32), start)
            if spoken:
                yield Finding("age", *spoken.span("age"), confidence=0.85, rule="age.spoken")
    if not seen.digits:
        return
    for found in _APPOSED.finditer(text):
        yield Finding(kind="age", start=found.start(), end=found.end(), confidence=0.5, rule="age.apposed")
    if seen.holds(_BEHIND_AGE):
        for found in _AGE_BEFORE_WORD.finditer(text):
            if int(found[0]) <= 119:
                yield Finding(kind="age", start=found.start(), end=found.end(), confidence=0.9, rule="age.before_word")
    if not seen.holds(_BEFORE_AGE):
        return
    lowered = seen.lowered
    for found in _NUMBER.finditer(text):
        start, end = found.span()
        before = lowered[lowered.rfind(" ", max(0, start - 16), start - 1) + 1 : start - 1].rstrip(":=")
        if before not in _LAST_WORDS or int(found[0]) > 119 or _COUNTS.match(text, end):
            continue
        word = _AGE_WORD.search(text, max(0, start - 28), start)
        if word and word["plain"] and not _SENTENCE_GOES_ON.match(text, end):
            continue
        if word and (not word["weak"] or _YEARS.match(text, end)):
            yield Finding(kind="age", start=start, end=end, confidence=0.75, rule="age.after_word")
