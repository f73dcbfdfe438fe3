"""Answers as the evaluation will read them: of training rows those that it could not use are counted, none is removed.

Place on the road: looks at each record in ``data.dataset.build`` where the task says what an answer is. A test row
whose answer cannot be a reference is a fault, since the evaluation would refuse it after the training. The judgement is
handed in, so that the card and the evaluation cannot disagree. Knows neither tasks nor schemas.
"""

from array import array
from collections.abc import Callable

from tuneward.amounts import counted
from tuneward.data.faults import Faults
from tuneward.data.named_rows import NAMED, NamedRows
from tuneward.domain.record import Record

#: Why an answer cannot serve as a reference, without quoting it; None when it can.
Judge = Callable[[str], str | None]


class AnswerCheck:
    """Remembers where answers do not fit.

    Attributes:
        outside: positions of training rows whose answer does not fit.
        places: where the first of them stand.
        active: whether anything is asked of the answers of training rows.
    """

    def __init__(self, judge: Judge | None, *, of_training: bool = True) -> None:
        self.outside = array("q")
        self.places = NamedRows()
        self.active = judge is not None and of_training
        self._judge = judge
        self._refused = 0
        self._named: list[tuple[str, str]] = []

    def look(self, record: Record, position: int) -> None:
        """Check one record's answer; of a pair the better one.

        Args:
            record: the record.
            position: its place among the rows of its split.
        """
        if self._judge is None or not (self.active or record.split == "test"):
            return
        if record.form == "document" or record.desirable is False:  # no answer, or none that should be given
            return
        problem = self._judge(record.answer)
        if problem is None:
            return
        if record.split == "test":
            self._refused += 1
            if len(self._named) < NAMED:
                self._named.append((str(record.source), problem))
        else:
            self.outside.append(position)
            self.places.add(record)

    def report(self, faults: Faults) -> None:
        """One fault for all test rows whose answer cannot be a reference: the first by name, the others by number."""
        if not self._refused:
            return
        named = "; ".join(f"{source} ({problem})" for source, problem in self._named)
        left = self._refused - NAMED
        more = f"; and {left:,} more" if left > 0 else ""
        rows = counted(self._refused, "test row has", "test rows have")
        faults.add(
            "TW-DATA-030",
            f"{rows} an answer that the evaluation cannot compare with: {named}{more}",
            place=self._named[0][0],
            cure="mend the rows, or the task's schema if the rows are right; often all share one cause",
        )
