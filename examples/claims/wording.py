"""How people write dates, sums and numbers, region by region.

Place on the road: beside ``make_data.py``. Each function returns the writing together with what it means.
"""

import random
from datetime import date, timedelta

_NAMES = "January February March April May June July August September October November December"
MONTHS = tuple(_NAMES.split(" "))
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", *_TEENS.split(" "))
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NOUN = {
    "EUR": ["euros", "euro"],
    "GBP": ["pounds", "quid", "pounds sterling"],
    "USD": ["dollars", "bucks", "US dollars"],
}
_NOUN["CHF"] = ["francs", "Swiss francs"]
COMMA_REGIONS = {"DE", "AT", "FR", "ES", "IT", "NL"}


def _ordinal(day: int) -> str:
    return f"{day}{'th' if 10 <= day % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def relative(rng: random.Random, mailed: date, happened: date) -> str | None:
    """``happened`` as seen from the day of the mail, or None if nobody would say it so."""
    days = (mailed - happened).days
    name = DAYS[happened.weekday()]
    if days == 0:
        return rng.choice(["this morning", "today", "an hour ago"])
    if days == 1:
        return rng.choice(["yesterday", "yesterday evening", "last night"])
    if days <= 6:
        choices = [f"last {name}", f"on {name}", f"this past {name}"]
        return rng.choice(
            ["the day before yesterday", *choices] if days == 2 else [*choices, f"{_ONES[days]} days ago"]
        )
    return f"{rng.choice(['a week', 'one week', 'exactly a week'])} ago" if days == 7 else None


def absolute(rng: random.Random, mailed: date, day: date, region: str, *, year_known: bool, slashes: bool) -> str:
    """``day`` written out, without a preposition. The year is left out only where the mail's date tells it."""
    d, m, y = day.day, MONTHS[day.month - 1], day.year
    forms = [day.isoformat(), f"{d} {m} {y}", f"{d} {m[:3]} {y}", f"the {_ordinal(d)} of {m} {y}"]
    if region == "US":
        forms = [day.isoformat(), f"{m} {d}, {y}", f"{m[:3]} {d}, {y}", f"{m} {_ordinal(d)}, {y}"]
    if region in {"DE", "AT", "CH"}:
        forms += [f"{d}.{day.month}.{y}", day.strftime("%d.%m.%Y"), day.strftime("%d.%m.%y")]
    elif slashes:
        order = "%m/%d/" if region == "US" else "%d/%m/"
        forms += [day.strftime(order + "%y"), day.strftime(order + "%Y")]
    if year_known and 0 <= (mailed - day).days < 300:
        short = [f"{m} {d}", f"{m} {_ordinal(d)}"] if region == "US" else [f"{d} {m}", f"the {_ordinal(d)} of {m}"]
        forms += [*short, *short]
    return rng.choice(forms)


def adverb(writing: str) -> str:
    """A written date as an adverb: ``on the 3rd of March``."""
    return f"on {writing}"


def header_date(rng: random.Random, mailed: date, clock: str, region: str, *, weekday: bool) -> str:
    """The mail's own date line."""
    m = MONTHS[mailed.month - 1]
    name = DAYS[mailed.weekday()]
    plain = f"{m} {mailed.day}, {mailed.year}" if region == "US" else f"{mailed.day} {m} {mailed.year}"
    forms = [f"Date: {name[:3]}, {mailed.day} {m[:3]} {mailed.year}", f"Sent: {name}, {plain}"]
    if not weekday:
        forms += [f"Date: {mailed.isoformat()}", f"Date: {plain}", f"Date: {mailed.isoformat()} {clock}"]
    return rng.choice(forms)


def in_words(value: int) -> str | None:
    """English words for round sums as people say them, else None."""
    if value < 100:
        tens, ones = divmod(value, 10)
        return _ONES[value] if value < 20 else _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    if value < 1000 and value % 10 == 0:
        rest = in_words(value % 100) if value % 100 else ""
        return f"{_ONES[value // 100]} hundred" + (f" and {rest}" if rest else "")
    if value < 2000 and value % 100 == 0 and value != 1000:
        return f"{_ONES[value // 100]} hundred"
    if value < 20000 and value % 1000 == 0:
        return f"{_ONES[value // 1000]} thousand"
    if value < 20000 and value % 1000 == 500:
        return f"{_ONES[value // 1000]} and a half thousand"
    return None


def _grouped(value: float, cents: bool, group: str, point: str) -> str:
    text = f"{value:,.2f}" if cents else f"{int(value):,}"
    return text.replace(",", "\0").replace(".", point).replace("\0", group)


def amount(rng: random.Random, value: float, currency: str, region: str) -> str:
    """A sum as the region writes it."""
    whole = value == int(value)
    words = in_words(int(value)) if whole else None
    if words and rng.random() < 0.28:
        return rng.choice(["", "", "about ", "roughly ", "some "]) + f"{words} {rng.choice(_NOUN[currency])}"
    cents = not whole or rng.random() < 0.25
    noun = rng.choice(_NOUN[currency])
    if currency == "CHF":
        swiss = _grouped(value, cents, "'", ".")
        forms = [f"CHF {swiss}", f"Fr. {swiss}", f"{swiss} CHF", f"{swiss} {noun}"]
        return rng.choice([*forms, f"CHF {swiss}.–", f"Fr. {swiss}.-"] if not cents else forms)
    if region in COMMA_REGIONS:
        text = _grouped(value, cents, " " if region == "FR" else ".", ",")
        forms = [f"{text} €", f"{text} EUR", f"€ {text}", f"{text} {noun}", f"EUR {text}"]
        return rng.choice([*forms, f"{text},- EUR"] if not cents else forms)
    text = _grouped(value, cents, ",", ".")
    sign = {"EUR": "€", "GBP": "£", "USD": "$"}[currency]
    plain = text.replace(",", "")
    forms = [
        f"{sign}{text}",
        f"{sign}{text}",
        f"{sign}{plain}",
        f"{currency} {text}",
        f"{plain} {noun}",
        f"{text} {noun}",
    ]
    if whole and value >= 1000 and value % 100 == 0:
        forms.append(f"{sign}{value / 1000:g}k")
    return rng.choice(forms)


def sum_between(rng: random.Random, low: int, high: int) -> float:
    """A sum of money, small ones likelier, with the roundness that sums have."""
    value = low * (high / low) ** rng.random()
    roll = rng.random()
    if roll < 0.5:
        step = 10 if value < 300 else 50 if value < 2000 else 100 if value < 9000 else 500
        return float(max(step, round(value / step) * step))
    return float(round(value)) if roll < 0.78 else round(value, 2)


def policy_number(rng: random.Random) -> str:
    """A contract number in one of the house's formats, as officially written."""
    digits = "".join(rng.choice("0123456789") for _ in range(10))
    letter = rng.choice("ABCDEFGHKLMNPRST")
    return rng.choice(
        [
            f"{rng.choice(['HH', 'HO', 'MV', 'KF', 'TR', 'LI', 'GL'])}-{digits[:6]}",
            f"{rng.choice(['HH', 'HO', 'MV', 'KF', 'LI'])}{digits[:7]}",
            f"POL/20{rng.randint(11, 24)}/{digits[:5]}",
            f"{letter}{digits[:4]}-{digits[4:7]}-{rng.choice('ABCDEFX')}",
            f"P-{digits[:3]}-{digits[3:7]}",
            f"TRV{digits[:6]}",
        ]
    )


def as_typed(rng: random.Random, number: str) -> str:
    """A policy number as a customer types it: mostly right, sometimes in small letters or with blanks."""
    roll = rng.random()
    if roll < 0.07:
        return number.lower()
    if roll < 0.12 and number[:2].isalpha() and number[2:].isdigit():
        return f"{number[:2]} {number[2:5]} {number[5:]}"
    return number


def normal_policy(typed: str) -> str:
    """The rule of the record: capitals, no blanks."""
    return typed.upper().replace(" ", "")


def reference(rng: random.Random) -> str:
    """A number that is no policy number but looks important."""
    digits = "".join(rng.choice("0123456789") for _ in range(10))
    return rng.choice(
        [
            f"CLM-20{rng.randint(23, 25)}-{digits[:5]}",
            f"ST/{digits[:4]}/{rng.randint(23, 25)}",
            f"INV-{digits[:6]}",
            f"{digits[:4]}-{digits[4:8]}",
            f"AZ {digits[:3]} Js {digits[3:6]}/25",
            f"R{digits[:6]}",
        ]
    )


def plate(rng: random.Random, region: str) -> str:
    """A licence plate of the region."""
    a, b, c, d = (rng.choice("ABCDEFGHKLMNPRSTUX") for _ in range(4))
    n = rng.randint(10, 99)
    if region in {"DE", "AT"}:
        return f"{a}-{b}{c} {n}{rng.randint(10, 99)}"
    if region == "CH":
        return f"ZH {n}{rng.randint(1000, 9999)}"
    return f"{n % 9}{a}{b}{c}{rng.randint(100, 999)}" if region == "US" else f"{a}{b}{n} {c}{d}{a}"


def back(rng: random.Random, mailed: date, low: int, high: int) -> date:
    """A day between ``low`` and ``high`` days before ``mailed``."""
    return mailed - timedelta(days=rng.randint(low, high))
