"""Speed of inspection on one core, with and without the recognizer, in turns with Presidio over the same texts.

    TUNEWARD_TEST_DATA=../shared/data python -m benchmarks.inspection_speed [--turns 8] [--kilobytes 12]

Equal shares of conversations, school problems, messages and requests. Seconds are those of the processor, for the same
texts on both sides; without the recognizer ours goes over them many times a turn, for one pass is too short to time.
"""

import argparse
import time
from collections.abc import Sequence

from benchmarks.inspection_peers import presidio, tuneward
from benchmarks.inspection_texts import TEXTS
from benchmarks.turns import Ratio, Seat, Table, in_turn

REPEATS = 40


def shares(kilobytes: float) -> dict[str, list[str]]:
    """As many texts of each kind as fill an equal share of ``kilobytes``."""
    chosen: dict[str, list[str]] = {}
    for name, read in TEXTS.items():
        left, chosen[name] = kilobytes * 1000 / len(TEXTS), []
        for text in read():
            if left <= 0:
                break
            chosen[name].append(text[:4000])
            left -= len(text[:4000].encode())
    return chosen


def play(seat: Seat, *, who: str, texts: Sequence[str], repeats: int) -> None:
    """One contender: every turn goes over all texts ``repeats`` times."""
    contender = presidio() if who == "Presidio" else tuneward(ner=who == "tuneward with NER")
    for text in texts[:20]:
        contender(text)
    seat.ready()
    while seat.wait():
        for _ in range(repeats):
            for text in texts:
                contender(text)
        seat.done()


def main() -> None:
    """Read the options, take turns, and say the ratios; without the recognizer comes last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=8, help="turns of each")
    parser.add_argument("--kilobytes", type=float, default=12, help="texts of a turn")
    options = parser.parse_args()
    texts = [text for part in shares(options.kilobytes).values() for text in part]
    size = sum(len(text.encode()) for text in texts)
    repeats = {"tuneward": REPEATS, "tuneward with NER": 1, "Presidio": 1}
    with Table() as table:
        for who, times in repeats.items():
            table.seat(who, play, who=who, texts=texts, repeats=times)
        played = in_turn(table, list(repeats), options.turns, told=lambda number, results: None)
        table.close()
    seconds = {who: [turn[who]["cpu_seconds"] / times for turn in played] for who, times in repeats.items()}
    for who, spent in seconds.items():
        print(f"{who}: {size * len(spent) / sum(spent) / 1e6:.3f} MB/s on one core, texts of {size / 1000:.1f} kB")
    whole = {name: read() for name, read in TEXTS.items()}
    whole["all of them"] = [text for part in whole.values() for text in part]
    for name, part in whole.items():
        length = sum(map(len, part)) / len(part)
        print(f"  {name}: {_alone(part):.1f} MB/s without NER ({len(part)} rows of {length:.0f} characters on average)")
    print(f"ratio with NER, tuneward / Presidio: {Ratio.of(seconds['Presidio'], seconds['tuneward with NER'])}")
    print(f"ratio without NER, tuneward / Presidio: {Ratio.of(seconds['Presidio'], seconds['tuneward'])}")


def _alone(texts: Sequence[str]) -> float:
    """Megabytes a second of the processor, best of two."""
    contender, best = tuneward(ner=False), float("inf")
    for _ in range(2):
        started = time.process_time()
        for text in texts:
            contender(text)
        best = min(best, time.process_time() - started)
    return sum(len(text.encode()) for text in texts) / best / 1e6


if __name__ == "__main__":
    main()
