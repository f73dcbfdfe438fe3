"""Redaction: nothing found remains, nothing else changes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tuneward.domain.finding import Finding
from tuneward.inspection.detectors import inspect
from tuneward.inspection.redaction import decide, redact, strictest

spans = st.tuples(
    st.integers(0, 60), st.integers(1, 20), st.sampled_from(["email", "phone", "card"]), st.floats(0.1, 1)
)


def finding(start: int, size: int, kind: str = "email", confidence: float = 0.9) -> Finding:
    return Finding(kind=kind, start=start, end=start + size, confidence=confidence, rule=f"{kind}.test")


@given(st.lists(spans, max_size=8))
def test_no_character_of_a_span_remains_and_every_other_does(drawn):
    text = "".join(chr(0x4E00 + i) for i in range(90))  # every character once, so that each can be traced
    findings = [finding(*item) for item in drawn]
    covered = {i for f in findings for i in range(f.start, f.end)}
    result = redact(text, findings)
    assert [c for c in result if ord(c) > 127] == [c for i, c in enumerate(text) if i not in covered]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_a_found_value_does_not_survive(before, after):
    text = f"{before} jane.roe@example.org +49 170 1234567 {after}"
    result = redact(text, inspect(text))
    assert "jane.roe" not in result
    assert "1234567" not in result


def test_placeholders_name_the_kind():
    text = "mail jane@example.org or call +49 170 1234567"
    assert redact(text, inspect(text)) == "mail [EMAIL] or call [PHONE]"


def test_overlapping_findings_become_one_placeholder_named_by_the_surer():
    findings = [finding(0, 5, "phone", 0.5), finding(3, 5, "card", 0.9)]
    assert redact("abcdefghij", findings) == "[CARD]ij"


def test_only_kinds_to_redact_are_replaced():
    text = "mail jane@example.org or call +49 170 1234567"
    assert redact(text, inspect(text), {"email": "redact", "*": "allow"}) == "mail [EMAIL] or call +49 170 1234567"


def test_a_kind_that_no_policy_names_is_blocked():
    assert decide("email", {}) == "block"
    assert decide("email", {"*": "redact", "email": "allow"}) == "allow"


def test_a_list_s_own_entry_comes_before_its_family_s():
    rules = {"term:customers": "drop", "term": "tag", "*": "redact"}
    assert [decide(kind, rules) for kind in ("term:customers", "term:products", "pattern:x")] == [
        "drop",
        "tag",
        "redact",
    ]


def test_the_strictest_action_wins():
    assert strictest(["tag", "allow"]) == "tag"
    assert strictest(["redact", "pseudonymise", "tag"]) == "redact"
    assert strictest(["allow", "block", "redact"]) == "block"
    assert strictest([]) == "allow"
