"""Preparing a million rows: seconds, peak memory and time per row of the whole ``prepare``, from 10,000 rows on.

    python -m benchmarks.prepare_million [--rows 10000 100000 1000000] [--base FOLDER] [--workers 2]

Every size is a project of its own with a tiny random base (or ``--base``), made anew, and ``prepare`` runs in a process
of its own with default settings, without NER; told is the highest memory of that process and its children together
(sum of resident sets, looked at five times a second, so that shared pages count more than once). Rows: questions and
answers put together by a seeded draw from sentences of the folder named by ``TUNEWARD_TEST_DATA``
(``benchmarks.mixed_chat``), or from made words where there is none; about 55 words each. One in four holds an e-mail
address, a telephone number, an IBAN or a name with a number; three in a hundred are copies and seven in a hundred
edited copies of an earlier row; 200 of 2,000 rows of the test file also train.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mixed_chat import REPORTED, parts_of
from tuneward.settings import Settings

SIZES = (10_000, 100_000, 1_000_000)
TEST_ROWS, SHARED_ROWS = 2_000, 200
_LOOK_SECONDS = 0.2
_RECENT = 2_000
_PROJECT = """\
project: million
purpose: Measure how long preparing takes.
base: {base}
use: internal
data: {{train: [train.jsonl], test: [test.jsonl], subject: customer, legal_basis: contract, too_long: drop}}
evaluation: {{task: {{kind: text, max_tokens: 64}}}}
"""


@dataclass(frozen=True)
class Taken:
    """What one size took.

    Attributes:
        rows: training rows that came in.
        kept: training rows that are left.
        seconds: of ``prepare`` alone, by the wall clock.
        processor_seconds: of all processes.
        peak_mib: of all processes together.
    """

    rows: int
    kept: int
    seconds: float
    processor_seconds: float
    peak_mib: float

    @property
    def per_row(self) -> float:
        """Microseconds by the wall clock."""
        return 1e6 * self.seconds / self.rows


def make_rows(parts: list[str], *, count: int, seed: int) -> Iterator[dict[str, str]]:
    """Rows by a seeded draw; the first of a longer list are the rows of a shorter one."""
    draw = random.Random(seed)
    recent: list[dict[str, str]] = []
    edits = [REPORTED[name] for name in sorted(REPORTED)]
    for number in range(count):
        luck = draw.random()
        if recent and luck < 0.10:
            row = dict(draw.choice(recent), customer=f"c{draw.randrange(10**6)}")
            if luck < 0.07:
                row["prompt"] = draw.choice(edits)(row["prompt"], draw)
            yield row
            continue
        question, answer = (" ".join(draw.choices(parts, k=draw.randint(2, 3))) for _ in range(2))
        if draw.random() < 0.25:
            question += " " + _personal(draw)
        row = {"customer": f"c{draw.randrange(10**6)}", "prompt": f"{question} ({number})", "answer": answer}
        recent.append(row)
        if len(recent) > _RECENT:
            recent[draw.randrange(_RECENT)] = recent.pop()
        yield row


def make_project(folder: Path, base: Path, *, rows: int) -> None:
    """Write settings and rows; the base is named, not copied."""
    folder.mkdir(parents=True)
    data = Settings.from_environment().test_data
    parts = parts_of(data) if data and (data / "hh-rlhf").is_dir() else _made_parts()
    (folder / "tuneward.yaml").write_text(_PROJECT.format(base=base), encoding="utf-8")
    test = list(make_rows(parts, count=TEST_ROWS, seed=2))
    with (folder / "test.jsonl").open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in test)
    with (folder / "train.jsonl").open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in test[:SHARED_ROWS])
        handle.writelines(json.dumps(row) + "\n" for row in make_rows(parts, count=rows - SHARED_ROWS, seed=1))


def measure(base: Path, *, rows: int, workers: int | None, scratch: Path) -> Taken:
    """Make a project, prepare it in a process of its own and watch that."""
    folder = scratch / f"rows-{rows}"
    make_project(folder, base, rows=rows)
    command = [sys.executable, "-m", "benchmarks.prepare_million"]
    subprocess.run([*command, "--pull", str(folder)], check=True)
    command += ["--prepare", str(folder), *(["--workers", str(workers)] if workers else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(_LOOK_SECONDS)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit(f"preparing {rows} rows ended with {process.returncode}")
    told = json.loads(process.stdout.read().splitlines()[-1])
    return Taken(rows, told["kept"], told["seconds"], told["processor_seconds"], peak / 2**20)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--base", type=Path, help="folder of a base model; a tiny random one if left out")
    parser.add_argument("--workers", type=int, help="processes that inspect; the product's own choice if left out")
    parser.add_argument("--pull", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pull:
        _pull(options.pull)
        return
    if options.prepare:
        _prepare(options.prepare, options.workers)
        return
    with tempfile.TemporaryDirectory() as scratch:
        base = options.base or _tiny_base(Path(scratch) / "base")
        taken = []
        for rows in options.rows:
            one = measure(base, rows=rows, workers=options.workers, scratch=Path(scratch))
            taken.append(one)
            print(
                f"{rows:9,} rows, {one.kept:,} kept: {one.seconds:.1f} s, {one.processor_seconds:.1f} s of processors, "
                f"{one.per_row:.0f} µs a row, peak {one.peak_mib:.0f} MiB",
                flush=True,
            )
    first, last = taken[0], taken[-1]
    bytes_per_row = 2**20 * (last.peak_mib - first.peak_mib) / max(1, last.rows - first.rows)
    print(
        f"{last.rows:,} against {first.rows:,} rows; time per row: {last.per_row / first.per_row:.2f}; "
        f"bytes more for each row: {bytes_per_row:.0f}; seconds: {last.seconds:.0f}; peak MiB: {last.peak_mib:.0f}"
    )


def _pull(folder: Path) -> None:
    from tuneward.workflows.init import init
    from tuneward.workflows.pull import pull
    from tuneward.workflows.workspace import open_workspace

    init(folder, actor="benchmark")
    workspace = open_workspace(folder, actor="benchmark")
    pull(workspace.office, workspace.project.base)


def _prepare(folder: Path, workers: int | None) -> None:
    from tuneward.workflows.prepare import prepare
    from tuneward.workflows.workspace import open_workspace

    workspace = open_workspace(folder, actor="benchmark")
    started, before = time.perf_counter(), _processor_seconds()
    result = prepare(workspace, workers=workers)
    seconds = time.perf_counter() - started
    told = {"seconds": seconds, "processor_seconds": _processor_seconds() - before, "kept": result.dataset.train_rows}
    print(json.dumps(told))


def _processor_seconds() -> float:
    import os

    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _resident(pid: int) -> int:
    """Bytes of a process and all below it that are in memory; 0 for what has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        children = [c for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except (OSError, IndexError):
        return 0
    return pages * 4096 + sum(_resident(int(child)) for child in children)


def _tiny_base(folder: Path) -> Path:
    from tests.tiny import make_tiny_base

    make_tiny_base(folder, max_position_embeddings=4096)
    (folder / "LICENSE").write_text("SPDX-License-Identifier: Apache-2.0\n", encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nA tiny random model.\n", encoding="utf-8")
    return folder


def _made_parts() -> list[str]:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(8_000)]
    return [" ".join(draw.choices(words, k=draw.randint(6, 16))).capitalize() + "." for _ in range(40_000)]


def _personal(draw: random.Random) -> str:
    name = draw.choice(("anna", "jonas", "marie", "luca", "sofia", "emil")) + str(draw.randrange(10_000))
    return draw.choice(
        (
            f"Write to {name}@example.org.",
            f"Call me under +49 170 {draw.randrange(10**6, 10**7)}.",
            f"My IBAN is {_iban(draw)}.",
            f"I am {name.title()}, customer number {draw.randrange(10**8)}.",
        )
    )


def _iban(draw: random.Random) -> str:
    account = f"{draw.randrange(10**18):018d}"
    check = 98 - int(account + "131400") % 97
    return f"DE{check:02d}{account}"


if __name__ == "__main__":
    main()
