"""Faults gathered while reading, so that all are told at once and the list stays readable.

Place on the road: handed through every step of ``data.dataset.build``. Counts everything, keeps the first fifty.
"""

from collections import Counter

from tuneward.error_codes import CODES
from tuneward.errors import DataError, Fault

LISTED_FAULTS = 50


class Faults:
    """A list of faults with an end: exact in number, bounded in size."""

    def __init__(self, *, listed: int = LISTED_FAULTS) -> None:
        self._listed = listed
        self._kept: list[Fault] = []
        self._more: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._kept) + self._more.total()

    def add(self, code: str, message: str, *, place: str = "", cure: str = "") -> None:
        """Take one more fault; its arguments are those of :class:`Fault`."""
        if len(self._kept) < self._listed:
            self._kept.append(Fault(code, message, place, cure))
        else:
            self._more[code] += 1

    def add_all(self, others: "Faults") -> None:
        """Take what another list holds; what it counts without keeping is counted here, too."""
        for fault in others._kept:
            self.add(fault.code, fault.message, place=fault.place, cure=fault.cure)
        self._more.update(others._more)

    def take(self) -> "Faults":
        """Everything so far, which this list then holds no more."""
        taken = Faults(listed=self._listed)
        taken._kept, self._kept = self._kept, taken._kept
        taken._more, self._more = self._more, taken._more
        return taken

    def raise_if_any(self) -> None:
        """End the step if anything was found.

        Raises:
            DataError: the faults kept, and a last one that counts the others by kind.
        """
        if not self._kept:
            return
        faults = list(self._kept)
        if self._more:
            kinds = "; ".join(f"{count:,} x {code} ({CODES[code]})" for code, count in sorted(self._more.items()))
            faults.append(
                Fault(
                    "TW-DATA-029",
                    f"and {self._more.total():,} more: {kinds}",
                    cure="mend what is listed, then run the same command again",
                )
            )
        raise DataError(faults)
