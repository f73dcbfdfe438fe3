"""Answers as the evaluation will read them: those that it could not use are counted and named, never removed.

Place on the road: looks at each record in ``data.dataset.build`` where the task says what an answer is. The judgement
is handed in, so that the card and the evaluation cannot disagree. Knows neither tasks nor schemas.
"""

from collections.abc import Callable

from tuneward.domain.record import Record

#: Why an answer cannot serve as a reference, without quoting it; None when it can.
Judge = Callable[[str], str | None]


class AnswerCheck:
    """Remembers where answers do not fit.

    Attributes:
        outside: rows whose answer does not fit.
        active: whether anything is asked of answers at all.
    """

    def __init__(self, judge: Judge | None) -> None:
        self.outside: list[Record] = []
        self.active = judge is not None
        self._judge = judge

    def look(self, record: Record) -> None:
        """Check one record's answer."""
        if self._judge is not None and self._judge(record.answer) is not None:
            self.outside.append(record)
