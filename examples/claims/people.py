"""Who writes: invented customers, their voices, and the identifiers that a real mailbox is full of.

Place on the road: beside ``make_data.py``. Mail domains are example.com and example.org, telephone numbers come from
ranges that regulators keep for fiction, cards are the published test numbers, bank codes are not assigned.
"""

import random
from dataclasses import dataclass

VOICES = ("plain", "terse", "elderly", "angry", "polite", "business", "foreign", "rambling")
#: Chance of a typing mistake per word.
TYPOS = {"plain": 0.01, "terse": 0.03, "elderly": 0.015, "angry": 0.025, "polite": 0.0, "business": 0.0}
TYPOS |= {"foreign": 0.03, "rambling": 0.02}

_FIRST = {
    "UK": "Margaret Oliver Priya Gareth Hazel Tom Shanice Alistair Doreen Callum Nadia Winifred",
    "IE": "Aoife Declan Siobhan Eoin Niamh Padraig Orla Fergus",
    "US": "Tyler Denise Marcus Brooke Hector Wanda Kayla Earl Trisha Dwayne",
    "DE": "Jürgen Anke Murat Heike Torsten Svetlana Uwe Lieselotte Finn Gudrun",
    "AT": "Leopold Resi Franz Brigitte Milan Elfriede",
    "FR": "Benoît Amélie Jacques Karima Solène Thierry",
    "ES": "Pilar Javier Montserrat Iker Lucía",
    "IT": "Giulia Paolo Concetta Matteo Rosalba",
    "NL": "Joost Anouk Wim Fatima Marijke",
    "CH": "Urs Regula Beat Chantal Reto Ladina",
}
_LAST = {
    "UK": "Whitcombe Okafor Pritchard Sandhu Ellery Marsh Thackeray Boateng Lomax Fairweather Quill Ashdown",
    "IE": "Gallaher Mulvane Keogh Tierny Shaughn Brannock",
    "US": "Dorsett Ruiz Vandermolen Caldwell Pike Johanssen Tuttle Moreno Hargrove",
    "DE": "Wiesner Kowalke Dressel Yildiz Brackmann Petzold Ohlendorf Faber Stüwe",
    "AT": "Hinteregger Moser Pichlbauer Nowotny Kranz",
    "FR": "Delacourt Bonnaire Mercadier Haddad Vautrin",
    "ES": "Ibarrola Cuesta Montalbán Peral",
    "IT": "Brambilla Sorrentini Galluzzo Ferrante",
    "NL": "Hoekstra Dijkmans Verbruggen Bouali",
    "CH": "Zumthurn Aebischer Caflisch Brunnert Rochatte",
}
TOWNS = {
    "UK": "Leeds Norwich Cardiff Dundee Exeter Hull Preston Whitby Ludlow Stirling",
    "IE": "Galway Cork Sligo Tralee Athlone",
    "US": "Toledo Boise Tulsa Duluth Savannah Fresno Albany",
    "DE": "Bremen Kassel Erfurt Lübeck Trier Potsdam Ulm",
    "AT": "Graz Linz Villach Bregenz",
    "FR": "Nantes Dijon Annecy Rouen",
    "ES": "Bilbao Murcia Toledo",
    "IT": "Parma Trieste Lecce",
    "NL": "Utrecht Zwolle Breda",
    "CH": "Bern Luzern Chur Lausanne",
}
_WEIGHT = {"UK": 30, "US": 20, "DE": 18, "CH": 9, "IE": 6, "AT": 5, "FR": 4, "IT": 3, "ES": 3, "NL": 4}
CURRENCY = {"UK": "GBP", "US": "USD", "CH": "CHF"}
_NATIVE = {"UK", "US", "IE"}
#: Published test numbers of payment firms.
_CARDS = ("4242424242424242", "5555555555554444", "4000056655665556", "378282246310005", "4012888888881881")
_IBAN = {"DE": (8, 10), "AT": (5, 11), "CH": (5, 12), "FR": (10, 13), "NL": (0, 10), "UK": (6, 8), "IE": (6, 8)}


@dataclass(frozen=True)
class Customer:
    """An invented person with a region, a manner of writing and a mailbox."""

    id: str
    first: str
    last: str
    region: str
    voice: str
    mailbox: str
    phone: str | None

    @property
    def currency(self) -> str:
        """The currency in which the region pays."""
        return CURRENCY.get(self.region, "EUR")


def customer(rng: random.Random, identifier: str) -> Customer:
    """A new customer."""
    region = rng.choices(list(_WEIGHT), weights=list(_WEIGHT.values()))[0]
    first, last = rng.choice(_FIRST[region].split()), rng.choice(_LAST[region].split())
    native = ["plain", "terse", "elderly", "angry", "polite", "rambling", "business"]
    voice = rng.choice(native if region in _NATIVE else ["foreign", "foreign", "foreign", *native])
    plain = str.maketrans("üöäéèîôíáçñû", "uoaeeioiacnu")
    box = rng.choice(["{0}.{1}", "{1}{2}", "{0}_{1}", "{0}{2}"])
    name = box.format(first.lower(), last.lower(), rng.randint(2, 98)).translate(plain)
    return Customer(
        id=identifier,
        first=first,
        last=last,
        region=region,
        voice=voice,
        mailbox=f"{name}@{rng.choice(['example.com', 'example.org', 'mail.example.com', 'example.net'])}",
        phone=_phone(rng, region),
    )


def _phone(rng: random.Random, region: str) -> str | None:
    n = rng.randint
    numbers = {
        "UK": [f"07700 900{n(0, 999):03}", f"020 7946 0{n(0, 999):03}", f"+44 7700 900 {n(0, 999):03}"],
        "IE": [f"020 91{n(0, 9)} {n(0, 9999):04}"],
        "US": [f"({n(201, 989)}) 555-01{n(0, 99):02}", f"+1 {n(201, 989)}-555-01{n(0, 99):02}"],
        "DE": [f"030 23125 {n(0, 999):03}", f"+49 89 99998 {n(0, 999):03}", f"040/66969 {n(0, 999):03}"],
        "FR": [f"01 99 00 {n(10, 99)} {n(10, 99)}", f"+33 6 39 98 {n(10, 99)} {n(10, 99)}"],
    }
    return rng.choice(numbers[region]) if region in numbers else None


def iban(rng: random.Random, region: str) -> str:
    """An IBAN whose check digits are right (ISO 13616, ISO 7064 mod 97-10) at a bank that does not exist."""
    region = region if region in _IBAN else "DE"
    country = {"UK": "GB"}.get(region, region)
    bank_digits, account_digits = _IBAN[region]
    letters = {"NL": "XTUN", "UK": "XTUN", "IE": "XTUN"}.get(region, "")
    account = "".join(rng.choice("0123456789") for _ in range(account_digits))
    if region == "FR":
        account = f"{account[:11]}{97 - int('9' * 10 + account[:11] + '00') % 97:02}"
    text = f"{letters}{'9' * bank_digits}{account}"
    return f"{country}{98 - _mod97(text + country + '00'):02}{text}"


def _mod97(text: str) -> int:
    return int("".join(str(int(character, 36)) for character in text)) % 97


def iban_is_valid(text: str) -> bool:
    """Whether the check digits fit."""
    packed = text.replace(" ", "")
    return _mod97(packed[4:] + packed[:4]) == 1


def luhn_is_valid(text: str) -> bool:
    """Whether a card number passes ISO/IEC 7812-1 annex B."""
    digits = [int(character) for character in text if character.isdigit()][::-1]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def card(rng: random.Random) -> str:
    """One of the card numbers that payment firms publish for tests."""
    return rng.choice(_CARDS)


def spoil(rng: random.Random, number: str) -> str:
    """The same number with one of its last digits changed, so that no checksum fits: a near miss."""
    place = rng.randint(len(number) - 5, len(number) - 1)
    other = str((int(number[place]) + rng.randint(1, 8)) % 10)
    return number[:place] + other + number[place + 1 :]


def in_groups(rng: random.Random, number: str) -> str:
    """With blanks after every four characters, or without."""
    return number if rng.random() < 0.3 else " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def mistype(rng: random.Random, word: str) -> str:
    """One typing mistake in a word of five letters or more."""
    if len(word) < 5 or not word.isalpha() or not word.isascii():
        return word
    i = rng.randint(1, len(word) - 3)
    return rng.choice(
        [word[:i] + word[i + 1] + word[i] + word[i + 2 :], word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:]]
    )
