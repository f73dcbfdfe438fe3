"""Finding log: it reads as the list of what was added, and its counts are those of that list."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tuneward.data.finding_log import FindingLog, RowFinding
from tuneward.data.named_rows import NAMED
from tuneward.domain.finding import Finding

findings = st.builds(
    Finding,
    st.sampled_from(["email", "phone"]),
    st.integers(0, 9),
    st.integers(10, 99),
    st.floats(0, 1),
    st.text(max_size=3),
    st.sampled_from(["raw", "base64", "hex>url"]),
)
actions = st.sampled_from(["tag", "redact", "drop"])
rows = st.lists(st.lists(st.tuples(findings, actions, st.text(max_size=3)), max_size=3), max_size=30)


@given(rows)
def test_it_is_a_list_that_counts(rows):
    log, wanted = FindingLog(), []
    for number, found in enumerate(rows):
        told = [RowFinding(f"rec_{number}", "train", f"f:{number}", field, f, action) for f, action, field in found]
        log.add(told)
        wanted += told
    assert list(log) == wanted
    assert len(log) == len(wanted)
    assert log.rows == sum(bool(found) for found in rows)
    counted = Counter((item.finding.kind, item.action) for item in wanted)
    assert {(kind, action): n for kind, by in log.counts.items() for action, n in by.items()} == counted
    assert log.views == Counter(item.finding.view for item in wanted if item.finding.view != "raw")
    for kind, places in log.places.items():
        first: dict[str, str] = {}
        for item in wanted:
            if item.finding.kind == kind and len(first) < NAMED:
                first.setdefault(item.source, item.action)
        assert places == first
    log.move({"rec_1": "test"})
    assert {item.split for item in log if item.record == "rec_1"} <= {"test"}
    assert {item.split for item in log if item.record != "rec_1"} <= {"train"}
