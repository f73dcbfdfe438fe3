"""JSON as rows hold it: nothing that RFC 8259 leaves open, and no deeper than can be handled everywhere."""

import json

import pytest

from tuneward.data.parsing import MAX_DEPTH, is_deep, parse_json


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_counted_not_guessed(opening):
    closing = "]" if opening == "[" else "}"

    def nested(depth):
        return opening * depth + "1" + closing * depth

    assert parse_json(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 900, 1_000, 100_000):
        with pytest.raises(ValueError, match=f"more than {MAX_DEPTH} deep"):
            parse_json(nested(depth))


def test_many_brackets_beside_one_another_are_not_deep():
    assert parse_json(json.dumps([[]] * 10_000)) == [[]] * 10_000
    assert not is_deep({"a": [{}] * 500})


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", '{"a": 1, "a": 2}', "1 2", ""])
def test_what_the_standard_leaves_open_is_refused(text):
    with pytest.raises(ValueError):
        parse_json(text)
