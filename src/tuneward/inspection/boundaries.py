r"""What may stand before and around a match: the words and characters that detectors look at beside a number.

Place on the road: used by the detectors of this room only. Looks at a window of fixed width, so that its cost does not
grow with the text. Knows no kind of finding.
"""

import re
from typing import Final

#: A token may begin here: after no letter or digit, or after the escape of a line end in JSON text (``\nDE89…``).
BEGINNING: Final = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrtbf]))"

WINDOW_CHARACTERS: Final = 64

_PHONE_WORDS = (
    "phone|telephone|telefon|telefono|teléfono|téléphone|telefonnummer|rufnummer|tel|mobile|mobil|mobil(?:e|nummer)|"
    "móvil|portable|cellulare|cell|cellphone|handy|handynummer|fax|whatsapp|sms|call|calling|ring|dial|reach|anrufen|"
    "erreichbar|erreichen|rückruf|text me|contact number|hotline|chiamare|appelez|llamar|answering|messages? to|"
    "called|calls|phoned|phones|texted|texting|voicemail|contact (?:me|us|him|her|them)|(?:my|your|his"
    "|her|their|our|new|old|home|"
    "work|office|private|direct) number|this number|following number|rang|ringing|message|text|registered"
    "|desk|texts? to|numéro|número|landline|direct line|durchwahl|switchboard"
)
_REFERENCE_WORDS = (
    "policy|policies|police|polizza|póliza|versicherungsnummer|versicherungsschein|vertragsnummer|vertrag|contract|"
    "claim|schaden|schadennummer|sinistro|case|ticket|order|bestellung|invoice|rechnung|fattura|facture|reference|ref|"
    "referenz|aktenzeichen|account|konto|kontonummer|kundennummer|customer|member|serial|model|part|tracking|parcel|"
    "shipment|amount|betrag|total|id|isbn|vin|ssn|social security|document|certificate|file|registration"
)
_CARD_WORDS = "card|cc|visa|mastercard|amex|karte|kreditkarte|carta|carte|tarjeta"
_WORD = re.compile(
    rf"(?<![a-zà-ÿ])(?:(?P<phone>{_PHONE_WORDS})|(?P<card>{_CARD_WORDS})|(?P<reference>{_REFERENCE_WORDS}))(?![a-zà-ÿ])",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_ASCII_DIGITS = "0123456789"
_SENTENCE_END = re.compile(r"[\r\n]|\\[rn]|(?<!\bno)(?<!\bnr)[.!?]\s", re.IGNORECASE)


def introduced_by(text: str, start: int) -> str | None:
    """Say which word introduces the number at ``start``: ``phone``, ``card``, ``reference`` or None.

    The nearest word in the 64 characters before counts, and only if no other digit stands between: in
    ``policy 88, call 0151…`` the second number is introduced by a phone word. Where a phone word follows a reference
    word (``the reference of the phone call: …``) it may be either, and neither is said. A reference word
    counts to the end of its sentence only: a signature's number under ``policy number to follow.`` is none of it.
    """
    window = text[max(0, start - WINDOW_CHARACTERS) : start]
    last, words = None, set()
    behind = 1 + max(map(window.rfind, _ASCII_DIGITS))  # a word before the last digit introduces nothing here
    for found in _WORD.finditer(window, behind):
        words = {found.lastgroup} if last is None or _DIGIT.search(window, last.end(), found.start()) else words
        words.add(found.lastgroup)
        last = found
    if last is None or _DIGIT.search(window, last.end()):
        return None
    if last.lastgroup == "reference" and _SENTENCE_END.search(window, last.end()):
        return None
    return None if last.lastgroup == "phone" and "reference" in words else last.lastgroup
