"""Row issues: what is asked of them is what a list of lists would answer."""

from hypothesis import given
from hypothesis import strategies as st

from tuneward.data.row_issues import RowIssues
from tuneward.inspection.quality.issue import Issue, quality

issues = st.lists(
    st.builds(
        Issue, st.sampled_from(["length", "truncated"]), st.sampled_from("abc"), st.just(0.5), st.sampled_from(["look"])
    ),
    max_size=3,
)


@given(st.lists(issues, max_size=20), st.data())
def test_they_are_a_list_of_lists(rows, data):
    found, listed = RowIssues(), [list(row) for row in rows]
    for row in rows:
        found.add(row)
    if rows:
        position = data.draw(st.integers(0, len(rows) - 1))
        found.append(position, Issue("added", "d", 0.1, "drop"))
        listed[position].append(Issue("added", "d", 0.1, "drop"))
    found.take_out("a")
    listed = [[issue for issue in row if issue.rule != "a"] for row in listed]
    assert [list(found[n]) for n in range(len(found))] == listed
    assert found.scores.tolist() == [quality(tuple(row)) for row in listed]
    assert found.rows_with(lambda issue: issue.rule == "b").tolist() == [any(i.rule == "b" for i in r) for r in listed]
    for kind in ("length", "truncated", "added"):
        assert found.kinds()[kind] == sum(any(issue.kind == kind for issue in row) for row in listed)
