"""Side by side: one training of ours and one of TRL's over the same steps in turn; what both scripts of training share.

Prints as it goes: a line per turn, then memory, agreement of the loss curves, and the ratio last.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.conversations import read_conversations, source
from benchmarks.courses import Course, Setting, plan_course
from benchmarks.ours import allocator_of_ours, tuneward
from benchmarks.products import products
from benchmarks.theirs import trl
from benchmarks.turns import Agreement, Ratio, Table, gib, in_turn
from tuneward.modeling.machine import threads


@dataclass(frozen=True)
class Trial:
    """What is compared.

    Attributes:
        method: ``sft`` or ``dpo``.
        unit: what a rate counts: ``tokens`` (real ones, no padding) or ``pairs``.
        settings: TRL's configurations by name.
        learning_rate: of both, constant.
        band: mean difference of the loss that bf16 on both sides explains.
        step_rows: rows of an optimizer step.
        window_tokens: ours alone; the result does not depend on it.
    """

    method: Literal["sft", "dpo"]
    unit: Literal["tokens", "pairs"]
    settings: Mapping[str, Setting]
    learning_rate: float
    band: float
    step_rows: int
    window_tokens: int


@dataclass(frozen=True)
class Figures:
    """What came out; rates in units per second over all turns but the first.

    Attributes:
        against: TRL's configuration.
        ours: our rate.
        theirs: TRL's.
        ratio: how many times as fast.
        our_peak: bytes.
        their_peak: bytes.
        agreement: of the loss curves.
        share: matrix products of the frozen layers and the head, in our step; median over turns.
        wide_share: the same with the adapter's and attention's products.
    """

    against: str
    ours: float
    theirs: float
    ratio: Ratio
    our_peak: int
    their_peak: int
    agreement: Agreement
    share: float
    wide_share: float


def compare(base: Path, trial: Trial, *, against: str, turns: int, same_allocator: bool = False) -> Figures:
    """Run it.

    Ours runs with the allocator with which the product starts a training, jemalloc where the machine has it; TRL with
    that of the C library, as it starts by itself, or with ours where ``same_allocator`` asks for it.
    """
    setting = trial.settings[against]
    allocator = allocator_of_ours()
    kept = "jemalloc" if allocator else "the C library"
    with tempfile.TemporaryDirectory() as scratch, Table() as table:
        folder = Path(scratch)
        form: Any = "conversation" if trial.method == "sft" else "pair"
        known = read_conversations(base, folder, count=(turns + 3) * trial.step_rows, form=form)
        course = Course(
            base=base,
            rows=folder / "tokens" / known.digest,
            start=folder / "start",
            steps=plan_course(known.sizes.tolist(), setting, step_rows=trial.step_rows, steps=turns + 1),
            method=trial.method,
            learning_rate=trial.learning_rate,
            threads=threads(),
        )
        numbers = [[row for part in step for row in part] for step in course.steps]
        counts = [int(known.sizes[step].sum()) if trial.unit == "tokens" else len(step) for step in numbers]
        allocators = f"allocator of ours: {kept}, of TRL: {kept if same_allocator else 'the C library'}"
        print(f"{source()}; {course.threads} threads; {allocators}; TRL {setting}", flush=True)
        table.seat("products", products, environment=allocator, course=course, window_tokens=trial.window_tokens)
        table.seat("tuneward", tuneward, environment=allocator, course=course, window_tokens=trial.window_tokens)
        table.seat("TRL", trl, environment=allocator if same_allocator else None, course=course, setting=setting)

        def told(number: int, results: Any) -> None:
            ours, theirs, alone = (results[name] for name in ("tuneward", "TRL", "products"))
            print(
                f"turn {number}{'' if number else ' (warm-up)'}: {counts[number]} {trial.unit}; "
                f"tuneward {counts[number] / ours['seconds']:.4g}/s, loss {ours['loss']:.4f}; "
                f"TRL {counts[number] / theirs['seconds']:.4g}/s, loss {theirs['loss']:.4f}; "
                f"products alone {alone['alone_seconds'] / ours['seconds']:.0%} of our step",
                flush=True,
            )

        played = in_turn(table, ["products", "tuneward", "TRL"], turns + 1, told=told)
        table.close()
    return _figures(trial, against, played, counts, table)


def _figures(trial: Trial, against: str, played: list[Any], counts: list[int], table: Table) -> Figures:
    def each(name: str, key: str, *, first: int = 1) -> list[float]:
        return [results[name][key] for results in played[first:]]

    def shares(key: str) -> float:
        return statistics.median(a / b for a, b in zip(each("products", key), each("tuneward", "seconds"), strict=True))

    ours, theirs = each("tuneward", "seconds"), each("TRL", "seconds")
    losses = [each(name, "loss", first=0) for name in ("tuneward", "TRL")]
    figures = Figures(
        against=against,
        ours=sum(counts[1:]) / sum(ours),
        theirs=sum(counts[1:]) / sum(theirs),
        ratio=Ratio.of(theirs, ours),
        our_peak=table.peaks["tuneward"],
        their_peak=table.peaks["TRL"],
        agreement=Agreement.of(*losses, band=trial.band),
        share=shares("alone_seconds"),
        wide_share=shares("wide_seconds"),
    )
    in_cpu = Ratio.of(each("TRL", "cpu_seconds"), each("tuneward", "cpu_seconds"))
    print(f"tuneward {figures.ours:.4g} {trial.unit}/s, TRL ({against}) {figures.theirs:.4g} {trial.unit}/s")
    print(
        f"matrix products that cannot be avoided: {figures.share:.0%} of our step (frozen layers and head; "
        f"{figures.wide_share:.0%} with the adapter's and attention's)"
    )
    part = figures.our_peak / figures.their_peak
    print(f"peak memory: tuneward {gib(figures.our_peak)}, TRL {gib(figures.their_peak)}: {part:.2f} of it")
    print(figures.agreement)
    print(f"ratio in processor seconds, which neighbours disturb less: {in_cpu}")
    print(f"ratio tuneward / TRL ({against}), {trial.unit} per second: {figures.ratio}", flush=True)
    return figures


def run(trial: Trial, description: str) -> None:
    """The command line of a trial; ends with 1 where the loss curves differ."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder of the base model")
    parser.add_argument("--against", choices=trial.settings, default="best", help="TRL's configuration")
    parser.add_argument("--defaults", action="store_const", const="defaults", dest="against", help="TRL's defaults")
    parser.add_argument("--same-allocator", action="store_true", help="give TRL the allocator that ours has")
    parser.add_argument("--turns", type=int, default=12, help="optimizer steps that count")
    options = vars(parser.parse_args())
    if not compare(options.pop("base"), trial, **options).agreement.holds:
        raise SystemExit(1)
