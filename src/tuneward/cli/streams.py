"""Streams: standard input, output and error are there, whoever started the process.

Place on the road: the first lines of the command `tuneward`, before any library is imported. Knows nothing of what is
printed.
"""

import os
import sys


def open_missing() -> None:
    """Lead closed standard streams (`>&-`, some service managers) nowhere.

    Else the next file to be opened takes their number, and what a library prints to stderr is written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one, since all below it are open
    # the interpreter set those to None whose number was closed when it started
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
