"""National numbers without trunk digit and word: groups, plans, brackets; and what is counted or dated instead."""

import phonenumbers
import pytest

from tuneward.inspection.contacts import find_phones
from tuneward.inspection.numbering import is_planned
from tuneward.inspection.sketch import words

#: The EU, its neighbours, and the countries that English, French and Spanish data come from most.
REGIONS = words(
    "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE GB US CH NO IS CA AU NZ"
)


def found(text):
    return [text[f.start : f.end] for f in find_phones(text)]


def test_numbers_of_thirty_five_countries_are_found_as_they_are_written_at_home():
    """libphonenumber's own examples; not Lithuania's brackets around the trunk prefix, nor Sweden's short ones."""
    missed, examples = [], 0
    for region in REGIONS:
        for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
                examples += 1
                missed += [region] if found(f"It is {written}.") != [written] else []
    assert examples >= 65
    assert sorted(missed) == ["LT", "LT", "SE"]


@pytest.mark.parametrize(
    "written", ["358 0594", "467-3395", "(72) 754-186", "(08) 8747 6301", "99 577450", "51 516 33 75"]
)
def test_a_number_stands_alone(written):
    assert found(f"They answer at {written} or not.") == [written]


@pytest.mark.parametrize(
    "text",
    [
        "Avicenna (980-1037) wrote",
        "Regulation (EC) No 223/2009 of",
        "22 338 618 digits",
        "22.338.618",
        "aged 300-1000",
        "from 1914-1918",
        "order 358 0594",
        "Quote no. 4451-7220.",
        "Crime number 7118-8160",
        "Your reference of the phone call: 5079-5322",
        "Subject: Damage LI 462 5946",
        "911 0594",
        "12 345 678 901 234",
        "3747 3911 Fourth Avenue",
    ],
)
def test_counts_ranges_and_references_are_no_numbers(text):
    assert found(text) == []


def test_a_plan_needs_its_own_groups():
    assert is_planned(["99", "577450"], opened=False)
    assert not is_planned(["995", "77450"], opened=False)
