import pytest

from tuneward.evaluation.json_answers import MAX_STARTS, REASONS, NotJsonError, find_object, read_object, same


def test_white_space_around_one_object_is_allowed() -> None:
    assert read_object(' \n{"a": [1, {"b": null}]}\r\n\t') == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ('```json\n{"a": 1}\n```', "code fence"),
        ('Here it is: {"a": 1}', "text around the object"),
        ('{"a": 1} Done.', "text around the object"),
        ('{"a": 1}{"a": 1}', "text around the object"),
        ('{"a": "wat', "cut off or broken JSON"),
        ("{'a': 1}", "cut off or broken JSON"),
        ('{"a": 1,}', "cut off or broken JSON"),
        ('{"a": NaN}', "cut off or broken JSON"),
        ('{"a": -Infinity}', "cut off or broken JSON"),
        ('{"a": 1e999}', "cut off or broken JSON"),
        ('{"a": 1, "a": 2}', "cut off or broken JSON"),
        ('{"a": ' + "9" * 5000 + "}", "cut off or broken JSON"),
        ('{"a": ' + "[" * 100_000, "cut off or broken JSON"),
        ('[{"a": 1}]', "not an object"),
        ("null", "not an object"),
        ('"text"', "not an object"),
    ],
)
def test_everything_else_is_no_answer(text: str, reason: str) -> None:
    with pytest.raises(NotJsonError) as error:
        read_object(text)
    assert error.value.reason == reason
    assert reason in REASONS


def test_unicode_no_break_space_is_no_json_white_space() -> None:
    with pytest.raises(NotJsonError):
        read_object('\u00a0{"a": 1}')


def test_find_object_is_lenient_but_ends() -> None:
    assert find_object('Sure {not} this: ```{"a": 1}``` bye') == {"a": 1}
    assert find_object("no braces") is None
    assert find_object("{" * (MAX_STARTS + 1) + '{"a": 1}') is None
    assert find_object("{" * 200_000) is None


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (12, 12.0, True),
        (True, 1, False),
        (0, False, False),
        (None, False, False),
        ("12", 12, False),
        ("a", "A", False),
        ([1, 2], [2, 1], False),
        ([1, 2], [1, 2, 3], False),
        ({"a": 1, "b": [True]}, {"b": [True], "a": 1.0}, True),
        ({"a": None}, {}, False),
        (2**53 + 1, float(2**53), False),
    ],
)
def test_same(left: object, right: object, equal: bool) -> None:
    assert same(left, right) is equal
    assert same(right, left) is equal
