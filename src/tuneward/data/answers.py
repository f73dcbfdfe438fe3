"""Answers as the evaluation will read them: of training rows those that it could not use are counted, none is removed.

Place on the road: looks at each record in ``data.dataset.build`` where the task says what an answer is. A test row
whose answer cannot be a reference is a fault, since the evaluation would refuse it after the training. The judgement is
handed in, so that the card and the evaluation cannot disagree. Knows neither tasks nor schemas.
"""

from collections.abc import Callable

from tuneward.data.faults import Faults
from tuneward.domain.record import Record

_NAMED_ROWS = 20

#: Why an answer cannot serve as a reference, without quoting it; None when it can.
Judge = Callable[[str], str | None]


class AnswerCheck:
    """Remembers where answers do not fit.

    Attributes:
        outside: training rows whose answer does not fit.
        active: whether anything is asked of the answers of training rows.
    """

    def __init__(self, judge: Judge | None, *, of_training: bool = True) -> None:
        self.outside: list[Record] = []
        self.active = judge is not None and of_training
        self._judge = judge
        self._refused: list[tuple[Record, str]] = []

    def look(self, record: Record) -> None:
        """Check one record's answer; of a pair the better one."""
        if self._judge is None or not (self.active or record.split == "test"):
            return
        if record.form == "document" or record.desirable is False:  # no answer, or none that should be given
            return
        problem = self._judge(record.answer)
        if problem is None:
            return
        if record.split == "test":
            self._refused.append((record, problem))
        else:
            self.outside.append(record)

    def report(self, faults: Faults) -> None:
        """One fault for all test rows whose answer cannot be a reference: the first by name, the others by number."""
        if not self._refused:
            return
        named = "; ".join(f"{record.source} ({problem})" for record, problem in self._refused[:_NAMED_ROWS])
        left = len(self._refused) - _NAMED_ROWS
        more = f"; and {left:,} more" if left > 0 else ""
        faults.add(
            "TW-DATA-030",
            f"{len(self._refused):,} test rows have an answer that the evaluation cannot compare with: {named}{more}",
            place=str(self._refused[0][0].source),
            cure="mend the rows, or the task's schema if the rows are right; often all share one cause",
        )
