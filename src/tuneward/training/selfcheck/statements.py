"""All statements of the self-check, in the order of its lines. To add one, write it into its group's file.

Place on the road: between the groups and the process.
"""

from collections.abc import Iterator, Mapping

from tuneward.training.selfcheck import adapter, course, head, kernels, packing, preferences, tokens
from tuneward.training.selfcheck.line import Line
from tuneward.training.selfcheck.statement import Statement, judge
from tuneward.training.selfcheck.subject import Subject

STATEMENTS: Mapping[str, Statement] = {
    **tokens.STATEMENTS,
    **packing.STATEMENTS,
    **head.STATEMENTS,
    **preferences.STATEMENTS,
    **adapter.STATEMENTS,
    **kernels.STATEMENTS,
    **course.STATEMENTS,
}


def lines(subject: Subject) -> Iterator[Line]:
    """Measure every statement."""
    for name, statement in STATEMENTS.items():
        yield judge(name, statement, subject)
