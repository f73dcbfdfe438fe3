"""Numbers behind their labels, each of the label's kind."""

import pytest

from tuneward.inspection.labelled import find_labelled


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Passport number: C01X00T47", "passport", "C01X00T47"),
        ("Reisepassnummer C01X00T47", "passport", "C01X00T47"),
        ("my driver's license number is F162823540116", "driving_licence", "F162823540116"),
        ("Führerschein Nr. B072RRE2I55", "driving_licence", "B072RRE2I55"),
        ("license plate ABC 1234", "licence_plate", "ABC 1234"),
        ("Kennzeichen B-MW 1234", "licence_plate", "B-MW 1234"),
        ("targa: AB 123 CD", "licence_plate", "AB 123 CD"),
        ("MRN: 00481234", "medical_id", "00481234"),
        ("Patientennummer 4711-0815", "medical_id", "4711-0815"),
        ("insurance number A123456780", "insurance_id", "A123456780"),
        ("Krankenversichertennummer A123456780", "insurance_id", "A123456780"),
        ("identity card 123456789", "national_id", "123456789"),
        ("ZIP: 94107", "postcode", "94107"),
        ("What is your zip code? 94107", "postcode", "94107"),
        ("ZIP: 7412 SL", "postcode", "7412 SL"),
        ("94107 is my zip", "postcode", "94107"),
        ("PLZ 10115", "postcode", "10115"),
    ],
)
def test_a_value_is_found_behind_its_label(text, kind, value):
    assert (kind, value) in [(f.kind, text[f.start : f.end]) for f in find_labelled(text)]


@pytest.mark.parametrize(
    "text",
    ["the passport was lost", "a licence to drive", "plate of 12 cookies", "zip the file", "patient was 43 years old"],
)
def test_a_label_without_a_value_finds_nothing(text):
    assert list(find_labelled(text)) == []
