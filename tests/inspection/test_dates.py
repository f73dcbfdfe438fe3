"""Dates, dates of birth and ages, in five languages, and what only counts something."""

import pytest

from tuneward.inspection.dates import find_ages, find_dates


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on 2024-03-17T10:20:30Z it", "2024-03-17T10:20:30Z"),
        ("am 17.03.2024 um", "17.03.2024"),
        ("2/8/1935", "2/8/1935"),
        ("on March 17, 2024 we", "March 17, 2024"),
        ("am 17. März 2024", "17. März 2024"),
        ("il 3 giugno 1990", "3 giugno 1990"),
        ("le 1er janvier 2001", "1er janvier 2001"),
        ("el 5 de mayo de 2010", "5 de mayo de 2010"),
        ("founded in 1977.", "1977"),
        ("the song (1983)", "1983"),
        ("on Monday we", "Monday"),
    ],
)
def test_a_date_is_found_whole(text, value):
    assert [(f.kind, text[f.start : f.end]) for f in find_dates(text)] == [("date", value)]


@pytest.mark.parametrize(
    "text",
    [
        "born on 17.03.1984",
        "DOB: 1984-03-17",
        "geboren am 17. März 1984",
        "nato il 3/6/1990",
        "née le 1 janvier 1970",
        "fecha de nacimiento: 05/05/1980",
    ],
)
def test_a_date_behind_a_word_of_birth_is_a_date_of_birth(text):
    assert [f.kind for f in find_dates(text)] == ["date_of_birth"]


@pytest.mark.parametrize(
    "text",
    ["2000 people", "in 2000 dollars", "$1999", "1999 km", "you may go", "12.34", "version 10.11.12.13", "99/99/2000"],
)
def test_amounts_are_no_dates(text):
    assert list(find_dates(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "a 43-year-old man",
        "43 years old",
        "aged 43",
        "I just turned 43",
        "when he was 43.",
        "ist 43 Jahre alt",
        "ha 43 anni",
        "âgée de 43 ans",
        "tiene 43 años",
        "i'm 43 y/o",
        "my son is 43.",
        "her 43rd birthday",
        "Anna, 43, said",
        "she is only 43.",
        "he will be 43 next week",
        "he died at 43.",
        "a man of 43.",
        "her age is 43",
        "he will turn 43 in May",
    ],
)
def test_an_age_is_found(text):
    assert [text[f.start : f.end] for f in find_ages(text)] == ["43"]


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("The patient is a seventy six year old male.", "seventy six"),
        ("She was forty-three years old.", "forty-three"),
        ("my five-year-old", "five"),
        ("at twelve months of age", "twelve"),
        ("Those Twenty-year-olds", "Twenty"),
    ],
)
def test_an_age_in_words_is_found(text, age):
    assert [text[f.start : f.end] for f in find_ages(text)] == [age]


@pytest.mark.parametrize(
    "text", ["two years ago", "five old friends", "one year of it", "a ten minute walk", "age old"]
)
def test_other_words_of_number_are_no_ages(text):
    assert list(find_ages(text)) == []


@pytest.mark.parametrize(
    "text",
    ["he was 43 miles away", "43 years ago", "is 43%", "it was 43.5", "she is 43 minutes late", "a 430-year-old oak"],
)
def test_durations_and_distances_are_no_ages(text):
    assert list(find_ages(text)) == []
