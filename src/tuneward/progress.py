"""Progress: what long work tells whoever waits for it.

Place on the road: handed into every workflow that takes longer than a moment. Work calls it; ``cli`` draws it on
stderr; notebooks may hand in their own. It carries no results.
"""

from typing import Protocol


class Progress(Protocol):
    """Receiver of progress. Every method returns at once and never raises."""

    def begin(self, title: str, *, total: int | None = None, unit: str = "") -> None:
        """A part of the work begins: ``total`` in ``unit`` if known beforehand."""

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        """``amount`` more units are done; ``figures`` are shown beside the bar (loss=…, tokens_per_second=…)."""

    def say(self, text: str) -> None:
        """One line that the reader should see."""

    def end(self) -> None:
        """The part that began last is done."""


class Silent:
    """Says nothing."""

    def begin(self, title: str, *, total: int | None = None, unit: str = "") -> None:
        """See :class:`Progress`."""

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        """See :class:`Progress`."""

    def say(self, text: str) -> None:
        """See :class:`Progress`."""

    def end(self) -> None:
        """See :class:`Progress`."""


SILENT: Progress = Silent()
