"""The normal form."""

from hypothesis import given
from hypothesis import strategies as st

from tuneward.inspection.normal_form import normal_form


@given(st.text())
def test_the_normal_form_of_a_normal_form_is_itself(text):
    assert normal_form(normal_form(text)) == normal_form(text)


def test_width_case_and_whitespace_are_folded():
    assert normal_form("  Ｆoo\n\tBAR  Straße ") == normal_form("foo bar STRASSE")
    assert normal_form("foo bar") != normal_form("foobar")
