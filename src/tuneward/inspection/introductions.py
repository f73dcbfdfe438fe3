"""Detectors of persons by what introduces them: titles, greetings, closings, labels.

Place on the road: parts of ``inspection.names``, for texts that no model of language reads. A title, an introduction, a
greeting, a label, the line under a closing: behind each stands a name, if it is capitalised. Not caught, and left to
``inspection.recognizer``: a name without any of these, in running prose.
"""

import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.letters import CAPITALISED, LOWER, UPPER
from tuneward.inspection.sketch import Sketch, any_of, sketch, vocabulary, words

_PARTICLE: Final = "van|von|der|den|de|del|della|di|da|dos|do|du|la|le|el|al|bin|ibn|ben|ten|ter|zu|y|st\\.?|af|av"
_INITIAL: Final = rf"[{UPPER}]\.?(?![\w])"
NAME: Final = (
    rf"{CAPITALISED}(?: (?:{_INITIAL}|{CAPITALISED}|(?:{_PARTICLE}) (?:(?:{_PARTICLE}) )?{CAPITALISED})){{0,3}}+"
)
_NAME = re.compile(NAME)

_TITLES = vocabulary(
    words(
        "mr mrs ms miss mister dr doctor prof professor sir madam madame herr frau fräulein signor signora signore "
        "sig dott dottore dottoressa monsieur mademoiselle mme mlle señor señora señorita sr sra srta don doña rev "
        "reverend"
    )
)
_ABBREVIATED: Final = frozenset(words("mr mrs ms dr prof sig dott mme mlle sr sra srta rev"))


def find_titled(text: str) -> Iterator[Finding]:
    """Find titles before a name (kind ``title``), and the name behind them (kind ``person``)."""
    seen = sketch(text)
    if not seen.capitals:
        return
    for start, end, word in seen.places(_TITLES) if seen.holds(_TITLES) else ():
        at = end + 1 if text[end : end + 1] == "." and word in _ABBREVIATED else end
        if more := _MORE_TITLES.match(text, at):
            at = more.end()
        if text[at : at + 1] != " " or not (text[start].isupper() or word in _ABBREVIATED):
            continue
        name = _NAME.match(text, at + 1)
        if name is None or names_no_person(name[0]):
            continue
        yield Finding("title", start, end, confidence=0.8, rule="title.before_name")
        yield Finding("person", name.start(), _name_end(text, name), confidence=0.85, rule="person.titled")


_MORE_TITLES = re.compile(r"(?: (?:Dr|Prof|med|phil|rer|nat|jur|Ing|habil)\.){1,6}")

#: Phrases behind which a name stands, and what is thought of it. Their last word is what the text is searched for.
_SURE: Final = (
    "my name is; the name is; maiden name is; i am called; call me; calls me; named him; named her; "
    "under the name; signed by; "
    "ich heiße; mein name ist; mi chiamo; il mio nome è; je m'appelle; mon nom est; me llamo; mi nombre "
    "es; dear; liebe; lieber; "
    "sehr geehrte; sehr geehrter; gentile; caro; cara; cher; chère; estimado; estimada; querido; "
    "querida; speak to; speak with; "
    "talk to; regards; sincerely; grüßen; saluti; cordialement; saludos; atentamente; cheers; yours"
)
_WEAK: Final = (
    "this is; i'm; i am; hi; hello; hey; hallo; ciao; bonjour; hola; named; ich bin; sono; je suis; soy; thanks"
)


def _by_last_word(phrases: str, confidence: float) -> Iterator[tuple[str, tuple[str, float]]]:
    for phrase in phrases.split("; "):
        yield re.split(r"[ ']", phrase)[-1], (phrase, confidence)


_PHRASES: Final[dict[str, list[tuple[str, float]]]] = {}
for _last, _entry in [*_by_last_word(_SURE, 0.75), *_by_last_word(_WEAK, 0.6)]:
    _PHRASES.setdefault(_last, []).append(_entry)
_INTRODUCTION_WORDS = vocabulary(_PHRASES)
_LABELS = vocabulary(
    words(
        "name surname vorname nachname familienname nome cognome nom prénom nombre apellido apellidos patient attn "
        "contact"
    )
)
#: Labels that in a transcript name who speaks; only a whole name that fills its entry is one there.
_ROLES: Final = frozenset(("patient", "contact"))
_ENTRY = re.compile(rf"{CAPITALISED}(?: (?:{_INITIAL}|{CAPITALISED})){{1,3}}+[\"']?[ \t]*(?:[\n\r,;()]|$)")
_LABEL_END = re.compile(
    r"(?: completo| e cognome| de famille)?[\"']?(?:[ \t]{0,3}:[ \t]{0,3}| (?:is|ist|è|est|es) )[\"']?", re.IGNORECASE
)
#: What is capitalised behind an introduction and no name.
NOT_NAMES: Final = frozenset(
    words(
        "the this that these those there here it its what why how when where who which a an and or but if so not no "
        "yes i i'm you he she we they my your his her our their all every everyone everybody anyone team sir madam "
        "customer client friend friends mom dad mum mother father doctor nurse bot user assistant support manager "
        "patient patients caller agent guest speaker therapist interviewer "
        "please thanks thank monday tuesday wednesday thursday friday saturday sunday january february march april "
        "may june july august september october november december god lord jesus ok okay well just sorry glad happy "
        "in at on for from to of with as by do damen herren is are was were can could would will shall should may "
        "might must address phone email date age id mr mrs ms dr miss unknown n/a none everything nothing something "
        "american english french german italian spanish"
    )
)


#: Phrases behind which nothing but a name stands, in small letters too; one word of each is looked for.
_NAMING: Final = {
    "name": ("my name is ", "mein name ist ", "maiden name is "),
    "called": ("i am called ", "i'm called "),
    "heiße": ("ich heiße ",),
    "chiamo": ("mi chiamo ",),
    "nome": ("il mio nome è ",),
    "appelle": ("je m'appelle ",),
    "nom": ("mon nom est ",),
    "llamo": ("me llamo ",),
    "nombre": ("mi nombre es ",),
}
_NAMING_WORDS = vocabulary(_NAMING)
_SMALL_NAME = re.compile(
    rf"(?P<first>[{LOWER}]{{2,30}})(?: [{LOWER}]\.?(?= ))?(?: (?P<last>[{LOWER}]{{2,30}}))?(?![\w@])"
)
_NO_SMALL_NAMES: Final = NOT_NAMES | frozenset(
    words(
        "not called spelled spelt under listed registered wrong incorrect misspelled also still just really actually "
        "already being now different missing mentioned written below above too very about changed going known "
        "because than then like more one same without speaking calling nicht auch noch jetzt falsch non anche pas "
        "aussi también und et"
    )
)


def _in_small_letters(seen: Sketch) -> Iterator[Finding]:
    """Names that nobody wrote with a capital: ``my name is anna berg``."""
    lowered, text = seen.lowered, seen.text
    for start, _, word in seen.places(_NAMING_WORDS):
        for phrase in _NAMING[word]:
            at = start - phrase.index(word)
            if at >= 0 and lowered.startswith(phrase, at):
                name = _SMALL_NAME.match(text, at + len(phrase))
                if name and name["first"] not in _NO_SMALL_NAMES:
                    whole = name["last"] is not None and name["last"] not in _NO_SMALL_NAMES
                    end = name.end() if whole else name.end("first")
                    yield Finding("person", name.start(), end, 0.6, "person.small_letters")
                break


#: Bits of the words without which there is no title, and no introduction.
TITLED: Final = any_of(_TITLES)
INTRODUCED: Final = any_of(_INTRODUCTION_WORDS, _NAMING_WORDS, _LABELS)


def find_introduced(text: str) -> Iterator[Finding]:
    """Find persons behind an introduction, a greeting, a closing or a label."""
    seen = sketch(text)
    if seen.holds(_NAMING_WORDS):
        yield from _in_small_letters(seen)
    if not seen.capitals:
        return
    if seen.holds(_INTRODUCTION_WORDS):
        for start, end, word in seen.places(_INTRODUCTION_WORDS):
            if text[end + 1 : end + 2].islower():
                continue  # the next word, as for nearly all of them
            at = _next_capital(text, end)
            if at:
                confidence = max(
                    (sure for phrase, sure in _PHRASES[word] if _ends_with(seen.lowered, end, phrase)), default=0
                )
                if confidence and not (word == "to" and text[start - 1 : start] == "-"):
                    yield from _person(text, at, confidence, "introduced")
    if seen.holds(_LABELS):
        for _, end, word in seen.places(_LABELS):
            label = _LABEL_END.match(text, end)
            if label and (word not in _ROLES or _ENTRY.match(text, label.end())):
                yield from _person(text, label.end(), 0.75, "labelled")


def _next_capital(text: str, end: int) -> int:
    """Where the next word begins, if it has a capital and no more than a comma and a blank stand between; else 0."""
    at = end + 1 if text[end : end + 1] == "," else end
    if text[at : at + 1] not in {" ", "\n"}:
        return 0
    at += 2 if text[at + 1 : at + 2] in {" ", "\n"} else 1
    return at if text[at : at + 1].isupper() else 0


def _ends_with(lowered: str, end: int, phrase: str) -> bool:
    start = end - len(phrase)
    return start >= 0 and lowered.startswith(phrase, start) and not lowered[max(0, start - 1) : start].isalnum()


def _person(text: str, at: int, confidence: float, rule: str) -> Iterator[Finding]:
    name = _NAME.match(text, at)
    if name and not names_no_person(name[0]):
        yield Finding("person", name.start(), _name_end(text, name), confidence, f"person.{rule}")


def names_no_person(name: str) -> bool:
    """Whether a capitalised word that begins a name belongs to a greeting or a sentence instead."""
    first = re.split(r"[ '’]", name, maxsplit=1)[0].lower()
    return first in NOT_NAMES or len(name) < 2


def _name_end(text: str, name: re.Match[str]) -> int:
    """The end of a name without the mark of the genitive."""
    end = name.end()
    return end - 2 if text[end - 2 : end] in {"'s", "’s"} else end
