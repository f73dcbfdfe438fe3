"""Every benchmark that needs no GPU, one after the other, and one table at the end.

    python -m benchmarks [--base FOLDER] [--turns 12] [--only sft dpo …]

Without ``--base`` the catalogue's smallest model is pulled into ``.benchmarks/`` once. The machine should have nothing
else to do: its load is printed, and a table that was made beside other work says so.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import training_dpo, training_sft
from benchmarks.conversations import source
from benchmarks.growth import grow
from benchmarks.side_by_side import Figures, compare
from tuneward.modeling.machine import threads

KEPT, BASE = Path(".benchmarks"), "smollm2-135m-instruct"
BUSY = 0.7  # load average of the last minute, before the first run, above which other work is at hand


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        what: the claim.
        bar: what was asked for.
        beyond: what was hoped for.
        measured: what came out.
    """

    what: str
    bar: str
    beyond: str
    measured: str


def _sft(base: Path, turns: int) -> list[Line]:
    best, packing, defaults = (
        compare(base, training_sft.TRIAL, against=name, turns=turns) for name in ("best", "packing", "defaults")
    )
    same = compare(base, training_sft.TRIAL, against="packing", turns=turns, same_allocator=True)
    return [
        Line("SFT, tokens/s against TRL's packing", "3", "4.5", _told(packing)),
        Line("SFT, tokens/s against TRL's packing with our allocator", "3", "4.5", _told(same)),
        Line("SFT, tokens/s against TRL's fastest", "3", "4.5", _told(best)),
        Line("SFT, tokens/s against TRL's defaults", "7", "12", _told(defaults)),
        Line("products that cannot be avoided, share of our step", "60%", "80%", _share(best)),
        Line("SFT, peak memory against TRL's packing", "1/2", "1/3", _memory(packing)),
        Line("SFT, peak memory against TRL's packing with our allocator", "1/2", "1/3", _memory(same)),
        Line("SFT, peak memory against TRL's fastest", "1/2", "1/3", _memory(best)),
    ]


def _dpo(base: Path, turns: int) -> list[Line]:
    best, defaults = (compare(base, training_dpo.TRIAL, against=name, turns=turns) for name in ("best", "defaults"))
    return [
        Line("DPO, pairs/s against TRL's fastest", "6", "12", _told(best)),
        Line("DPO, pairs/s against TRL's defaults", "", "", _told(defaults)),
        Line("DPO, peak memory against TRL's fastest", "", "", _memory(best)),
    ]


def _qlora(base: Path, turns: int) -> list[Line]:
    said = _run("benchmarks.qlora_memory", str(base))
    return [Line("QLoRA, base weights against bf16", "0.30", "0.27", said.removeprefix("ratio: "))]


def _growth(base: Path, turns: int) -> list[Line]:
    figures = grow(base, rows=4 * turns)
    return [
        Line("16 times the rows: time per token", "within 10%", "", f"{figures['time']:.2f}"),
        Line("16 times the rows: peak memory", "flat", "", f"{figures['memory']:.2f}"),
    ]


def _decode(base: Path, turns: int) -> list[Line]:
    said = _run("benchmarks.decode", "--base", str(base), "--whole", "0")
    return [Line("decoding against transformers' generate with PEFT", "", "", said.rpartition(": ")[2])]


def _inspection(base: Path, turns: int) -> list[Line]:
    quality = "inspection, F1 of all types, ours less Presidio's"
    alarms, speed = "false alarms per 1,000 rows against Presidio", "inspection, MB/s against Presidio"
    lacking = find_spec("presidio_analyzer") is None
    if lacking or not (Path(os.environ.get("TUNEWARD_TEST_DATA", "../shared/data")) / "presidio-research").is_dir():
        why = "not measured: needs the extra `peers`" if lacking else "not measured: needs TUNEWARD_TEST_DATA"
        return [Line(quality, "0.10", "", why), Line(alarms, "1/5", "", why), Line(speed, "100", "", why)]
    return [
        Line(quality, "0.10", "", _run("benchmarks.inspection_quality").rpartition("distance: ")[2]),
        Line(alarms, "1/5", "", _run("benchmarks.inspection_false_alarms").rpartition("ratio: ")[2]),
        Line(speed, "100", "", _run("benchmarks.inspection_speed").rpartition(": ")[2]),
    ]


def _duplicates(base: Path, turns: int) -> list[Line]:
    if importlib.util.find_spec("datasketch") is None:
        measured = "not measured: extra `peers` is not installed"
    else:
        measured = _run("benchmarks.near_duplicates").rpartition(": ")[2]
    return [Line("near-duplicates, rows/s against datasketch", "3", "", measured)]


def _prepare(base: Path, turns: int) -> list[Line]:
    said = _run("benchmarks.prepare_million", *(["--base", str(base)] if base != Path() else []))
    figures = dict(part.split(": ") for part in said.partition("; ")[2].split("; "))
    return [
        Line("preparing 1,000,000 rows, minutes", "15", "", f"{float(figures['seconds']) / 60:.1f}"),
        Line("preparing 1,000,000 rows, peak memory", "2 GB", "", f"{float(figures['peak MiB']) / 953.7:.2f} GB"),
        Line("1,000,000 against 10,000 rows: time per row", "within 15%", "", figures["time per row"]),
    ]


SUITES: dict[str, Callable[[Path, int], list[Line]]] = {
    "sft": _sft,
    "dpo": _dpo,
    "qlora": _qlora,
    "growth": _growth,
    "decode": _decode,
    "inspection": _inspection,
    "duplicates": _duplicates,
    "prepare": _prepare,
}
WITHOUT_BASE = {"duplicates", "prepare"}


def _told(figures: Figures) -> str:
    differ = "" if figures.agreement.holds else "; LOSS CURVES DIFFER"
    ratio = figures.ratio
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}, n = {ratio.turns}){differ}"


def _share(figures: Figures) -> str:
    return f"{figures.share:.0%}; {figures.wide_share:.0%} with the adapter's and attention's products"


def _memory(figures: Figures) -> str:
    ours, theirs = figures.our_peak, figures.their_peak
    return f"{ours / theirs:.2f} ({ours / 2**30:.2f} of {theirs / 2**30:.2f} GiB)"


def _run(module: str, *arguments: str) -> str:
    """Run a script whose last line is its result; returns that line."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    if process.wait():
        raise SystemExit(f"{module} ended with {process.returncode}")
    return last


def _pull() -> Path:
    folder = KEPT / BASE
    if not folder.is_dir():
        print(f"pulling {BASE} into {folder} (once)", flush=True)
        KEPT.mkdir(exist_ok=True)
        script = "import sys; from pathlib import Path; from tuneward.modeling.pull import pull; "
        script += "pull(sys.argv[1], Path(sys.argv[2]))"
        subprocess.run([sys.executable, "-c", script, BASE, str(folder)], check=True)
    return folder


def _print_table(lines: list[Line], busy: bool) -> None:
    heads = ("benchmark", "bar", "beyond", "measured")
    cells = [heads, *((line.what, line.bar, line.beyond, line.measured) for line in lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    print(f"\n{source()}, {threads()} threads, {_processor()}" + ("; BESIDE OTHER WORK" if busy else ""))
    for number, row in enumerate(cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", known.read_text(encoding="utf-8")) if known.is_file() else None
    return found.group(1) if found else "processor unknown"


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="folder of the base model; the catalogue's smallest if left out")
    parser.add_argument("--turns", type=int, default=12, help="optimizer steps of each side that count")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=list(SUITES))
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"load before the first run: {load:.1f}")
    base = options.base or (_pull() if set(options.only) - WITHOUT_BASE else Path())
    lines = [line for name in options.only for line in SUITES[name](base, options.turns)]
    _print_table(lines, load > BUSY)


if __name__ == "__main__":
    main()
